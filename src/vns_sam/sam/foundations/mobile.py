"""MobileSAM: the authors' ``mobile_sam.pt`` and its conversions to safetensors, which keep its tensor names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from vns_sam.sam.architectures import TinyVitConfig
from vns_sam.sam.checkpoints import KeyReport
from vns_sam.sam.config import SamConfig
from vns_sam.sam.foundations.translate import build, rename, translator
from vns_sam.sam.keys import DECODER, PROMPT_ENCODER
from vns_sam.sam.model import SamModel
from vns_sam.sam.registry import Layout

NAME = "mobile-sam"

to_own = translator(
    (
        ("prompt_encoder.", "prompt_encoder.", PROMPT_ENCODER),
        ("mask_decoder.", "mask_decoder.", DECODER),
    ),
    ("image_encoder.norm_head.", "image_encoder.head."),
)
"""Renames a tensor of the authors' file; what TinyViT learnt ImageNet with is in there too, and never used."""


def mobile_config(backbone: TinyVitConfig | None = None, image_size: int = 1024) -> SamConfig:
    """The configuration of MobileSAM: a SAM in everything but its encoder."""
    backbone = backbone or TinyVitConfig()
    return SamConfig(
        name=NAME,
        backbone=backbone,
        image_size=image_size,
        level_channels=backbone.level_channels,
    )


def holds_mobile(state: Mapping[str, torch.Tensor]) -> bool:
    """Whether a file's tensors are those of a SAM on TinyViT."""
    return "image_encoder.patch_embed.seq.0.c.weight" in state


def build_mobile(state: Mapping[str, torch.Tensor], origin: str | Path) -> tuple[SamModel, KeyReport]:
    """Builds the model of a file.

    Raises:
        CheckpointError: Tensors are missing, left over or of another shape.
    """
    return build(mobile_config, rename(state, to_own), origin)


LAYOUT = Layout(
    "MobileSAM's mobile_sam.pt", holds_mobile, lambda state, path: build_mobile(state, path)[0], lambda _: "a MobileSAM"
)
