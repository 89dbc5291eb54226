"""A second look: where the first one was too coarse, parts of the picture are enlarged to the model's input and asked
about again. Measured in docs/experiments/009-second-look.md and 036-both-looks-count.md.

A model with a small input sees little of a small object: its surroundings are cut out. An object that is thin rather
than small, a crack or a twig, is followed in overlapping windows. All answers are averaged, so that the first keeps the
whole in view and the others add detail; each counts by the IoU that the model expects of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import get_args

import cv2
import numpy as np

from vns_sam.errors import UsageError
from vns_sam.images.windows import Window, extent, grid
from vns_sam.types import PADDING_LABEL, ModelInfo, PromptableModel, Prompts, SecondLook

ZOOM = 1.5
"""Side of the cut-out relative to the object's longer side."""
LARGEST = 0.7
"""A cut-out that covers more of the picture than this shows nothing new."""
SMALLEST = 32
"""Side of the smallest cut-out in pixels."""
THIN = 0.035
"""Mean width of a thin mask at most, as a share of the picture's longer side: four and a half cells of a mask that the
model predicts with 128 cells a side."""
CLOSE = 0.4
"""Side of the windows along a thin object as a share of the picture's longer side."""
SHARED = 0.25
"""Share of its side that a window has in common with its neighbour."""
AT_ONCE = 4
"""Cut-outs that are encoded together."""
LEAST_WORTH = 0.01
"""What an answer counts at least: some models expect nothing of an answer, or less."""
WANTED_BELOW = 1024
"""Input side in pixels under which a model gains from a second look by default."""


@dataclass(frozen=True)
class Crop:
    """Where to look again for one row of prompts.

    Attributes:
        row: The row.
        window: The part of the picture.
        thin: X0 Y0 X1 Y1 of what the first look found of a thin object there, None for one that is small.
    """

    row: int
    window: Window
    thin: tuple[float, float, float, float] | None = None


def wants_second_look(info: ModelInfo, asked: SecondLook) -> bool:
    """Whether a model looks again.

    Args:
        info: The model.
        asked: What was asked for; "auto" is yes for a model with a small input that is asked again about crops, itself
            or as the first stage of another.

    Raises:
        UsageError: It was asked for, and the model cannot be asked about one object; or it is none of the three words.
    """
    if asked not in get_args(SecondLook):
        raise UsageError(f"second_look must be auto, on or off, found {asked!r}", hint='second_look="auto"')
    if asked == "on" and info.look_again == "never":
        raise UsageError(f"'{info.name}' cannot be asked about one object again", hint="leave the second look out")
    if asked != "auto":
        return asked == "on"
    return info.look_again in ("crops", "first") and info.input_side is not None and info.input_side < WANTED_BELOW


def look_again(
    model: PromptableModel,
    image: np.ndarray,
    prompts: Prompts,
    logits: np.ndarray,
    scores: np.ndarray,
    edges: np.ndarray | None = None,
) -> bool:
    """Betters a prediction by closer looks, in place; objects that are large and not thin stay.

    Args:
        model: The model that made the prediction.
        image: (H, W, 3) uint8 RGB.
        prompts: The P prompts.
        logits: (P, H, W) of the first look.
        scores: (P,) predicted IoU of the first look.
        edges: (P, H, W) edge probability of the first look.

    Returns:
        Whether there was anything to look at again.
    """
    moved = ((crop, move_into(prompts, crop)) for crop in plan_crops(prompts, logits > 0))
    asked = [(crop, inside) for crop, inside in moved if _holds_something(inside)]
    row, worth = -1, np.zeros(image.shape[:2], np.float32)
    for start in range(0, len(asked), AT_ONCE):
        some = asked[start : start + AT_ONCE]
        features = model.encode([image[crop.window.index] for crop, _ in some])
        closer = model.decode(features, [inside for _, inside in some], range(len(some)))
        for k, (crop, _) in enumerate(some):
            if crop.row != row:  # the crops of a row follow each other
                row, worth = crop.row, np.full_like(worth, _worth(scores[crop.row]))
            place, more = crop.window.index, _worth(closer.scores[k])
            worth[place] += more
            share = more / worth[place]
            _take_in(logits[row][place], closer.logits(k), share)
            edge = None if edges is None else closer.edges(k)
            if edges is not None and edge is not None:
                _take_in(edges[row][place], edge, share)
    return bool(asked)


def plan_crops(prompts: Prompts, masks: np.ndarray) -> Iterator[Crop]:
    """Where a second look is worth while: around the box, else around the mask found and the clicks on it; along the
    mask where that would be much of the picture and the mask is thin.

    Args:
        prompts: P prompts in a picture (H, W).
        masks: (P, H, W) bool, what was found at first.

    Yields:
        The crops of each prompt, one after the other.
    """
    height, width = masks.shape[1:]
    for row, mask in enumerate(masks):
        about = _extent(prompts, mask, row)
        if about is None:
            continue
        x0, y0, x1, y1 = about
        half = max(x1 - x0, y1 - y0, SMALLEST / ZOOM) * ZOOM / 2
        side = round(CLOSE * max(height, width))
        if 2 * half > side and (found := extent(mask)) is not None and _is_thin(mask, found):
            yield from _along(row, mask, found, side)
            continue
        left, right = (int(np.clip(v, 0, width)) for v in ((x0 + x1) / 2 - half, (x0 + x1) / 2 + half + 1))
        top, bottom = (int(np.clip(v, 0, height)) for v in ((y0 + y1) / 2 - half, (y0 + y1) / 2 + half + 1))
        if right - left > 1 and bottom - top > 1 and (right - left) * (bottom - top) <= LARGEST * height * width:
            yield Crop(row, Window(top, bottom, left, right))


def move_into(prompts: Prompts, crop: Crop) -> Prompts:
    """One row of prompts in the pixels of its crop; clicks outside are dropped.

    Of a thin object the box is drawn around what was found there, within the box that was given.
    """
    window, at = crop.window, slice(crop.row, crop.row + 1)
    height, width = window.shape
    boxes = points = labels = masks = None
    if prompts.boxes is not None:
        boxes = _moved(prompts.boxes[at], window)
    if crop.thin is not None:
        found = _moved(np.array([crop.thin], np.float32), window)
        boxes = found if boxes is None else _common(boxes, found)
    if prompts.points is not None and prompts.labels is not None:
        points = prompts.points[at] - np.array([window.left, window.top], np.float32)
        inside = np.all((points >= 0) & (points < np.array([width, height])), axis=2)
        labels = np.where(inside, prompts.labels[at], PADDING_LABEL)
        if boxes is not None and not inside.any():
            points = labels = None
    if prompts.masks is not None:
        masks = prompts.masks[at][:, *window.index]
    return Prompts(boxes, points, labels, masks)


def _holds_something(prompts: Prompts) -> bool:
    """Whether anything is asked about a crop: background clicks alone may all lie outside of it."""
    clicked = prompts.labels is not None and bool((prompts.labels != PADDING_LABEL).any())
    return clicked or prompts.boxes is not None or prompts.masks is not None


def _worth(score: float) -> float:
    return min(1.0, max(LEAST_WORTH, float(score)))


def _take_in(mean: np.ndarray, value: np.ndarray, share: np.ndarray) -> None:
    """Takes a value into a mean, in place, of which it becomes that share."""
    mean += (value - mean) * share


def _moved(boxes: np.ndarray, window: Window) -> np.ndarray:
    """Boxes (P, 4) in the window's own pixels, clipped to the last of them."""
    height, width = window.shape
    return np.minimum(window.move(boxes), np.array([width - 1, height - 1] * 2, np.float32))


def _common(boxes: np.ndarray, found: np.ndarray) -> np.ndarray:
    """What two boxes (1, 4) have in common; the first where that is nothing."""
    common = np.concatenate([np.maximum(boxes, found)[:, :2], np.minimum(boxes, found)[:, 2:]], axis=1)
    return common if np.all(common[:, :2] < common[:, 2:]) else boxes


def _is_thin(mask: np.ndarray, box: np.ndarray) -> bool:
    """Whether the mean width of a mask (H, W), whose extent is ``box``, is that of a line; a bar is four times as wide
    as its pixels are away from its rim on average.
    """
    x0, y0, x1, y1 = box.astype(int).tolist()
    part = np.pad(mask[y0:y1, x0:x1], 1).astype(np.uint8)
    away = cv2.distanceTransform(part, cv2.DIST_L2, 5)[part > 0].mean()
    return bool(4 * away < THIN * max(mask.shape))


def _along(row: int, mask: np.ndarray, box: np.ndarray, side: int) -> Iterator[Crop]:
    """Overlapping windows over all of a mask, whose extent is ``box``, without those that hold nothing of it."""
    x0, y0, x1, y1 = box.astype(int).tolist()
    left, right = _room(x0, x1, side, mask.shape[1])
    top, bottom = _room(y0, y1, side, mask.shape[0])
    for window in grid(Window(top, bottom, left, right), side, SHARED):
        found = extent(mask[window.index])
        if found is not None:
            x0, y0, x1, y1 = (found + np.array([window.left, window.top] * 2)).tolist()
            yield Crop(row, window, (x0, y0, x1, y1))


def _room(start: int, end: int, side: int, length: int) -> tuple[int, int]:
    """A range with an eighth of ``side`` around it, ``side`` long at least, moved and cut to lie in 0 to ``length``."""
    margin = max(side // 8, math.ceil((side - (end - start)) / 2))
    low = max(0, min(start - margin, length - side))
    return low, min(length, max(end + margin, low + side))


def _extent(prompts: Prompts, mask: np.ndarray, row: int) -> tuple[float, float, float, float] | None:
    """What one prompt is about, as X0 Y0 X1 Y1; None where it found nothing and has no box."""
    if prompts.boxes is not None:
        x0, y0, x1, y1 = prompts.boxes[row].tolist()
        return x0, y0, x1, y1
    ys, xs = np.nonzero(mask)
    if len(xs) == 0:
        return None
    if prompts.points is not None and prompts.labels is not None:
        clicks = prompts.points[row][prompts.labels[row] == 1]
        xs, ys = np.append(xs, clicks[:, 0]), np.append(ys, clicks[:, 1])
    return float(xs.min()), float(ys.min()), float(xs.max()), float(ys.max())
