"""Human correction effort: how many clicks it takes to mend a mask (Qin et al., ECCV 2022, "Highly Accurate
Dichotomous Image Segmentation").

The published protocol: ``relax`` 5 and ``epsilon`` 2, both masks thresholded at > 128 without stretching. The polyline
simplification is that of OpenCV up to 4.12, which all published numbers come from, whatever OpenCV is installed.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from vns_sam.errors import DataError
from vns_sam.images.write import atomic_path
from vns_sam.metrics.thinning import skeleton

logger = logging.getLogger(__name__)

RELAX = 5
"""Errors nearer to the object's edge than this, in pixels, are forgiven; the gamma of the paper."""
EPSILON = 2.0
"""Tolerance of the corrected outlines, pixels."""
THRESHOLD = 128
"""Found is where a map of 8 bits is above this."""

_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


@dataclass(frozen=True)
class Effort:
    """What there is to click.

    Attributes:
        extra_points: Corners of the lines between the object and what was found too much.
        extra_regions: Regions found too much that do not touch the object: one click removes each.
        lacking_points: Corners of the lines between the background and what is missing.
        lacking_regions: Missing regions that do not touch the background: one click fills each.
    """

    extra_points: int
    extra_regions: int
    lacking_points: int
    lacking_regions: int

    @property
    def total(self) -> int:
        """The measure."""
        return self.extra_points + self.extra_regions + self.lacking_points + self.lacking_regions


def hce(probability: np.ndarray, truth: np.ndarray, skeletons: Path | None = None) -> float:
    """Human correction effort of a gray map, by the published protocol; lower is better.

    Args:
        probability: (H, W) uint8; the object is where it is above 128.
        truth: (H, W) bool.
        skeletons: See :func:`truth_skeleton`.

    Raises:
        DataError: Sizes or types differ from the above, or the folder cannot be written.
    """
    if probability.dtype != np.uint8:
        raise DataError(f"expected a map of uint8, found {probability.dtype}")
    _check(probability, truth)
    return float(correction_effort(probability > THRESHOLD, truth, skeletons=skeletons).total)


def correction_effort(
    found: np.ndarray,
    truth: np.ndarray,
    *,
    relax: int = RELAX,
    epsilon: float = EPSILON,
    skeletons: Path | None = None,
) -> Effort:
    """Counts the clicks that correct ``found``.

    Errors in parts of the masks' union that erosion removes are forgiven, but never a missed part of the truth's
    skeleton. What is left costs one click for each region by itself, or one for each corner of its new outline.

    Args:
        found: (H, W) bool.
        truth: (H, W) bool.
        relax: Pixels that are forgiven along edges, 0 or more.
        epsilon: Tolerance of outlines, pixels.
        skeletons: See :func:`truth_skeleton`.

    Raises:
        DataError: The masks differ in size or are not bool, or the folder cannot be written.
    """
    _check(found, truth)
    if found.dtype != bool:
        raise DataError(f"expected a mask of bool, found {found.dtype}")
    union = found | truth
    window = _window(union)
    lines = truth_skeleton(truth, skeletons)[window] if (truth & ~found).any() else None
    found, truth, union = (mask[window].view(np.uint8) for mask in (found, truth, union))
    core = cv2.erode(union, _CROSS, iterations=relax) if relax else union
    extra = _serious(found & ~truth, core, truth, relax)
    lacking = _serious(truth & ~found, core, found, relax)
    if lines is not None:
        lacking |= lines.view(np.uint8) & ~found
    right = found & truth
    extra_points, extra_regions = _clicks(extra, right | lacking, epsilon)
    lacking_points, lacking_regions = _clicks(lacking, 1 - (right | extra | lacking), epsilon)
    return Effort(extra_points, extra_regions, lacking_points, lacking_regions)


def truth_skeleton(truth: np.ndarray, folder: Path | None = None) -> np.ndarray:
    """The skeleton of a true mask, kept in a folder under a digest of the mask.

    Args:
        truth: (H, W) bool.
        folder: Where skeletons are kept; None computes it anew. Several processes may share it.

    Returns:
        (H, W) bool.

    Raises:
        DataError: The folder cannot be written.
    """
    if folder is None:
        return _thin(truth)
    digest = hashlib.blake2b(f"{truth.shape}".encode(), digest_size=16)
    digest.update(np.packbits(truth).tobytes())
    path = folder / f"{digest.hexdigest()}.npy"
    lines = np.zeros(truth.size, bool)
    try:
        lines[np.load(path, allow_pickle=False)] = True
        return lines.reshape(truth.shape)
    except FileNotFoundError:
        pass
    except (OSError, ValueError, IndexError, EOFError) as error:
        logger.warning("%s holds no skeleton and is written again: %s", path, error)
    lines = _thin(truth)
    with atomic_path(path) as part, part.open("wb") as file:
        np.save(file, np.flatnonzero(lines).astype(np.int32))
    return lines


def _thin(truth: np.ndarray) -> np.ndarray:
    window = _window(truth)
    lines = np.zeros_like(truth)
    lines[window] = skeleton(truth[window])
    return lines


def _window(mask: np.ndarray) -> tuple[slice, slice]:
    """The part of the picture that holds the mask and a rim of one pixel around it; what is beyond decides nothing."""
    slices = []
    for axis in (1, 0):
        inside = np.flatnonzero(mask.any(axis=axis))
        first, last = (inside[0], inside[-1]) if inside.size else (0, 0)
        slices.append(slice(max(0, int(first) - 1), int(last) + 2))
    return slices[0], slices[1]


def _serious(wrong: np.ndarray, core: np.ndarray, barrier: np.ndarray, relax: int) -> np.ndarray:
    """Wrong pixels that are within ``relax`` steps of the core, on ways that do not cross the barrier."""
    serious = wrong & core
    for _ in range(relax):
        serious = cv2.dilate(serious, _CROSS) & ~barrier
    return wrong & serious


def _clicks(regions: np.ndarray, rest: np.ndarray, epsilon: float) -> tuple[int, int]:
    """Corners of the borders between regions and the rest, and how many regions have no such border.

    Args:
        regions: (H, W) uint8 of 0 and 1, what is to be corrected.
        rest: (H, W) uint8 of 0 and 1; a pixel of an outline counts where this is within one step.
        epsilon: Tolerance of outlines, pixels.
    """
    contours, _ = cv2.findContours(regions, cv2.RETR_TREE, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return 0, 0
    count, labels = cv2.connectedComponents(regions, connectivity=8, ltype=cv2.CV_32S)
    points = np.concatenate(contours)[:, 0].astype(np.int64)
    contour = np.repeat(np.arange(len(contours)), [len(c) for c in contours])
    at = points[:, 1], points[:, 0]
    borders = np.flatnonzero(cv2.dilate(rest, _CROSS)[at])
    _, first = np.unique(np.ravel_multi_index(at, regions.shape)[borders], return_index=True)
    kept = borders[np.sort(first)]  # each pixel once, for the contour that comes first
    touched = np.unique(labels[at][kept]).size
    corners = sum(_corners(line, epsilon) for line in _lines(points, contour, kept))
    return corners, count - 1 - touched


def _lines(points: np.ndarray, contour: np.ndarray, kept: np.ndarray) -> Iterator[np.ndarray]:
    """Runs of kept pixels as (N, 2) XY; the first and the last run of a contour are one where they touch.

    The joined line is the last run and then the first one reversed, as the protocol has it.
    """
    breaks = np.flatnonzero((np.diff(kept) != 1) | (np.diff(contour[kept]) != 0)) + 1
    runs = np.split(points[kept], breaks) if kept.size else []
    owners = contour[kept[np.concatenate([[0], breaks])]] if kept.size else kept
    bounds = np.flatnonzero(np.diff(owners)) + 1
    for own in np.split(np.arange(len(runs)), bounds):
        lines = [runs[i] for i in own]
        if len(lines) > 1 and np.abs(lines[0][0] - lines[-1][-1]).max() == 1:
            lines[-1] = np.concatenate([lines[-1], lines[0][::-1]])
            del lines[0]
        yield from lines


def _corners(line: np.ndarray, epsilon: float) -> int:
    """Number of corners of an open line (N, 2) after simplification as OpenCV up to 4.12 does it.

    Ramer, Douglas and Peucker with the distance to the infinite line through the ends of a piece; then corners that
    lie almost on the line between their neighbours are left out, never two in a row.
    """
    if len(line) < 3:
        return len(line)
    corners = []
    stack = [(0, len(line) - 1)]
    while stack:
        start, end = stack.pop()
        if end - start > 1:
            (x, y), (dx, dy) = line[start], line[end] - line[start]
            inner = line[start + 1 : end]
            away = np.abs((inner[:, 1] - y) * dx - (inner[:, 0] - x) * dy)
            farthest = int(away.argmax())
            if float(away[farthest]) ** 2 > epsilon**2 * float(dx * dx + dy * dy):
                middle = start + 1 + farthest
                stack += [(middle, end), (start, middle)]
                continue
        corners.append(start)
    corners.append(len(line) - 1)
    return len(corners) - _almost_straight(line[corners].tolist(), epsilon)


def _almost_straight(corners: Sequence[Sequence[int]], epsilon: float) -> int:
    """How many corners of an open line are left out since they bend it hardly."""
    left_out, i, before = 0, 1, corners[0]
    while i < len(corners) - 1:
        (x0, y0), (x, y), (x1, y1) = before, corners[i], corners[i + 1]
        dx, dy = x1 - x0, y1 - y0
        away = (x - x0) * dy - (y - y0) * dx
        onward = (x - x0) * (x1 - x) + (y - y0) * (y1 - y) >= 0
        if dx and dy and onward and away**2 <= 0.5 * epsilon**2 * (dx * dx + dy * dy):
            left_out, i, before = left_out + 1, i + 2, corners[i + 1]
        else:
            i, before = i + 1, corners[i]
    return left_out


def _check(found: np.ndarray, truth: np.ndarray) -> None:
    if found.shape != truth.shape or truth.ndim != 2:
        raise DataError(
            f"expected two masks (H, W) of one size, found {found.shape} and {truth.shape}",
            hint="bring the prediction to the size of the truth",
        )
    if truth.dtype != bool:
        raise DataError(f"expected a true mask of bool, found {truth.dtype}")
