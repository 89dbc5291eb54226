"""From strokes to clicks: well-spread points on them, at least one on each stroke while there are enough."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import cv2
import numpy as np

from vns_sam.data.sparse import SparseLabel
from vns_sam.errors import DataError
from vns_sam.metrics.thinning import skeleton
from vns_sam.prompts.codes import BACKGROUND, OBJECT
from vns_sam.types import Prompts

Sampler = Literal["fps", "grid", "random"]

GRID_PITCH = 0.075
"""Of the sampler "grid", in parts of the picture's shorter side (SAM-COD)."""


def prompts_from(label: SparseLabel, count: int, rng: np.random.Generator, sampler: Sampler = "fps") -> Prompts:
    """What a model is asked for a label: one row for each box, or all points together in one row.

    Args:
        label: The label.
        count: Points on the object, and as many on the background, where the strokes have so many.
        rng: Source of the draws.
        sampler: See :func:`spread_points`.

    Raises:
        DataError: The label marks no object.
    """
    if len(label.boxes):
        return Prompts(boxes=label.boxes)
    inside = spread_points(label.codes == OBJECT, count, rng, sampler)
    outside = spread_points(label.codes == BACKGROUND, count, rng, sampler)
    if not len(inside):
        raise DataError("expected at least one mark on the object, found none")
    labels = np.repeat(np.array([1, 0]), [len(inside), len(outside)])
    return Prompts(points=np.concatenate([inside, outside])[None], labels=labels[None])


def spread_points(marks: np.ndarray, count: int, rng: np.random.Generator, sampler: Sampler = "fps") -> np.ndarray:
    """Chooses points on strokes.

    Each stroke gets one point, and more by the length of its middle line; with more strokes than points the longest
    ones get them.

    Args:
        marks: (H, W) bool, the strokes; single pixels are points.
        count: At most so many; the grid may give fewer.
        rng: Source of the draws.
        sampler: "fps" takes, from the stroke's middle line, the point farthest from those so far; "grid" one point in
            each cell of a grid (SAM-COD); "random" any pixel of the stroke (WS-SAM).

    Returns:
        (N, 2) float32 XY, all different.
    """
    number, strokes = cv2.connectedComponents(marks.astype(np.uint8), connectivity=8)
    if number == 1 or count < 1:
        return np.zeros((0, 2), np.float32)
    middle = skeleton(marks)
    pixels = []
    for stroke in range(1, number):
        own = strokes == stroke
        ys, xs = np.nonzero(own if sampler == "random" or not (own & middle).any() else own & middle)
        pixels.append(np.stack([xs, ys], axis=1).astype(np.float32))
    shares = _quota([len(some) for some in pixels], count)
    cell = max(1.0, GRID_PITCH * min(marks.shape))
    chosen = [_CHOICE[sampler](some, share, rng, cell) for some, share in zip(pixels, shares, strict=True) if share]
    return np.concatenate(chosen)


def _quota(sizes: list[int], count: int) -> list[int]:
    """How many points each stroke gets: one each, then one by one to the stroke with most pixels for each point."""
    shares = [0] * len(sizes)
    for stroke in sorted(range(len(sizes)), key=lambda k: -sizes[k])[:count]:
        shares[stroke] = 1
    for _ in range(min(count, sum(sizes)) - sum(shares)):
        open_to = [k for k, size in enumerate(sizes) if 0 < shares[k] < size]
        if not open_to:
            break
        shares[max(open_to, key=lambda k: sizes[k] / shares[k])] += 1
    return shares


def _farthest(pixels: np.ndarray, count: int, rng: np.random.Generator, cell: float) -> np.ndarray:
    """The pixel nearest to the stroke's middle where one is asked for; else one end first, then the farthest."""
    from_mean = ((pixels - pixels.mean(axis=0)) ** 2).sum(axis=1)
    if count == 1:
        return pixels[[int(from_mean.argmin())]]
    chosen = [int(from_mean.argmax())]
    nearest = np.full(len(pixels), np.inf)
    for _ in range(count - 1):
        nearest = np.minimum(nearest, ((pixels - pixels[chosen[-1]]) ** 2).sum(axis=1))
        chosen.append(int(nearest.argmax()))
    return pixels[chosen]


def _on_grid(pixels: np.ndarray, count: int, rng: np.random.Generator, cell: float) -> np.ndarray:
    """One pixel of each cell, the one nearest to the cell's middle; of too many, evenly chosen ones."""
    cells = np.floor(pixels / cell)
    off = ((pixels - (cells + 0.5) * cell) ** 2).sum(axis=1)
    order = np.lexsort((off, cells[:, 0], cells[:, 1]))
    first = np.unique(cells[order][:, ::-1], axis=0, return_index=True)[1]
    kept = pixels[order[first]]
    return kept[np.linspace(0, len(kept) - 1, min(count, len(kept))).round().astype(int)]


def _at_random(pixels: np.ndarray, count: int, rng: np.random.Generator, cell: float) -> np.ndarray:
    return pixels[rng.choice(len(pixels), size=min(count, len(pixels)), replace=False)]


_CHOICE: dict[Sampler, Callable[[np.ndarray, int, np.random.Generator, float], np.ndarray]] = {
    "fps": _farthest,
    "grid": _on_grid,
    "random": _at_random,
}
