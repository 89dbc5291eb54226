"""A SAM on a ViT that is small enough for a test: any numbers make one."""

from __future__ import annotations

from vns_sam.sam.config import SamConfig, VitConfig, vit_config

TOY_VIT = VitConfig(32, 8, 2, (1, 3, 5, 7), window_size=3)
"""Width 32, 8 blocks, two heads, windows of 3 cells."""


def toy_sam(image_size: int = 64) -> SamConfig:
    """Its configuration; the grid is a 16th of the image's side."""
    return vit_config(TOY_VIT, image_size=image_size)
