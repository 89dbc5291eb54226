"""The five channels that DIS-SAM's IS-Net sees: red, green, blue, coarse mask, box.

Colours are in [-0.5, 0.5], the mask is a binarised one in [0, 1] with fractions at its rim only, the box is 0 or 1.
A channel that is missing is zero. Pictures are squashed to a square: their aspect is not kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import cv2
import numpy as np

from vns_sam.errors import DataError
from vns_sam.images.geometry import resize_maps

if TYPE_CHECKING:
    import torch

    from vns_sam.types.features import Map

BOX_LEVEL = 127 / 255
"""A pixel of the resized box is inside where it is above this."""
LARGEST_SIDE = 4096
"""Pictures with a longer side are reduced to this before anything else, so that memory stays bounded."""


def as_tensor(values: np.ndarray) -> Map:
    """Channels as tensors, for IS-Net in torch."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(values))


def as_array(values: np.ndarray) -> Map:
    """Channels as arrays, for IS-Net without torch; they agree with the tensors to rounding."""
    return values


Wrap = Callable[[np.ndarray], "Map"]
""":func:`as_tensor` or :func:`as_array`."""


def squash(values: Map, size: int, *, antialias: bool = False) -> Map:
    """Resizes (B, C, H, W) float to (B, C, size, size), bilinear; the release does not smooth before it shrinks."""
    return resize_maps(values, (size, size), antialias=antialias)


def colour_channels(image: np.ndarray, size: int, *, antialias: bool = False, wrap: Wrap = as_tensor) -> Map:
    """A picture (H, W, 3) uint8 RGB as (3, size, size) in [-0.5, 0.5]."""
    pixels = wrap(reduced(image).transpose(2, 0, 1).astype(np.float32)[None])
    return squash(pixels, size, antialias=antialias)[0] / 255 - 0.5


def mask_channel(mask: np.ndarray, size: int, *, antialias: bool = False, wrap: Wrap = as_tensor) -> Map:
    """A coarse mask (H, W) bool as (1, size, size) in [0, 1]."""
    values = wrap(reduced(mask.astype(np.uint8) * 255).astype(np.float32)[None, None])
    return squash(values, size, antialias=antialias)[0] / 255


def box_channel(box: np.ndarray, height: int, width: int, size: int, *, wrap: Wrap = as_tensor) -> Map:
    """A box as (1, size, size) of 0 and 1: drawn half-open at the picture's size, squashed, thresholded.

    Args:
        box: X0 Y0 X1 Y1 in pixels of the picture; every pixel that it touches is inside, one at least.
        height: Of the picture.
        width: Of the picture.
        size: Side of the square.
        wrap: Kind of the result.

    Returns:
        The channel; a box that would vanish when it shrinks keeps the pixel in its middle.
    """
    x0, y0, x1, y1 = (float(v) for v in box)
    down, across = _profile(y0, y1, height, size, wrap), _profile(x0, x1, width, size, wrap)
    inside = np.asarray(down)[:, None] * np.asarray(across)[None] > BOX_LEVEL
    if not inside.any():
        row, column = (y0 + y1) / 2 * size / height, (x0 + x1) / 2 * size / width
        inside[min(size - 1, max(0, int(row))), min(size - 1, max(0, int(column)))] = True
    return wrap(inside[None].astype(np.float32))


def _profile(start: float, end: float, length: int, size: int, wrap: Wrap) -> Map:
    """One side of a drawn box, resized: (size,) in [0, 1]. The box is separable, the resize is, too."""
    first = min(length - 1, max(0, math.floor(start)))
    line = np.zeros((1, 1, 1, length), np.float32)
    line[..., first : max(first + 1, math.ceil(end))] = 1
    return resize_maps(wrap(line), (1, size))[0, 0, 0]


def reduced(picture: np.ndarray, longest: int = LARGEST_SIDE) -> np.ndarray:
    """A picture (H, W) or (H, W, 3) uint8, area-averaged to a longer side of ``longest`` where it has more."""
    height, width = picture.shape[:2]
    scale = longest / max(height, width)
    if scale >= 1:
        return picture
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    smaller: np.ndarray = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return smaller


def released_sample(image: np.ndarray, truth: np.ndarray, mask: np.ndarray, size: int) -> tuple[torch.Tensor, ...]:
    """A training sample exactly as the release's loader makes it.

    Resized values are truncated to whole grey levels, and the box comes from the resized truth: it leaves out the last
    row and column of the object, but for pixels there that are fully the object's.

    Args:
        image: (H, W, 3) uint8 RGB.
        truth: (H, W) uint8, the true mask.
        mask: (H, W) uint8, the coarse mask.
        size: Side of the square.

    Returns:
        Input (5, size, size) and soft label (1, size, size) in [0, 1].

    Raises:
        DataError: The true mask is empty.
    """
    import torch

    stacked = np.concatenate([image, truth[..., None], mask[..., None]], axis=2).transpose(2, 0, 1)
    values = squash(torch.from_numpy(np.ascontiguousarray(stacked))[None].float(), size)[0].trunc()
    label = values[3]
    rows, columns = torch.nonzero(label.any(1))[:, 0], torch.nonzero(label.any(0))[:, 0]
    if len(rows) == 0:
        raise DataError("expected an object in the true mask, found none", hint="leave the picture out")
    box = label.clone()
    box[rows[0] : rows[-1], columns[0] : columns[-1]] = 255
    box[box != 255] = 0
    channels = torch.cat([values[:3] / 255 - 0.5, values[4:] / 255, box[None] / 255])
    return channels, label[None] / 255
