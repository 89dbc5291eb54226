"""What small training and evaluation runs need: pictures of one disk each, and a narrow tiny SAM."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from vns_sam.sam.architectures import LiteConfig
from vns_sam.sam.config import MaskDecoderConfig, SamConfig
from vns_sam.sam.model import SamModel
from vns_sam.types import Prompts

NARROW = SamConfig(
    name="narrow",
    backbone=LiteConfig(),
    image_size=64,
    level_channels=(384, 160, 112, 320),
    mixer_blocks=1,
    mask_decoder=MaskDecoderConfig(hidden_size=32, mlp_dim=64, num_attention_heads=4, iou_head_hidden_dim=32),
)


IMAGES = [np.random.default_rng(i).integers(0, 255, (40 + 8 * i, 64, 3), dtype=np.uint8) for i in range(2)]
PROMPTS = [
    Prompts(boxes=np.array([[4.0, 4, 30, 30], [10, 6, 60, 38]])),
    Prompts(points=np.array([[[20.0, 20], [5, 5]], [[8, 9], [0, 0]]]), labels=np.array([[1, 0], [1, -1]])),
]
"""Two boxes on the first picture, one and two points on the second."""


def changed(recipe: Any, **values: Any) -> Any:
    """A recipe with other fields, of another task if ``task`` is one of them."""
    from vns_sam.training.recipe import parse_recipe, recipe_fields

    return parse_recipe({**recipe_fields(recipe), **values}, "changed", resolved=True)


def narrow_sam(seed: int = 0) -> SamModel:
    """An untrained model, ready to predict."""
    torch.manual_seed(seed)
    return SamModel(NARROW).eval()


def write_disks(folder: Path, count: int, seed: int = 0) -> Path:
    """Writes pictures (48 x 64) of one bright disk each, with masks."""
    rng = np.random.default_rng(seed)
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for i in range(count):
        image = rng.integers(0, 90, (48, 64, 3), dtype=np.uint8)
        mask = np.zeros((48, 64), np.uint8)
        cv2.circle(mask, (int(rng.integers(16, 48)), int(rng.integers(14, 34))), int(rng.integers(7, 12)), 255, -1)
        image[mask > 0] += 120
        cv2.imwrite(str(folder / "images" / f"{i:03d}.png"), image)
        cv2.imwrite(str(folder / "masks" / f"{i:03d}.png"), mask)
    return folder
