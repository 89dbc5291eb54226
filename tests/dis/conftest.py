"""The release's outputs and the two networks with the weights that they were recorded with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from recipe_weights import fill, recipe_state
from safetensors.torch import load_file

from vns_sam.dis.isnet import GtEncoder, IsNet


@pytest.fixture(scope="session")
def release(fixtures_dir: Path) -> dict[str, torch.Tensor]:
    """Recorded tensors of both networks."""
    folder = fixtures_dir / "dis"
    return load_file(folder / "isnet5_small.safetensors") | load_file(folder / "gt_encoder_small.safetensors")


@pytest.fixture(scope="session")
def numbers(fixtures_dir: Path) -> dict[str, Any]:
    """Recorded losses."""
    return json.loads((fixtures_dir / "dis" / "losses.json").read_text())


@pytest.fixture(scope="session")
def isnet_state() -> dict[str, torch.Tensor]:
    """Recipe weights at full width; drawing them takes seconds."""
    return recipe_state(IsNet(), "isnet5")


@pytest.fixture
def isnet(isnet_state: dict[str, torch.Tensor]) -> IsNet:
    """Full width, recipe weights."""
    with torch.device("meta"):
        net = IsNet()
    net.load_state_dict({key: value.clone() for key, value in isnet_state.items()}, assign=True)
    return net.requires_grad_().eval()


@pytest.fixture
def gt_encoder() -> GtEncoder:
    """Full width, recipe weights."""
    return fill(GtEncoder(), "gtenc")
