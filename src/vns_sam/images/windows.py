"""Which parts of a picture are looked at: windows, rows top to bottom and columns left to right, ends exclusive."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from vns_sam.types import cut_out, piece_boxes


@dataclass(frozen=True)
class Window:
    """A part of a picture.

    Attributes:
        top, bottom: Rows, the end exclusive.
        left, right: Columns, the end exclusive.
    """

    top: int
    bottom: int
    left: int
    right: int

    @property
    def index(self) -> tuple[slice, slice]:
        """The pixels, as an index of (H, W)."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.bottom - self.top, self.right - self.left

    def move(self, box: np.ndarray) -> np.ndarray:
        """A box X0 Y0 X1 Y1 of the picture in the window's own pixels, clipped to it."""
        moved = box - np.array([self.left, self.top, self.left, self.top], np.float32)
        return moved.clip(0, np.array([self.shape[1], self.shape[0]] * 2, np.float32))


def whole(height: int, width: int) -> Window:
    """The whole picture."""
    return Window(0, height, 0, width)


def extent(mask: np.ndarray) -> np.ndarray | None:
    """The box X0 Y0 X1 Y1 around a mask (H, W), float32, right and bottom exclusive; None around an empty one.

    This is the box of the package: what results have, what users give and what files hold.
    """
    piece = cut_out(mask)
    return np.array(piece.box, np.float32) if piece.mask.size else None


def mask_boxes(masks: np.ndarray) -> np.ndarray:
    """The boxes (P, 4) float32 around masks (P, H, W), see :func:`extent`; zeros where a mask is empty."""
    return piece_boxes(cut_out(mask) for mask in masks)


def grid(within: Window, side: int, shared: float) -> Iterator[Window]:
    """Square windows that cover a part of a picture.

    Args:
        within: The part.
        side: Of the windows in pixels, smaller where the part is smaller.
        shared: Share of its side, in [0, 1), that a window has in common with its neighbour at least; the windows are
            moved together until they end where the part does.
    """
    starts = []
    for length in within.shape:
        size = min(side, length)
        count = 1 + math.ceil((length - size) / ((1 - shared) * size))
        starts.append([(round(s), round(s) + size) for s in np.linspace(0, length - size, count)])
    for top, bottom in starts[0]:
        for left, right in starts[1]:
            yield Window(within.top + top, within.top + bottom, within.left + left, within.left + right)
