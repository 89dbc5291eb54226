"""Small sets of textured pictures with one object each, for the tests of the dataset doctor."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

HEIGHT, WIDTH = 96, 128


def picture(seed: int, height: int = HEIGHT, width: int = WIDTH) -> tuple[np.ndarray, np.ndarray]:
    """A picture (H, W, 3) uint8 of large blobs with an ellipse of another colour, and its mask (H, W) bool."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(40, 160, (6, 8, 3), dtype=np.uint8)
    image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    mask = np.zeros((height, width), np.uint8)
    centre = int(rng.uniform(0.3, 0.4) * width), int(rng.uniform(0.35, 0.45) * height)
    cv2.ellipse(mask, centre, (width // 5, height // 7), 25, 0, 360, 1, -1)
    image[mask > 0] = 255 - image[mask > 0] // 2
    return image, mask > 0


def write_set(root: Path, count: int, seed: int = 0) -> Path:
    """Writes a sound set: ``images/<i>.png`` and ``masks/<i>.png``, i from 0."""
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    for i in range(count):
        image, mask = picture(seed + i)
        Image.fromarray(image).save(root / "images" / f"{i}.png")
        Image.fromarray(mask.astype(np.uint8) * 255).save(root / "masks" / f"{i}.png")
    return root
