"""MobileSAM: the authors' ``mobile_sam.pt`` and its conversions to safetensors, which keep its tensor names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from vns_sam.sam.architectures import TinyVitArchitecture
from vns_sam.sam.checkpoints import KeyReport
from vns_sam.sam.config import SamConfig
from vns_sam.sam.foundations.sam2 import build
from vns_sam.sam.foundations.translate import rename, translator
from vns_sam.sam.keys import DECODER, PROMPT_ENCODER
from vns_sam.sam.model import SamModel

NAME = "mobile-sam"
_CLASSIFIER = ("image_encoder.norm_head.", "image_encoder.head.")
"""What TinyViT learnt ImageNet with is in the file too, and never used."""

to_own = translator(
    (
        ("image_encoder.", "image_encoder.", ()),
        ("prompt_encoder.", "prompt_encoder.", PROMPT_ENCODER),
        ("mask_decoder.", "mask_decoder.", DECODER),
    )
)
"""Renames a tensor of the authors' file."""


def mobile_config(architecture: TinyVitArchitecture | None = None, image_size: int = 1024) -> SamConfig:
    """The configuration of MobileSAM: a SAM in everything but its encoder."""
    architecture = architecture or TinyVitArchitecture()
    return SamConfig(
        name=NAME,
        backbone="tiny_vit",
        image_size=image_size,
        level_channels=architecture.level_channels,
        architecture=architecture,
    )


def holds_mobile(state: Mapping[str, torch.Tensor]) -> bool:
    """Whether a file's tensors are those of a SAM on TinyViT."""
    return "image_encoder.patch_embed.seq.0.c.weight" in state


def build_mobile(state: Mapping[str, torch.Tensor], origin: str | Path) -> tuple[SamModel, KeyReport]:
    """Builds the model of a file.

    Raises:
        CheckpointError: Tensors are missing or of another shape.
    """
    kept = {key: value for key, value in state.items() if not key.startswith(_CLASSIFIER)}
    kept = {key: value for key, value in kept.items() if not key.endswith("attention_bias_idxs")}
    return build(mobile_config(), rename(kept, to_own), origin)
