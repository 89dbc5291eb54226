"""SAM 2.1 (and 2.0, whose image part is the same): Meta's ``.pt`` files and transformers' folders.

Only what a single picture needs is read; the memory of video frames is left where it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from vns_sam.errors import CheckpointError
from vns_sam.sam.architectures import HIERA, HieraArchitecture
from vns_sam.sam.checkpoints import KeyReport, load_weights
from vns_sam.sam.config import MaskDecoderConfig, SamConfig
from vns_sam.sam.foundations.translate import Rows, rename, translator
from vns_sam.sam.keys import DECODER, PROMPT_ENCODER
from vns_sam.sam.model import SamModel

HF_MODEL_TYPES = ("sam2", "sam2_video")
"""Of transformers' folders; the published ones say "sam2_video"."""

DECODER_CONFIG = MaskDecoderConfig(object_token=True, finer_maps=True, sigmoid_scores=True, stability=0.98)

DECODER_ROWS: Rows = (
    ("mlp.layers.0", "mlp.lin1"),
    ("mlp.layers.1", "mlp.lin2"),
    *DECODER,
)
HF_DECODER_ROWS: Rows = (
    ("mlp.proj_in", "mlp.lin1"),
    ("mlp.proj_out", "mlp.lin2"),
    ("o_proj", "out_proj"),
)
FINER = (("conv_s0", "image_encoder.finer.0"), ("conv_s1", "image_encoder.finer.1"))

meta_to_own = translator(
    (
        ("image_encoder.trunk.", "image_encoder.", (("patch_embed.proj", "patch_embed"),)),
        ("image_encoder.neck.convs.", "image_encoder.laterals.", (("*.conv", "*"),)),
        ("no_mem_embed", "image_encoder.no_memory", ()),
        ("sam_prompt_encoder.", "prompt_encoder.", PROMPT_ENCODER),
        *((f"sam_mask_decoder.{theirs}", ours, ()) for theirs, ours in FINER),
        ("sam_mask_decoder.", "mask_decoder.", DECODER_ROWS),
    )
)
"""Renames a tensor of Meta's file; None for the memory's."""

hf_to_own = translator(
    (
        (
            "vision_encoder.backbone.",
            "image_encoder.",
            (
                ("patch_embed.projection", "patch_embed"),
                ("blocks.*.layer_norm*", "blocks.*.norm*"),
                ("mlp.proj_in", "mlp.layers.0"),
                ("mlp.proj_out", "mlp.layers.1"),
            ),
        ),
        ("vision_encoder.neck.convs.", "image_encoder.laterals.", ()),
        ("no_memory_embedding", "image_encoder.no_memory", ()),
        ("shared_image_embedding.", "prompt_encoder.shared_embedding.", ()),
        ("prompt_encoder.", "prompt_encoder.", ()),
        *((f"mask_decoder.{theirs}", ours, ()) for theirs, ours in FINER),
        ("mask_decoder.", "mask_decoder.", HF_DECODER_ROWS),
    )
)
"""Renames a tensor of transformers' ``Sam2Model`` or ``Sam2VideoModel``; None for the memory's."""


def sam2_config(
    name: str,
    architecture: HieraArchitecture,
    image_size: int = 1024,
    mask_decoder: MaskDecoderConfig = DECODER_CONFIG,
) -> SamConfig:
    """The configuration of a SAM 2 on a Hiera: its input is stretched over the square, boxes are closed."""
    return SamConfig(
        name=name,
        backbone="hiera",
        image_size=image_size,
        level_channels=architecture.level_channels,
        mask_decoder=mask_decoder,
        architecture=architecture,
        fit="stretch",
        closed_prompts=True,
    )


def holds_sam2(state: Mapping[str, torch.Tensor]) -> bool:
    """Whether a file's tensors are those of Meta's SAM 2."""
    return "image_encoder.trunk.pos_embed_window" in state


def build_meta_sam2(state: Mapping[str, torch.Tensor], origin: str | Path) -> tuple[SamModel, KeyReport]:
    """Builds the SAM 2 of a file of Meta's.

    Raises:
        CheckpointError: It is of an unknown size, or tensors are missing or of another shape.
    """
    own = rename(state, meta_to_own)
    depth = len({key.split(".")[2] for key in own if key.startswith("image_encoder.blocks.")})
    patches = own.get("image_encoder.patch_embed.weight", torch.empty(0))
    for name, architecture in HIERA.items():
        if (architecture.widths[0], sum(architecture.depths)) == (len(patches), depth):
            return build(sam2_config(name, architecture), own, origin)
    sizes = ", ".join(f"{one.widths[0]} with {sum(one.depths)} ({name})" for name, one in HIERA.items())
    raise CheckpointError(
        f"{origin} has a Hiera of width {len(patches)} with {depth} blocks, expected {sizes}",
        hint="the file is truncated or not one of SAM 2's published sizes",
    )


def build_hf_sam2(values: Mapping[str, Any], state: Mapping[str, torch.Tensor], origin: str | Path) -> SamModel:
    """Builds the SAM 2 of a folder of transformers.

    Args:
        values: Its ``config.json``; what is missing there has transformers' default, which is SAM 2.1's smallest.
        state: Its tensors.
        origin: What an error calls it.

    Raises:
        CheckpointError: Tensors are missing or of another shape.
    """
    vision = values.get("vision_config", {})
    numbers, small = vision.get("backbone_config", {}), HIERA["sam2.1-t"]
    architecture = HieraArchitecture(
        widths=_four(numbers.get("embed_dim_per_stage", small.widths)),
        depths=_four(numbers.get("blocks_per_stage", small.depths)),
        heads=_four(numbers.get("num_attention_heads_per_stage", small.heads)),
        global_blocks=tuple(numbers.get("global_attention_blocks", small.global_blocks)),
        windows=_four(numbers.get("window_size_per_stage", small.windows)),
        background=numbers.get("window_positional_embedding_background_size", (small.background,))[0],
    )
    name = next((name for name, known in HIERA.items() if known == architecture), "sam2")
    side = values.get("prompt_encoder_config", {}).get("image_size", 1024)
    config = sam2_config(name, architecture, side, decoder_config(values))
    return build(config, split_points(rename(state, hf_to_own)), origin)[0]


def decoder_config(values: Mapping[str, Any]) -> MaskDecoderConfig:
    """The decoder's numbers in a ``config.json`` of transformers; a smaller one than the published is possible."""
    given = values.get("mask_decoder_config", {})
    numbers = ("hidden_size", "mlp_dim", "num_attention_heads", "attention_downsample_rate", "iou_head_hidden_dim")
    changes = {key: given[key] for key in numbers if key in given}
    if not given.get("dynamic_multimask_via_stability", True):
        return replace(DECODER_CONFIG, stability=0.0, **changes)
    names = {"stability": "dynamic_multimask_stability_thresh", "stability_delta": "dynamic_multimask_stability_delta"}
    return replace(DECODER_CONFIG, **changes, **{own: given[name] for own, name in names.items() if name in given})


def split_points(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Splits transformers' one table of the four kinds of points into ours."""
    table = state.pop("prompt_encoder.point_embed.weight", None)
    if table is None:
        return state
    return {**state, **{f"prompt_encoder.point_embed.{i}.weight": row[None].clone() for i, row in enumerate(table)}}


def build(config: SamConfig, state: Mapping[str, torch.Tensor], origin: str | Path) -> tuple[SamModel, KeyReport]:
    """A SAM of a configuration with tensors by our names.

    Raises:
        CheckpointError: Tensors are missing or of another shape.
    """
    with torch.device("meta"):
        model = SamModel(config)
    report = load_weights(model, state, origin)
    return model.eval(), report


def _four(values: Any) -> tuple[int, int, int, int]:
    first, second, third, fourth = values
    return first, second, third, fourth
