"""The bundled demo picture, painted by program: a moth at rest on leaf litter, in the litter's own colours.

``python -m vns_sam.data.synthesis.demo_scene FOLDER`` paints it again, the same on every run.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
from scipy import ndimage

from vns_sam.images.write import write_image, write_json, write_mask

HEIGHT, WIDTH = 420, 560
SEED = 11
_SCALE = 2  # painted larger, then reduced: smooth edges
_BROWNS = np.array([(118, 88, 60), (146, 112, 76), (92, 70, 50), (164, 132, 94), (128, 104, 84), (104, 84, 48)])
# fmt: off
# Forewing and hindwing of one side, from the head down; x to the side, y down, half a span = 1.
_WING = np.array([
    (0.00, -0.42), (0.10, -0.46), (0.34, -0.50), (0.66, -0.54), (0.93, -0.52), (1.00, -0.44), (0.96, -0.28),
    (0.88, -0.08), (0.80, 0.06), (0.66, 0.14), (0.70, 0.30), (0.62, 0.47), (0.46, 0.56), (0.28, 0.52),
    (0.14, 0.36), (0.08, 0.44), (0.00, 0.62),
])
# fmt: on


def paint_scene(seed: int = SEED) -> tuple[np.ndarray, np.ndarray, list[float]]:
    """Paints the scene.

    Returns:
        The picture (420, 560, 3) uint8 RGB, the moth's exact mask (420, 560) bool, and its box XYXY.
    """
    rng = np.random.default_rng(seed)
    shape = HEIGHT * _SCALE, WIDTH * _SCALE
    ground = _litter(rng, shape, leaf=34.0)
    moth, pattern = _moth(rng, shape)
    shadow = ndimage.gaussian_filter(np.roll(moth, (10, 8), (0, 1)), 8)
    scene = ground * (1 - 0.55 * shadow[..., None]) * (1 - moth[..., None]) + pattern * moth[..., None]
    light = 1 + 0.16 * _noise(rng, shape, 220)
    scene = cv2.resize((scene * light[..., None]).astype(np.float32), (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    scene += rng.normal(0, 2.5, scene.shape)
    mask = cv2.resize(moth.astype(np.float32), (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA) > 0.5
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = [float(v) for v in (columns[0] - 4, rows[0] - 4, columns[-1] + 5, rows[-1] + 5)]
    return scene.clip(0, 255).astype(np.uint8), mask, box


def _noise(rng: np.random.Generator, shape: tuple[int, int], scale: float) -> np.ndarray:
    """Smooth noise of unit deviation; features are about ``scale`` pixels wide."""
    coarse = rng.normal(size=(int(shape[0] / scale) + 4, int(shape[1] / scale) + 4)).astype(np.float32)
    fine = cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
    return (fine - fine.mean()) / fine.std()


def _fractal(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    octaves = [_noise(rng, shape, scale) * scale**0.4 for scale in (2.5, 6, 14, 36, 90)]
    return np.sum(octaves, axis=0) / 12


def _litter(rng: np.random.Generator, shape: tuple[int, int], leaf: float) -> np.ndarray:
    """Soil under many leaves, each with a shade, a midrib, veins and a shadow; float32 RGB."""
    soil = np.array((70, 54, 40)) * (1 + 0.3 * _fractal(rng, shape)[..., None])
    canvas = soil.astype(np.float32)
    for _ in range(int(shape[0] * shape[1] / leaf**2 * 2.4)):
        _leaf(canvas, rng, leaf * rng.uniform(0.6, 1.9))
    return canvas * (1 + 0.17 * _fractal(rng, shape)[..., None]).astype(np.float32)


def _leaf(canvas: np.ndarray, rng: np.random.Generator, length: float) -> None:
    height, width = canvas.shape[:2]
    along = np.linspace(0, np.pi, 24)
    half = np.stack([-np.cos(along), rng.uniform(0.28, 0.5) * np.sin(along) ** rng.uniform(0.8, 1.4)], axis=1)
    half[:, 1] *= 1 + 0.12 * rng.normal(size=24)
    turn = rng.uniform(0, 2 * np.pi)
    rotation = length * np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    centre = rng.uniform((0, 0), (width, height))

    def place(points: np.ndarray) -> np.ndarray:
        return ((points @ rotation + centre) * 16).round().astype(np.int32)

    colour = _BROWNS[rng.integers(len(_BROWNS))] * rng.uniform(0.75, 1.2) + rng.normal(0, 4, 3)
    outline = np.concatenate([half, half[::-1] * (1, -1)])
    cv2.fillPoly(canvas, [place(outline) + 16 * 4], (colour * 0.35).tolist(), cv2.LINE_AA, 4)
    cv2.fillPoly(canvas, [place(outline)], colour.tolist(), cv2.LINE_AA, 4)
    cv2.fillPoly(canvas, [place(np.concatenate([half, half[::-1] * (1, 0)]))], (colour * 0.88).tolist(), cv2.LINE_AA, 4)
    for start in np.linspace(-0.6, 0.5, 5):
        for side in (-0.22, 0.22):
            vein = place(np.array([(start, 0), (start + 0.28, side)]))
            cv2.line(canvas, vein[0].tolist(), vein[1].tolist(), (colour * 0.8).tolist(), 1, cv2.LINE_AA, 4)
    rib = place(np.array([(-1.12, 0), (0.95, 0)]))
    cv2.line(canvas, rib[0].tolist(), rib[1].tolist(), (colour * 1.18).tolist(), 2, cv2.LINE_AA, 4)


def _moth(rng: np.random.Generator, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Coverage (H, W) in [0, 1] and colours (H, W, 3): litter, mirrored at the body as wings are."""
    span, turn, centre = 0.235 * shape[1], 0.42, (0.54 * shape[1], 0.51 * shape[0])
    rows, columns = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    x, y = (columns - centre[0]) / span, (rows - centre[1]) / span
    along, down = np.cos(turn) * x + np.sin(turn) * y, -np.sin(turn) * x + np.cos(turn) * y
    side = 512
    texture = _litter(rng, (2 * side, side), leaf=26.0)
    to_texture = (np.abs(along) * side * 0.9).astype(np.float32), ((down + 1) * side).astype(np.float32)
    pattern = cv2.remap(texture, *to_texture, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    wing = np.round(np.concatenate([_WING, _WING[::-1] * (-1, 1)]) @ _rotation(turn) * span * 16).astype(np.int32)
    offset = np.round(np.array(centre) * 16).astype(np.int32)
    cover = np.zeros(shape, np.uint8)
    cv2.fillPoly(cover, [wing + offset], 255, cv2.LINE_AA, 4)
    ragged = ndimage.gaussian_filter(cover / 255.0, 5) + 0.10 * _noise(rng, shape, 16)
    moth = ndimage.gaussian_filter((ragged > 0.5).astype(np.float32), 1.0)
    wing_colour = 1.12 * texture.mean(axis=(0, 1)) * (1 + 0.10 * _fractal(rng, shape)[..., None])
    return moth, _markings(0.42 * pattern + 0.58 * wing_colour, np.abs(along), down, moth)


def _markings(pattern: np.ndarray, out: np.ndarray, down: np.ndarray, moth: np.ndarray) -> np.ndarray:
    """Wavy bands, an eye spot on each wing, a furry body and a darker rim."""
    shade = np.ones(out.shape, np.float32)
    radius = np.hypot(out, down + 0.30)
    for at, depth in ((0.30, 0.38), (0.78, 0.45)):
        shade *= 1 - depth * np.exp(-((((radius + 0.025 * np.sin(26 * down)) - at) / 0.022) ** 2))
    spot = np.hypot(out - 0.56, down + 0.27)
    shade *= 1 - 0.75 * np.exp(-((spot / 0.045) ** 2))
    shade *= 1 + 0.45 * np.exp(-(((spot - 0.075) / 0.02) ** 2))
    body = np.exp(-((out / (0.085 - 0.05 * np.clip(down, 0, 1))) ** 2)) * (down < 0.60)
    shade *= 1 - 0.48 * body
    rim = ndimage.gaussian_filter(moth, 7)
    shade *= 0.62 + 0.38 * np.clip((rim - 0.4) / 0.5, 0, 1)
    return pattern * shade[..., None]


def _rotation(turn: float) -> np.ndarray:
    return np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])


def main(folder: Path) -> None:
    """Writes ``demo.jpg``, its prompt ``demo.json`` and the exact mask ``demo_truth.png``."""
    image, mask, box = paint_scene()
    write_image(folder / "demo.jpg", image)
    write_mask(folder / "demo_truth.png", mask)
    write_json(folder / "demo.json", {"boxes": [box]})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
