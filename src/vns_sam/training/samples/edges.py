"""Edge targets for VNS-SAM's edge branch, drawn around masks."""

from __future__ import annotations

import cv2
import numpy as np

DILATION = 5


def contour(mask: np.ndarray, *, thickness: int = 5) -> np.ndarray:
    """Draws the outer contour of every connected part of a mask; holes have none.

    Args:
        mask: (H, W); the object is wherever a value is not zero.
        thickness: Of the line in pixels. The authors draw 5, and 1 for low-light sets.

    Returns:
        (H, W) bool.
    """
    filled = (np.asarray(mask) != 0).astype(np.uint8)
    lines, _ = cv2.findContours(filled, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    canvas = np.zeros(filled.shape, np.uint8)
    cv2.drawContours(canvas, lines, -1, 1, thickness)
    return canvas.astype(bool)


def edge_target(mask: np.ndarray, *, thickness: int = 5) -> np.ndarray:
    """Draws what the edge branch learns: the contour at original resolution, widened by :func:`widen`.

    Along a straight side the band is 11 pixels wide for thickness 5 (OpenCV draws that line 7 pixels wide)
    and 5 for thickness 1. Arguments and result are those of :func:`contour`.
    """
    return widen(contour(mask, thickness=thickness))


def widen(edge: np.ndarray) -> np.ndarray:
    """Widens an edge map (H, W) bool, for instance one that comes with a data set, by a 5 x 5 square."""
    return cv2.dilate(edge.astype(np.uint8), np.ones((DILATION, DILATION), np.uint8)).astype(bool)
