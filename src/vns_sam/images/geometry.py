"""Fitting a picture into a model's square input (aspect kept, padded right and bottom) and the exact way back."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from vns_sam.types import Geometry


def fit(height: int, width: int, side: int) -> Geometry:
    """Scales the longer side to ``side`` and rounds the shorter one as SAM does, never below one pixel."""
    scale = side / max(height, width)
    fitted = [max(1, int(length * scale + 0.5)) for length in (height, width)]
    return Geometry(height, width, fitted[0], fitted[1], side)


def resize_image(image: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Resizes (H, W, 3) uint8 to (fitted_height, fitted_width, 3) uint8, bilinear with antialiasing."""
    size = (geometry.fitted_width, geometry.fitted_height)
    if (image.shape[1], image.shape[0]) == size:
        return image
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))


def boxes_to_model(boxes: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Maps boxes (P, 4) XYXY from original to model pixels."""
    return (boxes * np.array(geometry.scale_xy * 2)).astype(np.float32)


def points_to_model(points: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Maps points (P, N, 2) XY from original to model pixels."""
    return (points * np.array(geometry.scale_xy)).astype(np.float32)


def points_to_original(points: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Inverse of :func:`points_to_model`."""
    return (points / np.array(geometry.scale_xy)).astype(np.float32)


def masks_to_model(masks: torch.Tensor, geometry: Geometry, size: int) -> torch.Tensor:
    """Maps masks (P, H, W) to the padded square (P, 1, size, size); padding is background (0)."""
    height = max(1, round(geometry.fitted_height * size / geometry.side))
    width = max(1, round(geometry.fitted_width * size / geometry.side))
    fitted = F.interpolate(
        masks[:, None].float(), (height, width), mode="bilinear", align_corners=False, antialias=True
    )
    return F.pad(fitted, (0, size - width, 0, size - height))


def maps_to_original(maps: torch.Tensor, geometry: Geometry) -> torch.Tensor:
    """Maps (P, 1, h, h) over the padded square back to (P, H, W) at the original size.

    As SAM does it: bilinear to the square input, padding cut off, bilinear to the original size.
    """
    square = F.interpolate(maps, (geometry.side, geometry.side), mode="bilinear", align_corners=False)
    fitted = square[..., : geometry.fitted_height, : geometry.fitted_width]
    size = (geometry.height, geometry.width)
    return F.interpolate(fitted, size, mode="bilinear", align_corners=False)[:, 0]
