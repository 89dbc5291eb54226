"""Clicks as a person makes them to correct a mask: where it is wrong.

Masks are (H, W) bool arrays. Nothing is left to chance.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import cv2
import numpy as np


class Click(NamedTuple):
    """One click.

    Attributes:
        x: Column in pixels.
        y: Row in pixels.
        label: 1 on the object, 0 on the background.
    """

    x: int
    y: int
    label: int


def deepest_click(pred: np.ndarray, gt: np.ndarray, clicked: Collection[Click] = ()) -> Click | None:
    """Clicks where interactive segmentation is measured, so that numbers of clicks compare with published ones: on the
    wrong pixel that lies deepest in what is missed or in what is too much, whatever the area of its region.

    It is the rule of Sofiiuk et al. 2022 (RITM): exact distances, of equals the excess and then the first in reading
    order, and never a pixel that was clicked before.

    Args:
        pred: (H, W) bool, the mask so far.
        gt: (H, W) bool, the truth.
        clicked: Clicks so far.

    Returns:
        A positive click on a missed part, a negative one on an excess part, None where every wrong pixel was clicked.
    """
    missed, excess = (_depth(wrong, exact=True) for wrong in (gt & ~pred, pred & ~gt))
    for click in clicked:
        missed[click.y, click.x] = excess[click.y, click.x] = 0
    label = int(missed.max() > excess.max())
    depth = missed if label else excess
    y, x = divmod(int(depth.argmax()), depth.shape[1])
    return Click(x, y, label) if depth[y, x] > 0 else None


def next_click(pred: np.ndarray, gt: np.ndarray) -> Click | None:
    """Clicks where training corrects a mask, on what costs most IoU: in the largest connected region that is wrong.

    Args:
        pred: (H, W) bool, the mask so far.
        gt: (H, W) bool, the truth.

    Returns:
        The pixel deepest inside the region, of equals the first in reading order: a positive click on a missed part, a
        negative one on an excess part, None where nothing is wrong.
    """
    missed, excess = _largest_region(gt & ~pred), _largest_region(pred & ~gt)
    label = int(missed.sum() >= excess.sum())
    region = missed if label else excess
    if not region.any():
        return None
    y, x = divmod(int(_depth(region).argmax()), region.shape[1])
    return Click(x, y, label)


def _largest_region(mask: np.ndarray) -> np.ndarray:
    """The largest 8-connected region of a mask; the mask itself where it is empty."""
    count, ids, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    if count == 1:
        return mask
    region: np.ndarray = ids == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    return region


def _depth(mask: np.ndarray, *, exact: bool = False) -> np.ndarray:
    """Distance (H, W) of each pixel from the nearest one outside the mask or the picture."""
    padded = np.pad(mask, 1).astype(np.uint8)
    size = cv2.DIST_MASK_PRECISE if exact else cv2.DIST_MASK_5
    depth: np.ndarray = cv2.distanceTransform(padded, cv2.DIST_L2, size)[1:-1, 1:-1]
    return depth
