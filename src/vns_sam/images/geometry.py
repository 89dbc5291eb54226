"""Fitting a picture into a model's input (aspect kept and padded right and bottom, or stretched over a square) and the
exact way back.

Masks and maps may be tensors or numpy arrays and stay what they are; the two ways agree to rounding. Only tensors need
torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image

from vns_sam.types import Geometry, Size

if TYPE_CHECKING:
    from vns_sam.types.features import Map


def fit(height: int, width: int, side: int, unit: int | None = None) -> Geometry:
    """Scales the longer side to ``side`` and rounds the shorter one as SAM does, never below one pixel.

    Args:
        height: Of the picture.
        width: Of the picture.
        side: Longer side of the input.
        unit: What the input's shorter side is rounded up to a multiple of; None pads it to the square.
    """
    scale = side / max(height, width)
    fitted = [max(1, int(length * scale + 0.5)) for length in (height, width)]
    padded = [side if unit is None else -(-length // unit) * unit for length in fitted]
    return Geometry(height, width, *fitted, *padded)


def stretch(height: int, width: int, side: int) -> Geometry:
    """Scales both sides to ``side``, whatever the aspect, as SAM 2 does; there is no padding."""
    return Geometry(height, width, side, side, side, side)


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


def masks_to_model(masks: Map, geometry: Geometry, size: Size) -> Map:
    """Maps masks (P, H, W) to the padded input (P, 1, *size), smoothed; padding is background (0)."""
    height = max(1, round(geometry.fitted_height * size[0] / geometry.input_height))
    width = max(1, round(geometry.fitted_width * size[1] / geometry.input_width))
    if isinstance(masks, np.ndarray):
        padded = np.zeros((len(masks), 1, *size), np.float32)
        padded[:, :, :height, :width] = resize_maps(masks[:, None], (height, width), antialias=True)
        return padded
    import torch.nn.functional as F

    fitted = resize_maps(masks[:, None].float(), (height, width), antialias=True)
    return F.pad(fitted, (0, size[1] - width, 0, size[0] - height))


def maps_to_original(maps: Map, geometry: Geometry, size: Size | None = None) -> Map:
    """Maps (P, 1, h, h') over the padded input back to (P, H, W) at the original size.

    As SAM does it: bilinear to the input, padding cut off, bilinear to the original size.

    Args:
        maps: Float maps.
        geometry: How the picture was fitted into the input.
        size: Height and width of the result, where it is not the original.
    """
    padded = resize_maps(maps, geometry.input)
    fitted = padded[..., : geometry.fitted_height, : geometry.fitted_width]
    return resize_maps(fitted, size or (geometry.height, geometry.width))[:, 0]


def resize_maps(maps: Map, size: Size, *, antialias: bool = False) -> Map:
    """Resizes float maps (P, C, h, w) to (P, C, H, W), bilinear; they are smoothed where they shrink if asked."""
    if isinstance(maps, np.ndarray):
        resize = _smoothed if antialias else _bilinear
        return np.stack([np.stack([resize(one, size) for one in channels]) for channels in maps])
    import torch.nn.functional as F

    if antialias and size[0] > size[1] == 1:  # torch gives the first row everywhere; a height of 1 it does well
        return resize_maps(maps.mT, (1, size[0]), antialias=True).mT
    return F.interpolate(maps, size, mode="bilinear", align_corners=False, antialias=antialias)


def _bilinear(values: np.ndarray, size: Size) -> np.ndarray:
    resized: np.ndarray = cv2.resize(values, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
    return resized


def _smoothed(values: np.ndarray, size: Size) -> np.ndarray:
    grey = Image.fromarray(values.astype(np.float32))
    return np.asarray(grey.resize((size[1], size[0]), Image.Resampling.BILINEAR))
