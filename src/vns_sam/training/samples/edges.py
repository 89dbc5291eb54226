"""Edge targets for VNS-SAM's edge branch, drawn around masks."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from vns_sam.data.pairs import Pair, read_mask
from vns_sam.errors import DataError

DILATION = 5
EDGE_FOLDERS = ("edges", "Edge")
"""Folders of a set that may hold edge maps of its own."""


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


def own_edge(root: Path, pair: Pair, mask: np.ndarray) -> np.ndarray:
    """Reads the edge map that comes with a set, widened by :func:`widen`.

    Args:
        root: Folder of the set.
        pair: The picture.
        mask: (H, W), its mask.

    Raises:
        DataError: There is none, or it has another size.
    """
    places = [root / folder / f"{pair.stem}.png" for folder in EDGE_FOLDERS]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise DataError(f"expected the edge map {places[0]}, found none", hint="data.edges: 5 draws it from the mask")
    edge = read_mask(path)
    if edge.shape != mask.shape:
        raise DataError(f"{path}: expected the size of the mask, {mask.shape[::-1]}, found {edge.shape[::-1]}")
    return widen(edge)


def widen(edge: np.ndarray) -> np.ndarray:
    """Widens an edge map (H, W) bool, for instance one that comes with a data set, by a 5 x 5 square."""
    return cv2.dilate(edge.astype(np.uint8), np.ones((DILATION, DILATION), np.uint8)).astype(bool)
