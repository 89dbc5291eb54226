"""Synthetic thin structures with exact masks: wheels, fences, branches and wires laid over any picture.

Masks of real pictures are drawn by hand, and where things are a few pixels wide they are wrong by as much. These are
drawn at four times the size and shrunk, so that every pixel knows how much of it is covered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from zlib import crc32

import cv2
import numpy as np

from vns_sam.data.synthesis.scenes import Scene
from vns_sam.images.read import read_image
from vns_sam.images.write import write_image, write_mask, write_text

Draw = Callable[[np.ndarray, float, np.random.Generator], None]
"""Draws white on a canvas (S, S) uint8, with lines of about so many pixels."""

FINER = 4
"""Shapes are drawn so many times larger."""
SHARE = (0.004, 0.6)
"""Of the picture that a shape must cover."""


def lay_thin(image: np.ndarray, filling: np.ndarray, rng: np.random.Generator) -> Scene | None:
    """Lays one thin structure over a picture.

    Args:
        image: (H, W, 3) uint8 RGB, at least 64 pixels a side.
        filling: (h, w, 3) uint8 RGB, another picture whose texture the structure may have.
        rng: Source of all choices.

    Returns:
        A scene of the picture's size with the structure as its only object, or None where it would hardly show.
    """
    height, width = image.shape[:2]
    cover = _coverage(height, width, rng)
    mask = cover > 0.5
    if not SHARE[0] < mask.mean() < SHARE[1]:
        return None
    surface = _surface(height, width, filling, rng)
    ground = image.astype(np.float32)
    if rng.random() < 0.4:
        ground = _shadow(ground, cover, rng)
    mixed = ground * (1 - cover[..., None]) + surface * cover[..., None]
    if np.abs(mixed - ground).mean(axis=2)[mask].mean() < 8:
        return None
    return Scene(np.clip(mixed, 0, 255).astype(np.uint8), mask[None])


def write_thin_set(folder: Path, pictures: Sequence[Path], count: int, *, side: int, seed: int) -> Path:
    """Writes a data set of thin structures, ``images/`` and ``masks/``.

    What is there already stays, unless it was made of other pictures, with another side or with another seed. Then all
    of it is made again, and pairs beyond ``count`` are removed.

    Args:
        folder: Where to.
        pictures: Backgrounds and textures.
        count: Pairs.
        side: Longer side of the pictures in pixels.
        seed: Of all choices; pair k depends on it and on k alone.

    Raises:
        DataError: A picture cannot be read, or the folder cannot be written.
    """
    names = "\n".join(str(path) for path in pictures)
    origin = f"thin structures over {len(pictures)} pictures, side {side}, seed {seed}, {crc32(names.encode()):08x}\n"
    note = folder / "README.txt"
    same = note.is_file() and note.read_text(encoding="utf-8") == origin
    for number in range(count):
        mask_path, image_path = _files(folder, number)
        if same and mask_path.is_file() and image_path.is_file():
            continue
        rng = np.random.default_rng([seed, number])
        scene = None
        while scene is None:
            ground, filling = (fit_side(read_image(pictures[int(rng.integers(len(pictures)))]), side) for _ in range(2))
            scene = lay_thin(ground, filling, rng)
        write_image(image_path, scene.image)
        write_mask(mask_path, scene.masks[0])
    if not same:
        asked = {path for number in range(count) for path in _files(folder, number)}
        for path in {*folder.glob("masks/thin_*.png"), *folder.glob("images/thin_*.jpg")} - asked:
            path.unlink(missing_ok=True)  # another process of the run may have been first
    write_text(note, origin)
    return folder


def _files(folder: Path, number: int) -> tuple[Path, Path]:
    """Mask and picture of a pair."""
    stem = f"thin_{number:05d}"
    return folder / "masks" / f"{stem}.png", folder / "images" / f"{stem}.jpg"


def fit_side(image: np.ndarray, side: int) -> np.ndarray:
    """Brings the longer side of a picture (H, W, 3) to ``side`` pixels, the shorter one to 64 at least."""
    scale = side / max(image.shape[:2])
    size = (max(64, round(image.shape[1] * scale)), max(64, round(image.shape[0] * scale)))
    resized: np.ndarray = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    return resized


def _coverage(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """How much of each pixel a random structure covers, (H, W) float32."""
    side = max(height, width)
    canvas = np.zeros((side * FINER, side * FINER), np.uint8)
    kinds: tuple[Draw, ...] = (_wheel, _fence, _branch, _wires)
    thickness = FINER * max(1.2, side * float(np.exp(rng.uniform(np.log(0.003), np.log(0.015)))))
    kinds[int(rng.integers(len(kinds)))](canvas, thickness, rng)
    matrix = cv2.getRotationMatrix2D((canvas.shape[1] / 2, canvas.shape[0] / 2), rng.normal(0, 12), 1.0)
    turned = cv2.warpAffine(canvas, matrix, canvas.shape[::-1])
    y, x = (int(rng.integers(side - length + 1)) * FINER for length in (height, width))
    part = turned[y : y + height * FINER, x : x + width * FINER]
    cover: np.ndarray = cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    return cover


def _surface(height: int, width: int, filling: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What the structure looks like, (H, W, 3) float32: texture of a picture mixed with one colour, lit from a side."""
    texture = cv2.resize(filling, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)
    share = np.float32(rng.choice([1.0, rng.uniform(0.3, 0.9), 0.0], p=(0.3, 0.4, 0.3)))
    colour = rng.uniform(0, 255, 3).astype(np.float32)
    if rng.random() < 0.5:
        colour[:] = colour.mean()
    light = np.linspace(rng.uniform(0.6, 1.0), rng.uniform(0.8, 1.3), width, dtype=np.float32)[None, :, None]
    noise = rng.standard_normal((height, width, 1), dtype=np.float32) * np.float32(rng.uniform(0, 10))
    surface: np.ndarray = (texture * (1 - share) + colour * share) * light + noise
    return surface


def _shadow(image: np.ndarray, cover: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The picture with the structure's soft shadow on it, which is not part of the object."""
    shift = rng.normal(0, 0.015 * max(cover.shape), 2)
    matrix = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float64)
    moved = cv2.warpAffine(cover, matrix, cover.shape[::-1])
    soft: np.ndarray = cv2.GaussianBlur(moved, (0, 0), float(rng.uniform(1, 4)))
    return image * (1 - np.float32(rng.uniform(0.2, 0.5)) * soft[..., None])


def _line(canvas: np.ndarray, start: np.ndarray, end: np.ndarray, thickness: float) -> None:
    a, b = start.round().astype(int).tolist(), end.round().astype(int).tolist()
    cv2.line(canvas, a, b, 255, max(1, round(thickness)), cv2.LINE_8)


def _wheel(canvas: np.ndarray, thickness: float, rng: np.random.Generator) -> None:
    """A rim, a hub and spokes; sometimes two wheels with a bar between, as of a bicycle."""
    side = len(canvas)
    radius = side * rng.uniform(0.12, 0.32)
    centres = [side * rng.uniform(0.35, 0.65, 2)]
    if rng.random() < 0.5:
        offset = np.array([radius * rng.uniform(1.2, 2.2), side * rng.normal(0, 0.02)])
        centres = [centres[0] - offset / 2, centres[0] + offset / 2]
        _line(canvas, centres[0], centres[1], 2 * thickness)
        _line(canvas, centres[0], centres[0] + offset / 2 - (0, radius * 0.9), 2 * thickness)
        _line(canvas, centres[1], centres[0] + offset / 2 - (0, radius * 0.9), 2 * thickness)
        radius = min(radius, float(np.hypot(*offset)) * 0.42)
    squeeze, spokes, turn = rng.uniform(0.5, 1.0), int(rng.integers(8, 33)), rng.uniform(0, np.pi)
    for centre in centres:
        middle = centre.round().astype(int).tolist()
        axes = [max(1, round(radius * squeeze)), max(1, round(radius))]
        cv2.ellipse(canvas, middle, axes, 0, 0, 360, 255, max(1, round(2 * thickness)))
        cv2.circle(canvas, middle, max(1, round(2 * thickness)), 255, -1)
        for angle in turn + np.arange(spokes) * 2 * np.pi / spokes:
            _line(canvas, centre, centre + radius * np.array([squeeze * np.cos(angle), np.sin(angle)]), thickness * 0.7)


def _fence(canvas: np.ndarray, thickness: float, rng: np.random.Generator) -> None:
    """Posts and rails, a lattice of diagonals, or both, within a rectangle."""
    side = len(canvas)
    size = side * rng.uniform(0.3, 0.8, 2)
    low = (side - size) * rng.uniform(0.1, 0.9, 2)
    high = low + size
    pitch = max(4 * thickness, side * rng.uniform(0.03, 0.12))
    patch = np.zeros_like(canvas)
    if rng.random() < 0.6:
        for x in np.arange(low[0], high[0], pitch):
            _line(patch, np.array([x, low[1]]), np.array([x, high[1]]), thickness)
        for share in np.linspace(0.1, 0.9, int(rng.integers(2, 5))):
            y = low[1] + share * size[1]
            _line(patch, np.array([low[0], y]), np.array([high[0], y]), 1.5 * thickness)
    else:
        for x in np.arange(low[0] - size[1], high[0] + size[1], pitch):
            _line(patch, np.array([x, low[1]]), np.array([x + size[1], high[1]]), 0.7 * thickness)
            _line(patch, np.array([x, low[1]]), np.array([x - size[1], high[1]]), 0.7 * thickness)
        cv2.rectangle(patch, low.astype(int).tolist(), high.astype(int).tolist(), 255, max(1, round(2 * thickness)))
    top, left, bottom, right = int(low[1]), int(low[0]), int(high[1]) + 1, int(high[0]) + 1
    canvas[top:bottom, left:right] |= patch[top:bottom, left:right]


def _branch(canvas: np.ndarray, thickness: float, rng: np.random.Generator) -> None:
    """A twig that forks and tapers, sometimes with leaves."""
    side = len(canvas)
    step, leaves = side / 30, rng.random() < 0.5
    start = np.array([side * rng.uniform(0.25, 0.75), side * rng.uniform(0.7, 0.95)])
    shoots = [(start, -np.pi / 2 + rng.normal(0, 0.4), int(rng.integers(12, 26)), 3 * thickness)]
    while shoots:
        point, angle, length, width = shoots.pop()
        for left in range(length, 0, -1):
            angle += rng.normal(0, 0.16)
            following = point + step * np.array([np.cos(angle), np.sin(angle)])
            _line(canvas, point, following, max(0.5 * thickness, width * left / length))
            point = following
            if left > 4 and rng.random() < 0.22:
                turn = rng.choice([-1, 1]) * rng.uniform(0.4, 1.1)
                shoots.append((point, angle + turn, left * 2 // 3, width * left / length * 0.7))
        if leaves:
            axes = [max(1, round(side * rng.uniform(0.012, 0.03))), max(1, round(side * rng.uniform(0.006, 0.012)))]
            cv2.ellipse(canvas, point.round().astype(int).tolist(), axes, float(np.degrees(angle)), 0, 360, 255, -1)


def _wires(canvas: np.ndarray, thickness: float, rng: np.random.Generator) -> None:
    """Two poles with sagging lines between them, or one loose cable in loops."""
    side = len(canvas)
    if rng.random() < 0.5:
        steps = np.linspace(0, 1, 80)
        x = side * (0.15 + 0.7 * steps) + side * 0.1 * np.sin(2 * np.pi * rng.uniform(1, 3) * steps + rng.uniform(0, 6))
        y = side * (0.5 + rng.uniform(0.1, 0.3) * np.sin(2 * np.pi * rng.uniform(0.7, 2.5) * steps + rng.uniform(0, 6)))
        points = np.stack([x, y], 1)
        for a, b in pairwise(points):
            _line(canvas, a, b, 1.3 * thickness)
        return
    left, right = side * rng.uniform(0.08, 0.25), side * rng.uniform(0.75, 0.92)
    top, bottom = side * rng.uniform(0.15, 0.35), side * rng.uniform(0.75, 0.95)
    for pole in (left, right):
        _line(canvas, np.array([pole, top - side * 0.04]), np.array([pole, bottom]), 3 * thickness)
    steps = np.linspace(0, 1, 40)
    for number in range(int(rng.integers(2, 6))):
        sag = side * rng.uniform(0.02, 0.12) * 4 * steps * (1 - steps)
        points = np.stack([left + (right - left) * steps, top + side * 0.05 * number + sag], 1)
        for a, b in pairwise(points):
            _line(canvas, a, b, 0.8 * thickness)
