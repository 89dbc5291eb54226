"""Masks as COCO stores them: run lengths and polygons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vns_sam.types import Piece, Size

MOST = 2**30
"""Pixels of a mask."""


def encode_rle(mask: np.ndarray) -> dict[str, Any]:
    """COCO's compressed run lengths of a mask (H, W) bool: ``{"size": [H, W], "counts": text}``."""
    height, width = mask.shape
    return encode_piece(Piece(0, 0, np.asarray(mask, bool)), (height, width))


def encode_piece(piece: Piece, size: Size) -> dict[str, Any]:
    """The same of a mask that is cut out of a picture of (H, W) pixels."""
    height, width = size
    steps = np.diff(np.pad(piece.mask.T.view(np.int8), ((0, 0), (1, 1))))
    columns, rows = np.nonzero(steps)
    places = (piece.left + columns) * height + piece.top + rows  # where runs begin and end, in turn
    whole = np.flatnonzero(places[1:] == places[:-1])  # one that goes on from the foot of a column to the next
    bounds = np.concatenate([[0], np.delete(places, [*whole, *(whole + 1)]), [height * width]])
    counts = np.diff(bounds[:-1] if len(bounds) > 2 and bounds[-2] == bounds[-1] else bounds).tolist()
    return {"size": [height, width], "counts": _pack(counts)}


def decode_rle(rle: Mapping[str, Any]) -> np.ndarray:
    """Mask (H, W) bool from COCO run lengths, compressed (text) or plain (a list).

    Raises:
        ValueError: The lengths are none, or do not fill the size that they are said to have; judged before a mask of
            that size is made. What is missing or of another type raises KeyError or TypeError.
    """
    height, width = (int(length) for length in rle["size"])
    counts = np.asarray(run_lengths(rle["counts"]))
    if counts.ndim != 1 or (counts.size and counts.dtype.kind not in "iu") or (counts < 0).any():
        raise ValueError("run lengths must be whole numbers from 0 on")
    if min(height, width) < 0 or height * width > MOST or sum(counts.tolist()) != height * width:
        raise ValueError("run lengths must fill the size that they are said to have")
    values = np.arange(len(counts)) % 2 == 1
    return np.repeat(values, counts.astype(np.int64)).reshape(height, width, order="F")


def run_lengths(counts: str | Sequence[int]) -> Sequence[int]:
    """Run lengths as numbers, of background and object in turn, from COCO's compressed text or a plain list."""
    return _unpack(counts) if isinstance(counts, str) else counts


def _pack(counts: Sequence[int]) -> str:
    """Five bits a character, least first, the sixth tells of more; from the fourth on differences."""
    left = np.array(counts, np.int64)
    left[3:] -= np.array(counts[1:-2], np.int64)
    characters, written, more = [], [], np.ones(len(left), bool)
    while more.any():
        written.append(more)
        bits = left & 31
        left = left >> 5
        more = more & (left != np.where(bits & 16, -1, 0))
        characters.append((48 + bits + 32 * more).astype(np.uint8))
    return np.stack(characters, axis=1)[np.stack(written, axis=1)].tobytes().decode() if characters else ""


def _unpack(text: str) -> list[int]:
    counts: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= (1 << shift) if bits & 16 else 0
            counts.append(value + counts[-2] if len(counts) > 2 else value)
            value = shift = 0
    return counts


def number_objects(pieces: Sequence[Piece], size: Size) -> np.ndarray:
    """Objects as one picture of ids; where they overlap, the smaller one stays on top.

    Returns:
        (H, W) uint16: 1, 2, ... in the order of ``pieces``, 0 is background.
    """
    ids = np.zeros(size, np.uint16)
    areas = [piece.area for piece in pieces]
    for index in sorted(range(len(areas)), key=lambda each: -areas[each]):
        piece = pieces[index]
        ids[piece.index][piece.mask] = index + 1
    return ids


def fill_polygon(corners: np.ndarray, height: int, width: int) -> np.ndarray:
    """Draws one polygon: the pixels whose centre lies inside by the even-odd rule.

    An outline along pixel edges gives its mask back exactly; holes may be tied to it by bridges of no width.

    Args:
        corners: (N, 2) XY; pixel (0, 0) reaches from (0, 0) to (1, 1). Parts outside the picture are cut off.
        height: Of the picture, pixels.
        width: Of the picture, pixels.

    Returns:
        (H, W) bool.
    """
    start = np.asarray(corners, np.float64)
    step = np.roll(start, -1, axis=0) - start
    end = start + step
    lowest, highest = np.minimum(start[:, 1], end[:, 1]), np.maximum(start[:, 1], end[:, 1])
    first, last = (np.clip(np.ceil(y - 0.5), 0, height).astype(int) for y in (lowest, highest))
    counts = last - first  # rows whose centre line an edge crosses
    edge = np.repeat(np.arange(len(start)), counts)
    row = np.arange(counts.sum()) + np.repeat(first - np.cumsum(counts) + counts, counts)
    x = start[edge, 0] + (row + 0.5 - start[edge, 1]) * step[edge, 0] / step[edge, 1]
    column = np.clip(np.ceil(x - 0.5), 0, width).astype(int)
    crossings = np.bincount(row * (width + 1) + column, minlength=height * (width + 1)).reshape(height, width + 1)
    return (np.cumsum(crossings, axis=1)[:, :width] & 1).astype(bool)
