"""Intersection over union of masks and of their boundaries. Masks are (H, W) bool arrays of one size."""

from __future__ import annotations

import cv2
import numpy as np

from vns_sam.errors import DataError


def iou(pred: np.ndarray, gt: np.ndarray) -> float:
    """Intersection over union in [0, 1].

    Two empty masks agree: 1. If only one is empty the score is 0. (The authors' code gives 0 for any empty
    truth.)

    Raises:
        DataError: The masks differ in size or are not bool.
    """
    _check(pred, gt)
    union = np.count_nonzero(pred | gt)
    return 1.0 if union == 0 else np.count_nonzero(pred & gt) / union


def boundary_iou(pred: np.ndarray, gt: np.ndarray, ratio: float = 0.02) -> float:
    """Intersection over union of the inner boundaries (Cheng et al. 2021), in [0, 1].

    Args:
        pred: Predicted mask.
        gt: True mask.
        ratio: Width of the boundary relative to the picture's diagonal; 1 pixel at least.

    Returns:
        The score; empty masks count as in :func:`iou`. (The authors' code gives NaN for two empty masks.)

    Raises:
        DataError: The masks differ in size or are not bool.
    """
    _check(pred, gt)
    return iou(boundary(pred, ratio), boundary(gt, ratio))


def boundary(mask: np.ndarray, ratio: float = 0.02) -> np.ndarray:
    """Pixels (H, W) bool of a mask that are within the boundary's width of its rim or of the picture's."""
    width = max(1, round(ratio * float(np.hypot(*mask.shape))))
    inner: np.ndarray = cv2.erode(
        mask.astype(np.uint8),
        np.ones((3, 3), np.uint8),
        iterations=width,
        borderType=cv2.BORDER_CONSTANT,
        borderValue=0,
    )
    rim: np.ndarray = mask & (inner == 0)
    return rim


def _check(pred: np.ndarray, gt: np.ndarray) -> None:
    if pred.shape != gt.shape:
        raise DataError(
            f"masks to compare must have one size, got {pred.shape} and {gt.shape}",
            hint="bring the prediction to the size of the truth",
        )
    if pred.dtype != bool or gt.dtype != bool:
        raise DataError(f"masks to compare must be bool, got {pred.dtype} and {gt.dtype}", hint="threshold them first")
