"""Thinning of masks to skeletons: the parallel algorithm of Zhang and Suen (CACM 27(3), 1984) as scikit-image has it.

Only pixels whose surroundings have changed are looked at again, so that the work grows with the number of object
pixels and not with that of the picture times the thickness of the object.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

_AROUND = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))
"""Rows and columns to the neighbours, clockwise; the place in this list is the bit in a pixel's code."""
_OBJECT = 1 << 8
_LISTED = 1 << 9
"""Two more bits: the pixel itself is object; it is among those to look at."""

_DEVIATIONS = {
    0: (48, 129),
    1: (3, 6, 11, 12, 14, 131, 134, 161, 194, 198),
    2: (24, 26, 56, 96, 104, 108, 176, 192, 224),
    3: (10, 40, 130, 160),
}
"""Codes of neighbours that scikit-image treats in another way than the paper: pass 1, pass 2, both (3) or never."""


def skeleton(mask: np.ndarray) -> np.ndarray:
    """Thins a mask until no pixel can be removed; equal to ``skimage.morphology.skeletonize`` in 2-D.

    Args:
        mask: (H, W) bool. Beyond the picture there is no object.

    Returns:
        (H, W) bool: lines of one pixel that keep the mask's 8-connected parts together.
    """
    height, width = mask.shape
    state = _codes(mask)
    removable, unlisted = _tables()
    steps = [row * (width + 2) + column for row, column in _AROUND]
    active = np.flatnonzero(removable[state])
    state[active] |= _LISTED
    sweep = 1
    while active.size:
        when = removable[state[active]]
        gone, waiting = active[(when & sweep) != 0], active[when == 3 - sweep]
        state[active[when == 0]] &= ~np.uint16(_LISTED)
        state[gone] = 0
        active = np.concatenate([waiting, *_tell_neighbours(state, gone, steps, unlisted)])
        sweep = 3 - sweep
    return (state.reshape(height + 2, width + 2)[1:-1, 1:-1] & _OBJECT) != 0


def _tell_neighbours(state: np.ndarray, gone: np.ndarray, steps: list[int], unlisted: np.ndarray) -> list[np.ndarray]:
    """Takes removed pixels out of their neighbours' codes; the neighbours that are to be looked at from now on."""
    fresh = []
    for place, step in enumerate(steps):
        near = gone + step
        opposite = np.uint16(1 << (place + 4) % 8)
        codes = state[near] & ~opposite
        new = unlisted[codes]
        codes[new] |= _LISTED
        state[near] = codes
        fresh.append(near[new])
    return fresh


def _codes(mask: np.ndarray) -> np.ndarray:
    """Each pixel with its neighbours in bits, uint16, flat, with a rim of one empty pixel around the picture."""
    weights = np.full((3, 3), _OBJECT, np.float32)
    for place, (row, column) in enumerate(_AROUND):
        weights[row + 1, column + 1] = 1 << place
    padded = np.pad(mask, 1).astype(np.uint8)
    codes = cv2.filter2D(padded, cv2.CV_16S, weights, borderType=cv2.BORDER_CONSTANT).view(np.uint16)
    codes[padded == 0] = 0
    return codes.ravel()


@lru_cache(maxsize=1)
def _tables() -> tuple[np.ndarray, np.ndarray]:
    """By code: in which passes an object pixel goes (bit 0 first, bit 1 second), and whether it is to be listed."""
    removable = np.zeros(1024, np.uint8)
    for code in range(256):
        removable[[code | _OBJECT, code | _OBJECT | _LISTED]] = _passes(code)
    for passes, codes in _DEVIATIONS.items():
        for code in codes:
            removable[[code | _OBJECT, code | _OBJECT | _LISTED]] = passes
    unlisted = removable > 0
    unlisted[_LISTED:] = False
    return removable, unlisted


def _passes(code: int) -> int:
    """Zhang and Suen's conditions: 2 to 6 neighbours in one stretch, and a free side to the pass's direction."""
    around = [code >> place & 1 for place in range(8)]
    stretches = sum(around[i - 1] < around[i] for i in range(8))
    if stretches != 1 or not 2 <= sum(around) <= 6:
        return 0
    north, east, south, west = (bool(around[i]) for i in (1, 3, 5, 7))
    first = not (east and south and (north or west))
    second = not (north and west and (east or south))
    return first + 2 * second
