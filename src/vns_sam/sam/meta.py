"""Meta's own SAM files (``sam_vit_b_01ec64.pth`` and so on) as our :class:`SamModel`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file

from vns_sam.errors import CheckpointError
from vns_sam.sam.checkpoints import KeyReport, load_weights
from vns_sam.sam.config import SamConfig
from vns_sam.sam.encoders.vit import ARCHITECTURES, VitName, vit_config
from vns_sam.sam.keys import meta_key_to_own
from vns_sam.sam.model import SamModel

PATCH_KEY = "image_encoder.vit.patch_embed.projection.weight"
POSITION_KEY = "image_encoder.vit.pos_embed"
_BLOCK = re.compile(r"image_encoder\.vit\.layers\.(\d+)\.")


def read_tensors(path: str | Path) -> dict[str, torch.Tensor]:
    """Reads a ``.pth`` or safetensors file of one flat dictionary of tensors; no code in it is ever run.

    Raises:
        CheckpointError: The file is missing, damaged, or holds anything else.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"no file {path}", hint="give the path of a .pth file")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state: dict[str, torch.Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can raise anything
        raise CheckpointError(f"{path} is damaged or no file of PyTorch weights", hint="download it again") from error
    tensors = isinstance(state, dict) and all(isinstance(value, torch.Tensor) for value in state.values())
    if not tensors or not state:
        raise CheckpointError(f"{path} must hold a dictionary of tensors, found {_describe(state)}")
    return state


def detect_config(state: Mapping[str, torch.Tensor], origin: str | Path) -> SamConfig:
    """Finds out by width, depth and grid which SAM a state dict with our names belongs to.

    Raises:
        CheckpointError: It is no SAM with a ViT, or of an unknown size.
    """
    if PATCH_KEY not in state or POSITION_KEY not in state:
        first = next(iter(state), "nothing")
        raise CheckpointError(
            f"{origin} holds no SAM image encoder of the ViT kind (its first tensor is '{first}')",
            hint="expected sam_vit_b_01ec64.pth, sam_vit_l_0b3195.pth or sam_vit_h_4b8939.pth",
        )
    width, depth = len(state[PATCH_KEY]), len({m[1] for key in state if (m := _BLOCK.match(key))})
    patch, grid = state[PATCH_KEY].shape[-1], state[POSITION_KEY].shape[1]
    return vit_config(_backbone(width, depth, origin), image_size=grid * patch)


def build_vit_sam(state: Mapping[str, torch.Tensor], origin: str | Path) -> tuple[SamModel, KeyReport]:
    """Builds the SAM that a state dict with our names belongs to; tensors become float32.

    Raises:
        CheckpointError: Another model, or tensors missing or of another shape.
    """
    with torch.device("meta"):
        model = SamModel(detect_config(state, origin))
    report = load_weights(model, {key: value.float() for key, value in state.items()}, origin)
    return model.eval(), report


def load_meta(path: str | Path) -> tuple[SamModel, KeyReport]:
    """Loads Meta's SAM from its ``.pth`` file; B, L or H is found out from the tensors.

    Returns:
        The model and what became of the file's tensors. A file of VNS-SAM merged into SAM loads as the SAM
        inside it, with VNS-SAM's tensors left over.

    Raises:
        CheckpointError: The file is missing, damaged, truncated or of another model.
    """
    return build_meta(read_tensors(path), path)


def build_meta(state: Mapping[str, torch.Tensor], path: str | Path) -> tuple[SamModel, KeyReport]:
    """:func:`load_meta` for a file whose tensors have been read."""
    return build_vit_sam({meta_key_to_own(key): value for key, value in state.items()}, path)


def _backbone(width: int, depth: int, origin: str | Path) -> VitName:
    for name, architecture in ARCHITECTURES.items():
        if (architecture.hidden_size, architecture.num_hidden_layers) == (width, depth):
            return name
    known = "width 768 with 12 blocks (vit_b), 1024 with 24 (vit_l) or 1280 with 32 (vit_h)"
    raise CheckpointError(
        f"{origin} has an encoder of width {width} with {depth} blocks, expected {known}",
        hint="the file is truncated or not one of SAM's published sizes",
    )


def _describe(found: object) -> str:
    if not isinstance(found, dict):
        return f"a {type(found).__name__}"
    others = sorted({type(v).__name__ for v in found.values() if not isinstance(v, torch.Tensor)})
    return f"a dictionary of {', '.join(others)}" if others else "an empty one"
