"""Which parts of a picture IS-Net looks at, and how the answers become one map."""

from __future__ import annotations

import math

import cv2
import numpy as np

from vns_sam.images.windows import Window, grid, whole

UNCERTAIN = (0.05, 0.95)
"""Alpha between these is uncertain."""


def surroundings(box: np.ndarray, margin: float, height: int, width: int) -> Window:
    """A box X0 Y0 X1 Y1 with ``margin`` times its longer side around it, cut at the rim of the picture; one pixel of it
    where the box lies beside it.
    """
    x0, y0, x1, y1 = (float(v) for v in box)
    room = margin * max(x1 - x0, y1 - y0, 16.0)
    top, left = (min(max(0, math.floor(low - room)), end - 1) for low, end in ((y0, height), (x0, width)))
    bottom, right = (min(end, math.ceil(high + room)) for high, end in ((y1, height), (x1, width)))
    return Window(top, max(bottom, top + 1), left, max(right, left + 1))


def uncertainty(alpha: np.ndarray, found: np.ndarray, coarse: np.ndarray, reach: int) -> np.ndarray:
    """Where a closer look may change the first one.

    Args:
        alpha: (H, W) float32, the first look.
        found: (H, W) bool, the mask that alpha was cut to.
        coarse: (H, W) bool, the mask that it refined.
        reach: Pixels.

    Returns:
        (H, W) float32: 1 within half of ``reach`` of the mask's rim, of alpha that is neither high nor low, and of
        pixels where the first look contradicts the coarse mask, falling to 0 at ``reach``.
    """
    kernel = np.ones((3, 3), np.uint8)
    rim = cv2.dilate(found.astype(np.uint8), kernel) != cv2.erode(found.astype(np.uint8), kernel)
    seeds = rim | ((alpha > UNCERTAIN[0]) & (alpha < UNCERTAIN[1])) | (found != coarse)
    if not seeds.any():
        return np.zeros(alpha.shape, np.float32)
    distance: np.ndarray = cv2.distanceTransform((~seeds).astype(np.uint8), cv2.DIST_L2, 3)
    return np.clip(2 - 2 * distance / reach, 0, 1).astype(np.float32)


def boundary_windows(doubt: np.ndarray, side: int, limit: int) -> list[Window]:
    """Overlapping square windows over what is uncertain.

    Args:
        doubt: (H, W), above 0 where a closer look may help.
        side: Of the windows in pixels, smaller at a picture that is smaller; neighbours share half of it.
        limit: Windows at most; those with most doubt are taken.
    """
    found = [(float(doubt[window.index].sum()), window) for window in grid(whole(*doubt.shape), side, 0.5)]
    ranked = sorted((pair for pair in found if pair[0] > 0), key=lambda pair: -pair[0])
    return [window for _, window in ranked[:limit]]


class Fusion:
    """Weighted mean of overlapping answers; a window counts less towards its rim.

    Args:
        alpha: (H, W) float32, the first look; it is changed by :meth:`finish`.
        doubt: (H, W) in [0, 1], how much of a closer look to take.
    """

    def __init__(self, alpha: np.ndarray, doubt: np.ndarray) -> None:
        self.alpha, self.doubt = alpha, doubt
        self._sum, self._weight = np.zeros_like(alpha), np.zeros_like(alpha)

    def add(self, window: Window, closer: np.ndarray) -> None:
        """Takes in the answer (h, w) in [0, 1] of one window."""
        height, width = window.shape
        weight = np.outer(_bell(height), _bell(width))
        self._sum[window.index] += closer * weight
        self._weight[window.index] += weight

    def finish(self) -> np.ndarray:
        """The map after all windows: the closer look where it was taken and the first one was in doubt."""
        seen = self._weight > 0
        share = self.doubt[seen] * np.minimum(1, self._weight[seen] / 0.25)
        self.alpha[seen] += share * (self._sum[seen] / self._weight[seen] - self.alpha[seen])
        return self.alpha


def _bell(length: int) -> np.ndarray:
    """A Hann window that does not reach 0, (length,) float32."""
    return (0.001 + np.sin(np.pi * (np.arange(length) + 0.5) / length) ** 2).astype(np.float32)
