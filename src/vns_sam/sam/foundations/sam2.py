"""SAM 2.1 (and 2.0, whose image part is the same): Meta's ``.pt`` files and transformers' folders.

Only what a single picture needs is read; the memory of video frames is left where it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from vns_sam.errors import CheckpointError
from vns_sam.sam.architectures import HieraConfig
from vns_sam.sam.checkpoints import KeyReport, read_state
from vns_sam.sam.config import MaskDecoderConfig, SamConfig
from vns_sam.sam.folder import read_config
from vns_sam.sam.foundations.translate import Rows, Translate, build, rename, split_points, translator
from vns_sam.sam.keys import DECODER, PROMPT_ENCODER
from vns_sam.sam.model import SamModel
from vns_sam.sam.registry import Layout
from vns_sam.sam.transformers_folder import as_processed

HIERA = {
    "sam2.1-t": HieraConfig((96, 192, 384, 768), (1, 2, 7, 2), (1, 2, 4, 8), (5, 7, 9)),
    "sam2.1-s": HieraConfig((96, 192, 384, 768), (1, 2, 11, 2), (1, 2, 4, 8), (7, 10, 13)),
    "sam2.1-b+": HieraConfig((112, 224, 448, 896), (2, 3, 16, 3), (2, 4, 8, 16), (12, 16, 20), background=14),
    "sam2.1-l": HieraConfig((144, 288, 576, 1152), (2, 6, 36, 4), (2, 4, 8, 16), (23, 33, 43), (8, 4, 16, 8)),
}
"""SAM 2.1's four sizes by our names for them."""

DECODER_CONFIG = MaskDecoderConfig(object_token=True, finer_maps=True, sigmoid_scores=True, stability=0.98)

DECODER_ROWS: Rows = (("mlp.layers.0", "mlp.lin1"), ("mlp.layers.1", "mlp.lin2"), *DECODER)
HF_DECODER_ROWS: Rows = (("mlp.proj_in", "mlp.lin1"), ("mlp.proj_out", "mlp.lin2"), ("o_proj", "out_proj"))
FINER = (("conv_s0", "image_encoder.finer.0"), ("conv_s1", "image_encoder.finer.1"))
MEMORY = (
    *("memory_attention.", "memory_encoder.", "mask_downsample.", "maskmem_tpos_enc"),
    *("no_mem_pos_enc", "no_obj_ptr", "no_obj_embed_spatial", "obj_ptr_proj.", "obj_ptr_tpos_proj."),
)
"""Beginnings of what only video needs, in Meta's files."""
HF_MEMORY = (
    *("memory_attention.", "memory_encoder.", "mask_downsample.", "memory_temporal_positional_encoding"),
    *("no_memory_positional_encoding", "no_object_pointer", "occlusion_spatial_embedding_parameter"),
    *("object_pointer_proj.", "temporal_positional_encoding_projection_layer."),
)
"""The same in transformers' folders."""

meta_to_own = translator(
    (
        ("image_encoder.trunk.", "image_encoder.", (("patch_embed.proj", "patch_embed"),)),
        ("image_encoder.neck.convs.", "image_encoder.laterals.", (("*.conv", "*"),)),
        ("no_mem_embed", "image_encoder.no_memory", ()),
        ("sam_prompt_encoder.", "prompt_encoder.", PROMPT_ENCODER),
        *((f"sam_mask_decoder.{theirs}", ours, ()) for theirs, ours in FINER),
        ("sam_mask_decoder.", "mask_decoder.", DECODER_ROWS),
    ),
    MEMORY,
)
"""Renames a tensor of Meta's file."""

_HF_TRUNK = (
    ("patch_embed.projection", "patch_embed"),
    ("blocks.*.layer_norm*", "blocks.*.norm*"),
    ("mlp.proj_in", "mlp.layers.0"),
    ("mlp.proj_out", "mlp.layers.1"),
)
hf_to_own = translator(
    (
        ("vision_encoder.backbone.", "image_encoder.", _HF_TRUNK),
        ("vision_encoder.neck.convs.", "image_encoder.laterals.", ()),
        ("no_memory_embedding", "image_encoder.no_memory", ()),
        ("shared_image_embedding.", "prompt_encoder.shared_embedding.", ()),
        *((f"mask_decoder.{theirs}", ours, ()) for theirs, ours in FINER),
        ("mask_decoder.", "mask_decoder.", HF_DECODER_ROWS),
    ),
    HF_MEMORY,
)
"""Renames a tensor of transformers' ``Sam2Model`` or ``Sam2VideoModel``."""


def sam2_config(
    name: str, backbone: HieraConfig, image_size: int = 1024, mask_decoder: MaskDecoderConfig = DECODER_CONFIG
) -> SamConfig:
    """The configuration of a SAM 2 on a Hiera: its input is stretched over the square, boxes are closed."""
    return SamConfig(
        name=name,
        backbone=backbone,
        image_size=image_size,
        level_channels=backbone.level_channels,
        mask_decoder=mask_decoder,
        fit="stretch",
        closed_prompts=True,
    )


def build_sam2(
    state: Mapping[str, torch.Tensor], origin: str | Path, translate: Translate
) -> tuple[SamModel, KeyReport]:
    """Builds the SAM 2 of a file, whose size is seen from its tensors.

    Args:
        state: Its tensors.
        origin: What an error calls it.
        translate: :func:`meta_to_own` or :func:`hf_to_own`.

    Raises:
        CheckpointError: It is of an unknown size, or tensors are missing, left over or of another shape.
    """
    own = split_points(rename(state, translate))
    width, depth = size_of(own)
    for name, backbone in HIERA.items():
        if (backbone.widths[0], sum(backbone.depths)) == (width, depth):
            return build(partial(sam2_config, name, backbone), own, origin)
    sizes = ", ".join(f"{one.widths[0]} with {sum(one.depths)} ({name})" for name, one in HIERA.items())
    raise CheckpointError(
        f"{origin} has a Hiera of width {width} with {depth} blocks, expected {sizes}",
        hint="the file is truncated or not one of SAM 2's published sizes",
    )


def size_of(own: Mapping[str, torch.Tensor]) -> tuple[int, int]:
    """Width of the first stage and number of blocks, from tensors by our names."""
    depth = len({key.split(".")[2] for key in own if key.startswith("image_encoder.blocks.")})
    return len(own.get("image_encoder.patch_embed.weight", ())), depth


def build_hf_sam2(values: Mapping[str, Any], state: Mapping[str, torch.Tensor], origin: str | Path) -> SamModel:
    """Builds the SAM 2 of a folder of transformers.

    Args:
        values: Its ``config.json``; what is missing there has transformers' default, which is SAM 2.1's smallest.
        state: Its tensors.
        origin: What an error calls it.

    Raises:
        CheckpointError: A number is none that a model can have; tensors are missing, left over or of another shape.
    """
    return build(partial(_read_hf, values), split_points(rename(state, hf_to_own)), origin)[0]


def _read_hf(values: Mapping[str, Any]) -> SamConfig:
    numbers = (values.get("vision_config") or {}).get("backbone_config") or {}
    small = HIERA["sam2.1-t"]
    background = numbers.get("window_positional_embedding_background_size") or [small.background]
    backbone = HieraConfig(
        widths=numbers.get("embed_dim_per_stage") or small.widths,
        depths=numbers.get("blocks_per_stage") or small.depths,
        heads=numbers.get("num_attention_heads_per_stage") or small.heads,
        global_blocks=numbers.get("global_attention_blocks") or small.global_blocks,
        windows=numbers.get("window_size_per_stage") or small.windows,
        background=background[0],
    )
    name = next((name for name, known in HIERA.items() if known == backbone), "sam2")
    side = (values.get("prompt_encoder_config") or {}).get("image_size", 1024)
    return sam2_config(name, backbone, side, decoder_config(values))


def decoder_config(values: Mapping[str, Any]) -> MaskDecoderConfig:
    """The decoder's numbers in a ``config.json`` of transformers; a smaller one than the published is possible."""
    given = values.get("mask_decoder_config") or {}
    numbers = ("hidden_size", "mlp_dim", "num_attention_heads", "attention_downsample_rate", "iou_head_hidden_dim")
    changes = {key: given[key] for key in numbers if key in given}
    names = {"stability": "dynamic_multimask_stability_thresh", "stability_delta": "dynamic_multimask_stability_delta"}
    changes |= {own: given[name] for own, name in names.items() if name in given}
    if not given.get("dynamic_multimask_via_stability", True):
        changes["stability"] = 0.0
    return replace(DECODER_CONFIG, **changes)


def load_folder(folder: str | Path, origin: str = "") -> SamModel:
    """Loads a folder of transformers' ``Sam2Model`` or ``Sam2VideoModel``; ``origin`` is not needed.

    Raises:
        CheckpointError: The folder is damaged, or of another architecture.
    """
    return as_processed(build_hf_sam2(read_config(folder), read_state(folder), folder), folder)


def holds_sam2(state: Mapping[str, torch.Tensor]) -> bool:
    """Whether a file's tensors are those of Meta's SAM 2."""
    return "image_encoder.trunk.pos_embed_window" in state


def holds_hf_sam2(state: Mapping[str, torch.Tensor]) -> bool:
    """Whether a file's tensors are those of transformers' SAM 2."""
    return "vision_encoder.backbone.pos_embed_window" in state


def describe(state: Mapping[str, torch.Tensor]) -> str:
    """What a file of Meta's or transformers' is, by its size."""
    size = size_of(rename(state, meta_to_own if holds_sam2(state) else hf_to_own))
    known = (name for name, one in HIERA.items() if (one.widths[0], sum(one.depths)) == size)
    return {"t": "a SAM 2.1 tiny", "s": "a SAM 2.1 small", "b+": "a SAM 2.1 base+", "l": "a SAM 2.1 large"}.get(
        next(known, "").rpartition("-")[2], "a SAM 2 of no known size"
    )


LAYOUT = Layout(
    "SAM 2.1's sam2.1_hiera_*.pt",
    holds_sam2,
    lambda state, path: build_sam2(state, path, meta_to_own)[0],
    describe,
)
HF_LAYOUT = Layout(
    "SAM 2's weights in transformers' form",
    holds_hf_sam2,
    lambda state, path: build_sam2(state, path, hf_to_own)[0],
    describe,
)
