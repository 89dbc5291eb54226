"""Masks as outlines that follow pixel edges and lead back to the same mask."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from vns_sam.types import Piece

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

_FEW = 256  # rings that are joined one by one, with a search tree of all that is joined
_LEAST_TOLERANCE = 0.25  # pixels: below it, corners of pixels are kept as they are
_EDGES_AT_ONCE = 256
_EXACT_TREE = 4  # FLANN's single k-d tree, the one that finds the nearest for certain


def trace(mask: np.ndarray) -> list[list[Ring]]:
    """Outlines of a mask (H, W) bool along pixel edges.

    Returns:
        For each 4-connected part its rings: the outer one (clockwise on the screen), then its holes.
    """
    count, parts = cv2.connectedComponents(np.asarray(mask, np.uint8), connectivity=4)
    grouped: list[list[Ring]] = [[] for _ in range(count - 1)]
    ordered = _edges(np.asarray(mask, bool))
    left = set(ordered)
    for start in ordered:
        if start not in left:
            continue
        x, y, heading = start
        part = parts[y + _RIGHT_PIXEL[heading][1], x + _RIGHT_PIXEL[heading][0]]
        grouped[part - 1].append(_walk(left, start))
    return [sorted(rings, key=ring_area, reverse=True) for rings in grouped]


def trace_piece(piece: Piece) -> list[list[Ring]]:
    """The same of a mask that is cut out of its picture, in pixels of the picture."""
    corner = np.array([piece.left, piece.top])
    return [[ring + corner for ring in rings] for rings in trace(piece.mask)]


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


def split_at_touches(part: Sequence[Ring]) -> list[Ring]:
    """The rings of a part such that none passes a corner twice: valid polygons by the rules of GIS tools.

    An outline that meets itself at a corner, where a hole reaches the outside, becomes outline and hole.
    """
    simple = [cut for ring in part for cut in _cut_at_touches(ring)]
    return sorted(simple, key=ring_area, reverse=True)


def _cut_at_touches(ring: Ring) -> list[Ring]:
    """Cuts off a ring of its own each time that the walk comes back to a corner."""
    found: list[Ring] = []
    path: list[tuple[int, int]] = []
    place: dict[tuple[int, int], int] = {}
    for x, y in ring.tolist():
        corner = (x, y)
        if corner in place:
            start = place[corner]
            found.append(np.array(path[start:]))
            for left in path[start + 1 :]:
                del place[left]
            del path[start + 1 :]
        else:
            place[corner] = len(path)
            path.append(corner)
    return [*found, np.array(path)]


class Nearest:
    """A search tree of points (N, 2) in whole pixels."""

    def __init__(self, points: np.ndarray) -> None:
        self.data = points
        self._index = cv2.flann.Index(points.astype(np.float32), {"algorithm": _EXACT_TREE, "leaf_max_size": 10})

    def query(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The squared distance of each of M points to its nearest one, and that one's number: (M,) each."""
        numbers, squared = self._index.knnSearch(points.astype(np.float32), 1, params={"checks": -1})
        return squared[:, 0], numbers[:, 0]


def join_rings(rings: Sequence[Ring]) -> Ring:
    """One ring for all: parts and holes are tied to the first by bridges of no width, so the area is kept."""
    if len(rings) > _FEW:
        return _join_many(rings)
    joined = rings[0]
    for ring in rings[1:]:
        distance, nearest = Nearest(joined).query(ring)
        leave = int(np.argmin(distance))
        at = int(nearest[leave])
        detour = np.concatenate([np.roll(ring, -leave, axis=0), ring[leave : leave + 1]])
        joined = np.concatenate([joined[: at + 1], detour, joined[at:]])
    return joined


def _join_many(rings: Sequence[Ring]) -> Ring:
    """:func:`join_rings` in less than quadratic time: search trees whose sizes double, corners in a chained list."""
    corners: list[list[int]] = list(rings[0].tolist())
    after = [*range(1, len(corners)), 0]
    trees = [(Nearest(rings[0]), np.arange(len(corners)))]
    for ring in rings[1:]:
        answers = [tree.query(ring) for tree, _ in trees]
        which = int(np.argmin([distance.min() for distance, _ in answers]))
        leave = int(np.argmin(answers[which][0]))
        at = int(trees[which][1][answers[which][1][leave]])
        detour = [*np.roll(ring, -leave, axis=0).tolist(), ring[leave].tolist(), corners[at]]
        first = len(corners)
        corners += detour
        after += [*range(first + 1, first + len(detour)), after[at]]
        after[at] = first
        _add_tree(trees, ring, np.arange(first, first + len(ring)), leave)
    order = [0]
    while after[order[-1]]:
        order.append(after[order[-1]])
    return np.array(corners)[order]


def _add_tree(trees: list[tuple[Nearest, np.ndarray]], ring: Ring, numbers: np.ndarray, leave: int) -> None:
    """Adds a ring's corners, joined with the last trees while those are no larger."""
    points = np.roll(ring, -leave, axis=0)
    while trees and len(trees[-1][1]) <= len(points):
        tree, earlier = trees.pop()
        points, numbers = np.concatenate([tree.data, points]), np.concatenate([earlier, numbers])
    trees.append((Nearest(points), numbers))


def simplify_parts(parts: Sequence[Sequence[Ring]], tolerance: float) -> list[list[Ring]]:
    """Outlines with fewer corners, none farther than ``tolerance`` pixels from the exact ones (Douglas-Peucker).

    Holes that vanish are filled. A part whose rings would cross is drawn with a smaller tolerance, in the end exactly.
    """
    return [_simplify_part(part, tolerance) for part in parts]


def _simplify_part(part: Sequence[Ring], tolerance: float) -> list[Ring]:
    while tolerance >= _LEAST_TOLERANCE:
        drawn = [cv2.approxPolyDP(ring.astype(np.int32), tolerance, True)[:, 0].astype(int) for ring in part]
        kept = [ring for ring in drawn if len(ring) > 2 and ring_area(ring)]
        if len(drawn[0]) > 2 and ring_area(drawn[0]) > 0 and not _cross(kept):
            return kept
        tolerance /= 2
    return split_at_touches(part)


def _cross(rings: Sequence[Ring]) -> bool:
    """Whether two edges cross or overlap, or a corner lies on an edge of which it is no end."""
    start = np.concatenate(rings).astype(np.int64)
    end = np.concatenate([np.roll(ring, -1, axis=0) for ring in rings]).astype(np.int64)
    if len(np.unique(start, axis=0)) < len(start):
        return True
    for first in range(0, len(start), _EDGES_AT_ONCE):
        a, b = start[first : first + _EDGES_AT_ONCE, None], end[first : first + _EDGES_AT_ONCE, None]
        sides = [np.sign(_turn(a, b, start)), np.sign(_turn(a, b, end))]
        others = [np.sign(_turn(start, end, a)), np.sign(_turn(start, end, b))]
        crossing = (sides[0] * sides[1] < 0) & (others[0] * others[1] < 0)
        on_edge = (sides[0] == 0) & (((start - a) * (start - b)).sum(axis=2) < 0)
        if (crossing | on_edge).any():
            return True
    return False


def _turn(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Twice the signed area of the triangles a b c."""
    ab, ac = b - a, c - a
    return ab[..., 0] * ac[..., 1] - ab[..., 1] * ac[..., 0]
