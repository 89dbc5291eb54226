"""Masks as what they cover: thousands of them on a huge picture cost what they hold, not what the picture holds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import overload

import numpy as np

Size = tuple[int, int]
"""Height and width in pixels."""


@dataclass(frozen=True)
class Piece:
    """A mask, cut out of its picture.

    Attributes:
        top, left: The pixel of the picture that its first pixel is.
        mask: (h, w) bool; the picture has nothing of the object outside of it.
    """

    top: int
    left: int
    mask: np.ndarray

    @property
    def index(self) -> tuple[slice, slice]:
        """Its pixels, as an index of (H, W)."""
        height, width = self.mask.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)

    @property
    def box(self) -> tuple[int, int, int, int]:
        """X0 Y0 X1 Y1 of the cut, right and bottom exclusive."""
        height, width = self.mask.shape
        return self.left, self.top, self.left + width, self.top + height

    @cached_property
    def area(self) -> int:
        """Pixels of the object."""
        return int(np.count_nonzero(self.mask))

    def within(self, size: Size) -> Piece:
        """What of it lies on a picture (H, W), cut as tight as can be."""
        rows = slice(max(-self.top, 0), max(size[0] - self.top, 0))
        columns = slice(max(-self.left, 0), max(size[1] - self.left, 0))
        return cut_out(self.mask[rows, columns], max(self.top, 0), max(self.left, 0))

    def full(self, size: Size) -> np.ndarray:
        """The mask (H, W) bool of the whole picture."""
        mask = np.zeros(size, bool)
        mask[self.index] = self.mask
        return mask


def cut_out(mask: np.ndarray, top: int = 0, left: int = 0) -> Piece:
    """A mask (h, w) bool, whose first pixel is that one of the picture, cut as tight as can be; an empty one has no
    pixels.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return Piece(0, 0, np.zeros((0, 0), bool))
    y, x = int(rows[0]), int(columns[0])
    return Piece(top + y, left + x, mask[y : rows[-1] + 1, x : columns[-1] + 1])


class Pieces(Sequence[Piece]):
    """Pieces, kept at a bit for each pixel."""

    def __init__(self, pieces: Iterable[Piece]) -> None:
        self._kept = [(each.top, each.left, each.mask.shape, np.packbits(each.mask)) for each in pieces]

    def __len__(self) -> int:
        return len(self._kept)

    @overload
    def __getitem__(self, index: int) -> Piece: ...
    @overload
    def __getitem__(self, index: slice) -> list[Piece]: ...
    def __getitem__(self, index: int | slice) -> Piece | list[Piece]:
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        top, left, (height, width), bits = self._kept[index]
        return Piece(top, left, np.unpackbits(bits, count=height * width).reshape(height, width).view(bool))


def piece_boxes(pieces: Iterable[Piece]) -> np.ndarray:
    """The boxes (P, 4) float32 XYXY of pieces that are cut as tight as can be; zeros for an empty one."""
    return np.array([each.box for each in pieces], np.float32).reshape(-1, 4)
