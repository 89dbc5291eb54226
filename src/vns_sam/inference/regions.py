"""Objects of one picture as pieces of it, and which of them say the same thing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from vns_sam.images.windows import Window
from vns_sam.types import Piece, cut_out


@dataclass(frozen=True)
class Region(Piece):
    """One object, cut as tight as can be.

    Attributes:
        score: Predicted IoU.
        stability: IoU of the masks that a stricter and a looser threshold give, 0 to 1.
        point: X Y of the click that found it, in pixels of the picture; the middle of the box that did.
        rank: What regions are sorted by, the highest first.
    """

    score: float
    stability: float
    point: tuple[float, float]
    rank: float = 0.0

    @property
    def window(self) -> Window:
        """Where it is."""
        left, top, right, bottom = self.box
        return Window(top, bottom, left, right)


def make_region(
    mask: np.ndarray, within: Window, score: float, stability: float, point: tuple[float, float]
) -> Region | None:
    """A region from the mask (h, w) bool of a part of a picture; None where it is empty."""
    piece = cut_out(mask, within.top, within.left)
    if not piece.mask.size:
        return None
    return Region(piece.top, piece.left, piece.mask.copy(), score, stability, point)


def enlarged(region: Region, size: tuple[int, int], view: Window) -> Region:
    """Moves a region from a picture of ``size`` (height, width) to the part ``view`` of a picture, maybe larger."""
    down, across = view.shape[0] / size[0], view.shape[1] / size[1]
    at = region.window
    rows = [view.top + round(y * down) for y in (at.top, at.bottom)]
    columns = [view.left + round(x * across) for x in (at.left, at.right)]
    window = Window(rows[0], max(rows[1], rows[0] + 1), columns[0], max(columns[1], columns[0] + 1))
    mask = region.mask
    if window.shape != mask.shape:
        wide = cv2.resize(mask.astype(np.uint8) * 255, window.shape[::-1], interpolation=cv2.INTER_LINEAR)
        mask = wide > 127
    return replace(region, top=window.top, left=window.left, mask=mask)


def box_overlaps(boxes: np.ndarray, box: np.ndarray) -> np.ndarray:
    """IoU (n,) of boxes (n, 4) XYXY with one box (4,), right and bottom exclusive."""
    low, high = np.maximum(boxes[:, :2], box[:2]), np.minimum(boxes[:, 2:], box[2:])
    common = (high - low).clip(0).prod(axis=1)
    sizes = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) + (box[2:] - box[:2]).prod()
    shares: np.ndarray = common / np.maximum(sizes - common, 1e-9)
    return shares


def overlap(one: Region, other: Region) -> float:
    """IoU of two masks."""
    a, b = one.window, other.window
    common = Window(max(a.top, b.top), min(a.bottom, b.bottom), max(a.left, b.left), min(a.right, b.right))
    if common.top >= common.bottom or common.left >= common.right:
        return 0.0
    parts = [
        region.mask[
            common.top - region.window.top : common.bottom - region.window.top,
            common.left - region.window.left : common.right - region.window.left,
        ]
        for region in (one, other)
    ]
    both = int(np.count_nonzero(parts[0] & parts[1]))
    return both / (one.area + other.area - both)


def suppress(regions: Sequence[Region], *, box_iou: float, mask_iou: float) -> list[Region]:
    """Non-maximum suppression: of regions that overlap more than is allowed the one of the higher rank stays.

    Args:
        regions: Of equal rank the earlier one counts as better.
        box_iou: Boxes with a higher IoU are of one object.
        mask_iou: So are masks, whatever their boxes.

    Returns:
        What stays, the highest rank first.
    """
    kept: list[Region] = []
    boxes = np.zeros((0, 4))
    for region in sorted(regions, key=lambda region: -region.rank):
        box = np.array(region.box, float)
        shares = box_overlaps(boxes, box)
        # Masks can overlap more than their boxes do only where the boxes overlap at all.
        near = np.flatnonzero(shares > 0)
        if (shares > box_iou).any() or any(overlap(region, kept[i]) > mask_iou for i in near):
            continue
        kept.append(region)
        boxes = np.concatenate([boxes, box[None]])
    return kept


def without_specks(region: Region, least: int) -> Region | None:
    """A region without islands and holes of fewer than ``least`` pixels; None where nothing stays."""
    mask = _filled(_larger(region.mask, least), least)
    if np.array_equal(mask, region.mask):
        return region
    made = make_region(mask, region.window, region.score, region.stability, region.point)
    return None if made is None else replace(made, rank=region.rank)


def _larger(mask: np.ndarray, least: int) -> np.ndarray:
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    keep = stats[:, cv2.CC_STAT_AREA] >= least
    keep[0] = False
    larger: np.ndarray = keep[labels]
    return larger


def _filled(mask: np.ndarray, least: int) -> np.ndarray:
    outside = np.pad(~mask, 1, constant_values=True).astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(outside, connectivity=4)
    small = stats[:, cv2.CC_STAT_AREA] < least
    small[labels[0, 0]] = False  # around the region; a bay of it is no hole
    filled: np.ndarray = mask | small[labels][1:-1, 1:-1]
    return filled
