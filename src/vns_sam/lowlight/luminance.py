"""How bright a picture is, on the scale of its 8 bit values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

PAPER_DARKNESS = 11.13
"""Mean luminance of the paper's synthetic pictures (VNS-SAM, Table XVI)."""


@dataclass(frozen=True)
class Luminance:
    """Luminance (ITU-R BT.601, of sRGB values) of one picture or of many.

    Attributes:
        mean: In [0, 255].
        sd: Standard deviation over pixels.
    """

    mean: float
    sd: float


def measure(image: np.ndarray) -> Luminance:
    """Luminance of a picture (H, W, 3) uint8 RGB."""
    mean, sd = cv2.meanStdDev(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))
    return Luminance(float(mean[0, 0]), float(sd[0, 0]))


def pooled(pictures: Iterable[Luminance]) -> Luminance:
    """Luminance of all pixels of one picture or more, each picture counting alike whatever its size."""
    values = np.array([(picture.mean, picture.sd) for picture in pictures])
    mean = values[:, 0].mean()
    variance = (values[:, 1] ** 2 + values[:, 0] ** 2).mean() - mean**2
    return Luminance(float(mean), float(np.sqrt(max(variance, 0.0))))
