"""Checkpoints of DIS-SAM's and IS-Net's authors: one flat dictionary of tensors, by the names that we use as well."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from vns_sam.dis.config import DisSamConfig
from vns_sam.dis.isnet import FEATURE_CHANNELS, IsNet
from vns_sam.dis.model import DisSamModel
from vns_sam.errors import CheckpointError
from vns_sam.sam import registry
from vns_sam.sam.checkpoints import load_weights

FIRST_STAGE = "vit_l"
"""The SAM whose masks the released DIS-SAM was trained on."""
CHANNELS = 5
_FIRST, _PARALLEL = "conv_in.weight", "module."


def holds_isnet(state: Mapping[str, torch.Tensor]) -> bool:
    """Whether a state dict is an IS-Net's, with any number of channels in."""
    names = {key.removeprefix(_PARALLEL) for key in state}
    return {_FIRST, "stage1d.rebnconvin.conv_s1.weight", "side1.weight"} <= names


def input_channels(state: Mapping[str, torch.Tensor]) -> int:
    """Channels of the input of the IS-Net that a state dict belongs to."""
    weight = next(value for key, value in state.items() if key.removeprefix(_PARALLEL) == _FIRST)
    return int(weight.shape[1]) if weight.ndim == 4 else 0


def load_isnet(state: Mapping[str, torch.Tensor], origin: str | Path, *, inflate: bool = False) -> IsNet:
    """Builds the IS-Net that a state dict belongs to, in eval mode.

    Args:
        state: Of DIS-SAM's authors (five channels in) or of IS-Net's (three), plain or with ``module.`` before names.
        origin: What an error calls it.
        inflate: Whether a network with three channels gets two more whose weights are zero; until it is trained
            further it answers as before and ignores coarse mask and box.

    Raises:
        CheckpointError: It is no IS-Net's, or tensors are missing or of another shape.
    """
    own = {
        key.removeprefix(_PARALLEL): value.float() if value.is_floating_point() else value
        for key, value in state.items()
    }
    if not holds_isnet(own) or own[_FIRST].ndim != 4:
        first = next(iter(state), "nothing")
        raise CheckpointError(f"{origin} holds no IS-Net (its first tensor is '{first}')", hint="expected isnet.pth")
    if inflate:
        own[_FIRST] = inflated(own[_FIRST])
    with torch.device("meta"):
        network = IsNet(own[_FIRST].shape[1], width=len(own[_FIRST]) / FEATURE_CHANNELS[0])
    load_weights(network, own, origin)
    return network.eval()


def inflated(weight: torch.Tensor) -> torch.Tensor:
    """The first convolution (C, 3, 3, 3) for five channels, (C, 5, 3, 3): zero on those that are new."""
    new = weight.new_zeros(len(weight), max(0, CHANNELS - weight.shape[1]), *weight.shape[2:])
    return torch.cat([weight, new], 1)


def load_model(state: Mapping[str, torch.Tensor], path: Path) -> DisSamModel:
    """The DIS-SAM of a file: its IS-Net on the masks of the SAM that it was trained on.

    Raises:
        CheckpointError: Tensors are missing or of another shape, or that SAM is not at hand.
    """
    network = load_isnet(state, path, inflate=True)
    return DisSamModel(DisSamConfig(FIRST_STAGE), registry.load(FIRST_STAGE), network)


LAYOUT = registry.Layout("DIS-SAM's file, an IS-Net with five channels", holds_isnet, load_model)
