"""A quick night for training samples, of any size and part of a picture; sets are made dark by ``lowlight.camera``."""

from __future__ import annotations

import numpy as np


def sketch_night(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A low-light rendering: linear light, an exposure of 1.5 to 12 %, shot and read noise, back to 8 bit sRGB.

    Other than ``CameraDarkener`` it knows no lens, no Bayer pattern and no JPEG: what is left takes a millisecond.

    Args:
        image: (H, W, 3) uint8 RGB.
        rng: Source of all choices.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    linear = (image.astype(np.float32) / 255) ** 2.2
    exposed = linear * np.float32(np.exp(rng.uniform(np.log(0.015), np.log(0.12))))
    exposed *= rng.uniform(0.8, 1.25, 3).astype(np.float32)
    variance = np.float32(rng.uniform(1e-4, 6e-4)) * exposed + np.float32(rng.uniform(2e-4, 2e-3)) ** 2
    noisy = exposed + rng.standard_normal(exposed.shape, dtype=np.float32) * np.sqrt(variance)
    return (np.clip(noisy, 0, 1) ** (1 / 2.2) * 255 + 0.5).astype(np.uint8)
