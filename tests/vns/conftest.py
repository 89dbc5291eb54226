"""Narrow models of both variants."""

from __future__ import annotations

from dataclasses import replace

import pytest
from narrow import CONFIG, fill
from workshop import narrow_sam

from vns_sam.sam.model import SamModel
from vns_sam.vns.decoder import VnsMaskDecoder


@pytest.fixture(params=["official", "paper"])
def decoder(request: pytest.FixtureRequest) -> VnsMaskDecoder:
    """A narrow decoder of each variant, in eval mode."""
    return fill(VnsMaskDecoder(replace(CONFIG, variant=request.param)))


@pytest.fixture
def sam() -> SamModel:
    """A narrow tiny SAM on 64 pixels."""
    return narrow_sam()
