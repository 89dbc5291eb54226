"""From IS-Net's answer in its square to an alpha map and a mask at the picture's size."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
import torch
import torch.nn.functional as F

Cut = Literal["half", "otsu"]


def to_picture(probability: torch.Tensor, height: int, width: int) -> np.ndarray:
    """Brings probabilities (1, 1, s, s) of a square to (H, W) float32 numpy, bilinear."""
    enlarged = F.interpolate(probability.float(), (height, width), mode="bilinear", align_corners=False)
    return enlarged[0, 0].cpu().numpy()


def stretch(alpha: np.ndarray) -> np.ndarray:
    """Stretches (H, W) in place so that the least value is 0 and the greatest 1, as the release does before it scores.

    A constant map stays as it is; the release divides by zero there.
    """
    low, high = float(alpha.min()), float(alpha.max())
    if high > low:
        alpha -= low
        alpha /= high - low
    return alpha


def to_bytes(alpha: np.ndarray) -> np.ndarray:
    """Alpha (H, W) in [0, 1] as the grey values (H, W) uint8 that the metrics read; truncated, as the release does."""
    return (alpha * 255).astype(np.uint8)


def threshold(alpha: np.ndarray, cut: Cut) -> float:
    """The alpha above which a pixel is object: 0.5, or Otsu's between the two groups of grey values."""
    if cut == "half":
        return 0.5
    level, _ = cv2.threshold(to_bytes(alpha), 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    return (float(level) + 1) / 255 - 1e-6
