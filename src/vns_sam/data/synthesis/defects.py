"""Synthetic surface defects: a patch, a scratch or a crack drawn into any picture, with its exact mask."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from vns_sam.data.synthesis.scenes import Scene, grain

Draw = Callable[[int, int, np.random.Generator], np.ndarray]
"""Draws a shape (H, W) bool, given height and width."""

SMALLEST = 40
"""Pixels that a defect has at least."""


def scar(image: np.ndarray, rng: np.random.Generator) -> Scene | None:
    """Makes a surface of a part of a picture and draws one defect on it.

    Its inside is a darker or lighter, smoother or rougher rendering of what it covers, as dents, stains, scale,
    scratches and cracks are; its rim is sharp or soft.

    Args:
        image: (H, W, 3) uint8 RGB, at least 64 pixels a side.
        rng: Source of all choices.

    Returns:
        A scene of the picture's size with the defect as its only object, or None where it would hardly show.
    """
    surface = _surface(image, rng)
    kinds: tuple[Draw, ...] = (_blob, _scratches, _crack)
    shape = kinds[int(rng.choice(3, p=(0.5, 0.2, 0.3)))](image.shape[0], image.shape[1], rng)
    if shape.sum() < SMALLEST or shape.mean() > 0.6:
        return None
    alpha = cv2.GaussianBlur(shape.astype(np.float32), (0, 0), float(rng.uniform(0.4, 1.6)))[..., None]
    mixed = surface * (1 - alpha) + _damaged(surface, shape, rng) * alpha
    if np.abs(mixed - surface).mean(axis=2)[shape].mean() < 5:
        return None
    return Scene(np.clip(mixed, 0, 255).astype(np.uint8), shape[None])


def crack(image: np.ndarray, rng: np.random.Generator) -> Scene | None:
    """Makes rough ground of a part of a picture, as roads and walls are, and runs fine cracks across it.

    Args:
        image: (H, W, 3) uint8 RGB, at least 64 pixels a side.
        rng: Source of all choices.

    Returns:
        A scene of the picture's size with the cracks, two to five pixels wide, as its only object, or None where they
        would hardly show.
    """
    height, width = image.shape[:2]
    surface = _surface(image, rng)
    middle = surface.mean(axis=(0, 1))
    noise = rng.standard_normal((height, width), dtype=np.float32)
    rough = grain(noise, float(rng.uniform(0.4, 1.5)))
    ground = middle + (surface - middle) * rng.uniform(0.02, 0.5)
    ground += (rough * rng.uniform(2, 14))[..., None]
    shape = np.zeros((height, width), bool)
    for _ in range(int(rng.integers(1, 4))):
        shape |= _crack(height, width, rng, pieces=(30, 90), bend=0.4)
    if shape.sum() < SMALLEST:
        return None
    alpha = cv2.GaussianBlur(shape.astype(np.float32), (0, 0), float(rng.uniform(0.4, 1.0)))[..., None]
    depth = rng.uniform(0.25, 0.9) * cv2.GaussianBlur(rng.random((height, width), dtype=np.float32), (0, 0), 6)
    towards = np.float32(rng.choice([rng.uniform(0, 50), 255], p=(0.85, 0.15)))
    mixed = ground + (towards - ground) * alpha * (depth + 0.3)[..., None]
    if np.abs(mixed - ground).mean(axis=2)[shape].mean() < 8:
        return None
    return Scene(np.clip(mixed, 0, 255).astype(np.uint8), shape[None])


def _surface(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A fifth to all of the picture, enlarged to its size and half of the time grey: (H, W, 3) float32."""
    height, width = image.shape[:2]
    share = np.exp(rng.uniform(np.log(0.2), 0))
    h, w = int(height * share), int(width * share)
    y, x = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
    part = image[y : y + h, x : x + w]
    if rng.random() < 0.5:
        part = np.repeat(cv2.cvtColor(part, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
    return cv2.resize(part, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.float32)


def _damaged(image: np.ndarray, shape: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The picture (H, W, 3) float32 as it looks inside the defect."""
    height, width = shape.shape
    inside: np.ndarray = image
    kind = rng.random()
    if kind < 0.35:
        inside = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(1.5, 6)))
    elif kind < 0.6:
        noise = rng.standard_normal((height, width), dtype=np.float32)
        rough = grain(noise, float(rng.uniform(0.5, 2.5)))
        inside = image + (rough * rng.uniform(5, 25))[..., None]
    elif kind < 0.8:
        inside = np.roll(image, (int(rng.integers(height)), int(rng.integers(width))), (0, 1))
    towards = np.float32(rng.choice([rng.uniform(0, 60), rng.uniform(150, 255)], p=(0.65, 0.35)))
    share = np.float32(rng.uniform(0.08, 0.65))
    return np.asarray(inside * (1 - share) + towards * share, dtype=np.float32)


def _blob(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """A ragged patch: an ellipse whose rim follows smooth noise; now and then in several pieces."""
    side = max(height, width)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    angle = rng.uniform(0, np.pi)
    dx, dy = x - width * rng.uniform(0.15, 0.85), y - height * rng.uniform(0.15, 0.85)
    long = side * np.exp(rng.uniform(np.log(0.03), np.log(0.35)))
    short = long * rng.uniform(0.25, 1)
    across = (dx * np.cos(angle) + dy * np.sin(angle)) / long
    along = (dy * np.cos(angle) - dx * np.sin(angle)) / short
    noise = cv2.GaussianBlur(rng.standard_normal((height, width), dtype=np.float32), (0, 0), max(1.5, float(short) / 5))
    ragged = rng.uniform(0.1, 0.8) * noise / noise.std()
    return np.asarray(across**2 + along**2 + ragged < 1) & (across**2 + along**2 < 4)


def _scratches(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """One to four nearly parallel straight strokes."""
    canvas = np.zeros((height, width), np.uint8)
    side = max(height, width)
    angle = rng.uniform(0, np.pi)
    centre = rng.uniform(0.2, 0.8, 2) * (width, height)
    for _ in range(int(rng.integers(1, 5))):
        tilt = angle + rng.normal(0, 0.08)
        half = np.array([np.cos(tilt), np.sin(tilt)]) * side * rng.uniform(0.05, 0.35)
        middle = centre + rng.normal(0, 0.06, 2) * side
        start, end = (middle - half).astype(int), (middle + half).astype(int)
        cv2.line(canvas, start.tolist(), end.tolist(), 1, int(rng.integers(2, max(3, side // 50) + 1)))
    return canvas.astype(bool)


def _crack(
    height: int, width: int, rng: np.random.Generator, pieces: tuple[int, int] = (8, 40), bend: float = 0.35
) -> np.ndarray:
    """A wandering line of some pieces, each a 40th of the longer side, that turns by ``bend`` from one to the next;
    sometimes with branches.
    """
    canvas = np.zeros((height, width), np.uint8)
    side = max(height, width)
    step = side / 40
    starts = [(rng.uniform(0.1, 0.9, 2) * (width, height), rng.uniform(0, 2 * np.pi), int(rng.integers(*pieces)))]
    thickness = int(rng.integers(2, max(3, side // 90) + 1))
    while starts:
        point, angle, length = starts.pop()
        for left in range(length, 0, -1):
            angle += rng.normal(0, bend)
            following = point + step * np.array([np.cos(angle), np.sin(angle)])
            cv2.line(canvas, point.astype(int).tolist(), following.astype(int).tolist(), 1, thickness)
            point = following
            if rng.random() < 0.04 and left > 4:
                starts.append((point, angle + rng.choice([-1, 1]) * rng.uniform(0.5, 1.2), left // 2))
    return canvas.astype(bool)
