"""Finding pictures that are nearly the same: re-encoded, resized a little, flipped or rotated.

A 64-bit perceptual hash (the signs of low DCT frequencies of the 32 x 32 gray picture) finds candidates; the
correlation of their 64 x 64 thumbnails decides. Pictures without structure have no meaningful hash.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

MAX_DISTANCE = 10
"""Bits in which the hashes of candidates differ at most."""

MIN_CORRELATION = 0.95
"""Of the thumbnails of two pictures that count as nearly the same."""

THUMBNAIL = 64
MIN_CONTRAST = 2.0
"""Standard deviation of gray values below which a picture is flat and has no hash."""

ORIENTATIONS = (
    "as it is",
    "mirrored",
    "upside down",
    "rotated by 180 degrees",
    "transposed",
    "rotated to the left",
    "rotated to the right",
    "transposed along the other diagonal",
)
"""The eight flips and rotations, in the order of :func:`hashes` and :func:`oriented`."""

_DCT_SIDE, _BLOCK = 32, 8
_CHUNK = 64


def hashes(gray: np.ndarray) -> np.ndarray | None:
    """Perceptual hashes of a picture in its eight orientations.

    A flip changes the sign of every odd frequency and a transposition swaps the axes, so one DCT gives all eight.

    Args:
        gray: (H, W) uint8.

    Returns:
        (8,) uint64 in the order of :data:`ORIENTATIONS`; None for a flat picture.
    """
    small = cv2.resize(gray, (_DCT_SIDE, _DCT_SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    if small.std() < MIN_CONTRAST:
        return None
    block = cv2.dct(small)[:_BLOCK, :_BLOCK]
    sign = np.where(np.arange(_BLOCK) % 2, -1.0, 1.0)
    flips = (block, block * sign, block * sign[:, None], block * sign * sign[:, None])
    return np.array([_bits(way) for way in (*flips, *(way.T for way in flips))], np.uint64)


def _bits(block: np.ndarray) -> int:
    """Bit k tells whether coefficient k is above the median; the mean gray value (k = 0) is left out."""
    values = block.ravel().copy()
    values[0] = 0.0
    bits = values > np.median(values[1:])
    bits[0] = False
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def oriented(gray: np.ndarray, orientation: int) -> np.ndarray:
    """A picture (H, W) in one of :data:`ORIENTATIONS`."""
    flips = (gray, gray[:, ::-1], gray[::-1], gray[::-1, ::-1])
    way = flips[orientation % len(flips)]
    return way if orientation < len(flips) else way.T


def thumbnail(gray: np.ndarray) -> np.ndarray:
    """A picture (H, W) uint8 squeezed to (64, 64) uint8."""
    return cv2.resize(gray, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson correlation of two thumbnails in [-1, 1]; 0 where one of them is flat."""
    a, b = (values.astype(np.float64) - values.mean() for values in (first, second))
    norm = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum() / norm) if norm > 0 else 0.0


def candidates(table: np.ndarray, *, flips: bool = False) -> Iterator[tuple[int, int, int]]:
    """Pairs of pictures whose hashes differ in at most :data:`MAX_DISTANCE` bits.

    Args:
        table: (N, 8) uint64, a row of :func:`hashes` for each picture.
        flips: Compare the first picture in all eight orientations, not only as it is.

    Yields:
        ``first < second`` and the orientation of the first in which it is like the second; the closest
        orientation where there are several.
    """
    ways = len(ORIENTATIONS) if flips else 1
    upright = np.ascontiguousarray(table[:, 0])
    for start in range(0, len(table), _CHUNK):
        rows, others = table[start : start + _CHUNK, :ways], upright[start:]
        closest: dict[tuple[int, int], tuple[int, int]] = {}
        for way in range(ways):
            distances = np.bitwise_count(rows[:, way, None] ^ others)
            for row, column in np.argwhere(distances <= MAX_DISTANCE).tolist():
                if row < column:
                    found = int(distances[row, column]), way
                    closest[row, column] = min(found, closest.get((row, column), found))
        for (row, column), (_, way) in sorted(closest.items()):
            yield start + row, start + column, way
