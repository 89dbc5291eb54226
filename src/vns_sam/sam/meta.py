"""Meta's own SAM files (``sam_vit_b_01ec64.pth`` ...) as our :class:`SamModel`, and others of their layout: MedSAM,
SlimSAM, whose authors hold query, key and value apart, and what people tuned.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch

from vns_sam.errors import CheckpointError, UsageError
from vns_sam.sam import registry
from vns_sam.sam.checkpoints import KeyReport, load_weights
from vns_sam.sam.config import SamConfig, VitConfig, vit_config
from vns_sam.sam.files import read_tensors
from vns_sam.sam.foundations.translate import join_projections
from vns_sam.sam.keys import meta_key_to_own
from vns_sam.sam.model import SamModel

PATCH_KEY = "image_encoder.vit.patch_embed.projection.weight"
POSITION_KEY = "image_encoder.vit.pos_embed"
_BLOCK = re.compile(r"image_encoder\.vit\.layers\.(\d+)\.")
_RELATIVE = re.compile(r"image_encoder\.vit\.layers\.(\d+)\.attn\.rel_pos_h$")
_MED2D = re.compile(r"image_encoder\.blocks\.(\d+)\.Adapter\.(?:channel|spatial|norm)\.")
_TRUNCATED = "the file is truncated or not one of SAM's"


def holds_sam(state: Mapping[str, torch.Tensor]) -> bool:
    """Whether a file's tensors have the names of Meta's SAM."""
    return "image_encoder.patch_embed.proj.weight" in state


def detect_config(state: Mapping[str, torch.Tensor], origin: str | Path) -> SamConfig:
    """Finds out from the tensors alone which SAM a state dict with our names belongs to, published or not.

    Width, depth, grid and the MLPs' width are shapes. A head is as wide as the relative positions; blocks whose
    relative positions span the whole grid attend over it, and the span of the others tells their window.

    Raises:
        CheckpointError: It is no SAM with a ViT, or one that does not export four maps.
    """
    if PATCH_KEY not in state or POSITION_KEY not in state:
        first = next(iter(state), "nothing")
        raise CheckpointError(
            f"{origin} holds no SAM image encoder of the ViT kind (its first tensor is '{first}')",
            hint="expected sam_vit_b_01ec64.pth, sam_vit_l_0b3195.pth or sam_vit_h_4b8939.pth",
        )
    width, patch, grid = len(state[PATCH_KEY]), state[PATCH_KEY].shape[-1], state[POSITION_KEY].shape[1]
    places = {int(found[1]): state[key] for key in state if (found := _RELATIVE.match(key))}
    depth = 1 + max((int(found[1]) for key in state if (found := _BLOCK.match(key))), default=-1)
    mlp = state.get("image_encoder.vit.layers.0.mlp.lin1.weight")
    if not places or mlp is None:
        raise CheckpointError(f"{origin} has an encoder without blocks that are known", hint=_TRUNCATED)
    spans = {block: (len(value) + 1) // 2 for block, value in places.items()}
    reaching = tuple(block for block in sorted(spans) if spans[block] == grid)
    if len(reaching) == depth:  # windows as large as the grid: all blocks are alike, the maps are evenly spaced
        reaching = tuple(depth * part // 4 - 1 for part in (1, 2, 3, 4))
    if len(reaching) != 4:
        raise CheckpointError(
            f"{origin} has an encoder of width {width} with {depth} blocks, of which {len(reaching)} attend over the "
            "whole grid; expected 4",
            hint=_TRUNCATED,
        )
    window = next((span for block, span in spans.items() if block not in reaching), grid)
    one, two, three, four = reaching
    heads = width // max(1, places[one].shape[1])
    try:
        vit = VitConfig(width, depth, heads, (one, two, three, four), window, len(mlp) / width)
        return vit_config(vit, image_size=grid * patch)
    except UsageError as error:
        raise CheckpointError(f"{origin}: {error.message}", hint=_TRUNCATED) from None


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
        The model and what became of the file's tensors.

    Raises:
        CheckpointError: The file is missing, damaged, truncated, or of another model: one that was added to SAM, such
            as an adapter, too.
    """
    return build_meta(read_tensors(path), path)


def build_meta(state: Mapping[str, torch.Tensor], path: str | Path) -> tuple[SamModel, KeyReport]:
    """:func:`load_meta` for a file whose tensors have been read."""
    if not holds_sam(state):
        found = registry.describe(state, Path(path))
        raise CheckpointError(f"{path} is {found}; expected a SAM ViT", hint="load_model takes it as it is")
    adapted = {match[1] for key in state if (match := _MED2D.match(key))}
    if adapted:
        raise CheckpointError(
            f"{path} is a SAM-Med2D: its encoder has an adapter in {len(adapted)} blocks, and without them it would be "
            "another model; it is not run here",
            hint="one that was trained without adapters loads, and so do MedSAM's files; or train your own: "
            "vns-sam train FOLDER",
        )
    return build_vit_sam({meta_key_to_own(key): value for key, value in join_projections(state).items()}, path)


LAYOUT = registry.Layout("SAM's own sam_vit_*.pth", holds_sam, lambda state, path: build_meta(state, path)[0])
