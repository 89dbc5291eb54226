"""Prompts for training a model of our own: each step asks about every picture in one to three ways.

Slot 0 is a box, slot 1 clicks, slot 2 what else a user does: a box with clicks, a coarse mask, a coarse mask with a
corrective click. All samples of one step share the kinds, so prompts batch without padding.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from vns_sam.images.windows import extent

PROMPT_SLOTS = 3
SHARES = (0.5, 0.3, 0.2)
"""How often a step has a box, clicks, or another kind, where it has only one."""


@dataclass(frozen=True)
class Slot:
    """One kind of prompt: whether it has a box and a coarse mask, and how many clicks."""

    box: bool = False
    points: int = 0
    mask: bool = False


def plan_slots(rng: np.random.Generator, count: int = PROMPT_SLOTS) -> tuple[Slot, ...]:
    """Draws the kinds of one step: all three, or ``count`` different ones."""
    clicks = Slot(points=int(rng.choice([1, 1, 1, 2, 3, 4, 5, 7, 10])))
    other = (
        Slot(box=True),
        Slot(box=True, points=int(rng.integers(1, 4))),
        Slot(mask=True),
        Slot(mask=True, points=1),
    )
    kinds = (Slot(box=True), clicks, other[int(rng.integers(len(other)))])
    if count == PROMPT_SLOTS:
        return kinds
    chosen = rng.choice(PROMPT_SLOTS, size=count, replace=False, p=SHARES)
    return tuple(kinds[i] for i in sorted(chosen))


def draw_prompt(mask: np.ndarray, slot: Slot, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Draws one prompt for a mask (S, S) bool.

    Returns:
        ``box`` (4,) float32 XYXY, ``points`` (N, 2) float32 XY with ``labels`` (N,) int64, ``mask`` (S / 4, S / 4)
        float32 in [0, 1], each only if the slot has it.
    """
    prompt: dict[str, np.ndarray] = {}
    error = None
    if slot.mask:
        coarse = coarse_mask(mask, rng)
        side = mask.shape[0] // 4
        prompt["mask"] = cv2.resize(coarse.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA)
        error = coarse != mask
    if slot.box:
        prompt["box"] = jitter_box(tight_box(mask), mask.shape[0], rng)
    if slot.points:
        prompt["points"], prompt["labels"] = draw_clicks(mask, slot.points, error, rng)
    return prompt


def tight_box(mask: np.ndarray) -> np.ndarray:
    """The box around a mask (H, W) that is not empty, (4,) float32, as SAM is trained: its corners are the outermost
    pixels, one less at right and bottom than where a box elsewhere ends, see :func:`vns_sam.images.windows.extent`.
    """
    box = extent(mask)
    assert box is not None
    return box - np.array([0, 0, 1, 1], np.float32)


def jitter_box(box: np.ndarray, side: int, rng: np.random.Generator) -> np.ndarray:
    """Half of the boxes stay; the others move each edge by a normal 5 % of the box, at most 20 pixels."""
    if rng.random() < 0.5:
        return box
    size = np.tile(box[2:] - box[:2] + 1, 2)
    moved = box + np.clip(rng.normal(0, 0.05, 4) * size, -20, 20)
    moved = np.clip(moved, 0, side - 1).astype(np.float32)
    return np.concatenate([np.minimum(moved[:2], moved[2:]), np.maximum(moved[:2], moved[2:])])


def draw_clicks(
    mask: np.ndarray, count: int, error: np.ndarray | None, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Clicks on a mask: where an error map is given the first one corrects it; else the first lies on the object,
    half the time deep inside, and one in six of the others on the background nearby.
    """
    points, labels = np.empty((count, 2), np.float32), np.ones(count, np.int64)
    near = _ring(mask)
    for i in range(count):
        if i == 0 and error is not None and error.any():
            region = error
        elif i == 0 and rng.random() < 0.5:
            depth = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1]
            region = depth > 0.6 * depth.max()
        else:
            region = near if i > 0 and rng.random() < 1 / 6 and near.any() else mask
        flat = np.flatnonzero(region)
        y, x = divmod(int(flat[rng.integers(len(flat))]), mask.shape[1])
        points[i], labels[i] = (x, y), int(mask[y, x])
    return points, labels


def coarse_mask(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A mask as a weaker model or a quick hand would draw it: blurred, grown or shrunk, bitten, with a blob."""
    x0, y0, x1, y1 = tight_box(mask).astype(int)
    longest = max(x1 - x0, y1 - y0) + 1
    soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), max(0.8, longest * rng.uniform(0.01, 0.08)))
    coarse = soft > rng.uniform(0.3, 0.7)
    for _ in range(int(rng.integers(3))):
        disk = np.zeros(mask.shape, np.uint8)
        centre = (int(rng.integers(x0, x1 + 1)), int(rng.integers(y0, y1 + 1)))
        cv2.circle(disk, centre, max(2, int(longest * rng.uniform(0.08, 0.25))), 1, -1)
        coarse = coarse | disk.astype(bool) if rng.random() < 0.5 else coarse & ~disk.astype(bool)
    return coarse if coarse.any() else mask


def _ring(mask: np.ndarray) -> np.ndarray:
    """Background around the object, as wide as a fifth of it."""
    x0, y0, x1, y1 = tight_box(mask).astype(int)
    width = max(3, int(max(x1 - x0, y1 - y0) * 0.2))
    grown = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8), iterations=min(width, 24))
    return grown.astype(bool) & ~mask
