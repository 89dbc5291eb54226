"""Masks as outlines that follow pixel edges and lead back to the same mask."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

Ring = np.ndarray
"""(N, 2) whole numbers, XY corners of pixels, without a repeated last one; the object lies to the right."""

Edge = tuple[int, int, int]
"""Start corner (x, y) of one pixel's edge and its heading, an index into the steps."""

_STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))  # right, down, left, up
_RIGHT_PIXEL = (
    (0, 0),
    (-1, 0),
    (-1, -1),
    (0, -1),
)  # XY from an edge's start to the object's pixel at its right


def trace(mask: np.ndarray) -> list[list[Ring]]:
    """Outlines of a mask (H, W) bool along pixel edges.

    Returns:
        For each 4-connected part its rings: the outer one (clockwise on the screen), then its holes.
    """
    parts, count = ndimage.label(mask)
    grouped: list[list[Ring]] = [[] for _ in range(count)]
    ordered = _edges(np.asarray(mask, bool))
    left = set(ordered)
    for start in ordered:
        if start not in left:
            continue
        x, y, heading = start
        part = parts[y + _RIGHT_PIXEL[heading][1], x + _RIGHT_PIXEL[heading][0]]
        grouped[part - 1].append(_walk(left, start))
    return [sorted(rings, key=ring_area, reverse=True) for rings in grouped]


def _edges(mask: np.ndarray) -> list[Edge]:
    """All pixel edges between object and background in order: each ring begins at a corner."""
    padded = np.pad(mask, 1)
    inside = padded[1:-1, 1:-1]
    around = (
        padded[:-2, 1:-1],
        padded[1:-1, 2:],
        padded[2:, 1:-1],
        padded[1:-1, :-2],
    )  # above, right, below, left
    found = []
    for heading, neighbour in enumerate(around):
        rows, columns = np.nonzero(inside & ~neighbour)
        offset_x, offset_y = _RIGHT_PIXEL[heading]
        found.append(np.stack([columns - offset_x, rows - offset_y, np.full(len(rows), heading)], axis=1))
    return sorted((x, y, heading) for x, y, heading in np.concatenate(found).tolist())


def _walk(edges: set[Edge], start: Edge) -> Ring:
    """Follows one ring and removes its edges; at a corner where two pixels touch it stays on the same."""
    corners = []
    x, y, heading = start
    while True:
        edges.remove((x, y, heading))
        x, y = x + _STEPS[heading][0], y + _STEPS[heading][1]
        turned = next((turn for turn in (1, 0, 3) if (x, y, (heading + turn) % 4) in edges), None)
        if turned is None:
            corners.append((x, y))
            break
        if turned:
            corners.append((x, y))
        heading = (heading + turned) % 4
    return np.array(corners)


def ring_area(ring: Ring) -> float:
    """Signed area in pixels: positive for an outer ring, negative for a hole."""
    x, y = ring[:, 0].astype(float), ring[:, 1].astype(float)
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2)


def join_rings(rings: Sequence[Ring]) -> Ring:
    """One ring for all: parts and holes are tied to the first by bridges of no width, so the area is kept."""
    joined = rings[0]
    for ring in rings[1:]:
        distance, nearest = cKDTree(joined).query(ring)
        leave = int(np.argmin(distance))
        at = int(nearest[leave])
        detour = np.concatenate([np.roll(ring, -leave, axis=0), ring[leave : leave + 1]])
        joined = np.concatenate([joined[: at + 1], detour, joined[at:]])
    return joined
