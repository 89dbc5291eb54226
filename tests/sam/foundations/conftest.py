"""Transformers' own models with random weights."""

from __future__ import annotations

import pytest
from foundation_models import hf_sam2, hf_sam3
from torch import nn


@pytest.fixture(scope="session")
def sam2() -> nn.Module:
    """SAM 2.1's smallest Hiera behind a narrow decoder, on 128 pixels."""
    return hf_sam2()


@pytest.fixture(scope="session")
def sam3() -> nn.Module:
    """A narrow SAM 3 tracker on 112 pixels."""
    return hf_sam3()
