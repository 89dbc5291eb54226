"""Whether a refined mask is believed, or rather the coarse one: told by the picture, without any truth.

A mask that became better lies on stronger edges of the picture than before; one that was hollowed out, or follows a
shadow, on weaker ones. The limits were chosen on train splits and on drawn and painted scenes, see
docs/experiments/025-edges-as-judge.md and, for the present ones, docs/experiments/035-one-run-of-dis-sam-tiny.md.
"""

from __future__ import annotations

import cv2
import numpy as np

from vns_sam.dis.channels import reduced

CONFIRMED = 0.9
"""Least 90th percentile of alpha inside the coarse mask: below it IS-Net denies most of the object."""
EDGES = 1.0
"""Least strength of the edges along the refined mask, as a multiple of that along the coarse one."""
THINNER = 0.4
"""A refined mask whose mean thickness is below this share of the coarse one's drew the parts of a thin structure,"""
EDGES_OF_THIN = 0.9
"""which have little of their own colour: so strong must their edges be,"""
UNSURE = 0.7
"""and so small what IS-Net is unsure of, as a share of the coarse mask: where it finds no parts in a broad object its
alpha is grey all over, and what is cut out of that is not the object."""
GREY = (0.1, 0.9)
"""Alpha between these is unsure."""
LONGEST_SIDE = 1024
"""In pixels; a larger part of a picture is judged reduced to it."""


def is_believed(image: np.ndarray, coarse: np.ndarray, alpha: np.ndarray, found: np.ndarray) -> bool:
    """Judges one refined mask.

    Args:
        image: (H, W, 3) uint8 RGB, the part of a picture that IS-Net saw.
        coarse: (H, W) bool, the mask before.
        alpha: (H, W) float32 in [0, 1], IS-Net's answer.
        found: (H, W) bool, the mask that is made of it.

    Returns:
        Whether the refined mask is taken. True where there is no coarse mask that could be kept.
    """
    if not coarse.any():
        return True
    if not found.any():
        return False
    image = reduced(image, LONGEST_SIDE)
    if image.shape[:2] != coarse.shape:
        coarse, found = (_covered(mask, image.shape[:2]) for mask in (coarse, found))
        alpha = cv2.resize(alpha, image.shape[1::-1], interpolation=cv2.INTER_AREA)
    edges = _edges(image)
    before = _along(edges, coarse)
    gain = _along(edges, found) / before if before else np.inf
    if gain >= EDGES and np.percentile(alpha[coarse], 90) >= CONFIRMED:
        return True
    unsure = ((alpha > GREY[0]) & (alpha < GREY[1])).sum() / coarse.sum()
    return bool(gain >= EDGES_OF_THIN and unsure <= UNSURE and _thickness(found) < THINNER * _thickness(coarse))


def _covered(mask: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A mask in another size; what covers any of a pixel stays, so that nothing thin is lost."""
    return cv2.resize(mask.astype(np.float32), shape[::-1], interpolation=cv2.INTER_AREA) > 0


def _edges(image: np.ndarray) -> np.ndarray:
    """How strongly Lab colours change at each pixel, (H, W) float32: the gradients' lengths, summed over channels."""
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB).astype(np.float32)
    rows, columns = cv2.Sobel(lab, cv2.CV_32F, 0, 1), cv2.Sobel(lab, cv2.CV_32F, 1, 0)
    return np.hypot(rows, columns).sum(axis=2)


def _along(edges: np.ndarray, mask: np.ndarray) -> float:
    """Mean of the edges along a mask's outline, a pixel to both sides of it; 0 where it has none."""
    outline = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    return float(edges[outline].mean()) if outline.any() else 0.0


def _thickness(mask: np.ndarray) -> float:
    """Mean over a mask's pixels of their distance to what is outside, in pixels; it ends where the picture does."""
    padded = np.pad(mask, 1)
    return float(cv2.distanceTransform(padded.astype(np.uint8), cv2.DIST_L2, 3)[padded].mean())
