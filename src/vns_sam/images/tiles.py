"""Pictures laid out on a sheet, with captions, outlines and prompts.

Pictures are first brought to the size at which they are shown, so a sheet of huge pictures costs little.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, ImageDraw

from vns_sam.errors import DataError
from vns_sam.images.overlay import Colour, draw_outline, draw_prompt
from vns_sam.images.text import font, shorten
from vns_sam.types import Prompts

CELL = 320
"""Longest side of a picture on a sheet in pixels, where nothing else is asked for."""

TRUTH: Colour = (64, 220, 96)
PROMPT: Colour = (255, 214, 10)
INK: Colour = (33, 37, 41)
GREY: Colour = (108, 117, 125)
WHITE: Colour = (255, 255, 255)

_FINE = 2  # tiles are drawn twice as large as they are shown


@dataclass(frozen=True)
class Tile:
    """A picture (H, W, 3) uint8 RGB and what stands below it; lines after the first are grey."""

    image: np.ndarray
    caption: str = ""


class View:
    """A picture at the size at which a tile is drawn, and the way there for its masks and prompts.

    Args:
        image: (H, W, 3) uint8 RGB.
        cell: Longest side of the tile in pixels; it is drawn twice as large.
    """

    def __init__(self, image: np.ndarray, cell: int = CELL) -> None:
        self.scale = _FINE * cell / max(image.shape[:2])
        self.size = _fitted(image, _FINE * cell)
        self.image = _resized(image, self.size)
        self.unit = _FINE * cell / 500
        self._solid = min(0.5, 0.45 * self.scale)  # covered share from which a line of one pixel is still whole

    def soft(self, values: np.ndarray) -> np.ndarray:
        """Share of each pixel that a mask (H, W) bool covers, or a map of probabilities at this size: (h, w)."""
        if values.dtype == np.bool_:  # a byte for each pixel of a huge mask, not four
            return _resized(values.view(np.uint8) * 255, self.size, smooth=False).astype(np.float32) / 255
        return _resized(values.astype(np.float32), self.size, smooth=False)

    def heat(self, values: np.ndarray) -> np.ndarray:
        """A map (H, W) in [0, 1] in colours, dark to bright, (h, w, 3) uint8 RGB."""
        shares = (self.soft(values) * 255).round().astype(np.uint8)
        return np.ascontiguousarray(cv2.applyColorMap(shares, cv2.COLORMAP_INFERNO)[..., ::-1])

    def draw_outline(self, canvas: np.ndarray, mask: np.ndarray, colour: Colour, *, width: float | None = None) -> None:
        """Draws the contours of a mask (H, W) onto a canvas of this size; a line of given ``width`` has no rim."""
        unit = self.unit * (width or 1.0)
        draw_outline(canvas, self.soft(mask) > self._solid, colour, unit, thin=width is not None)

    def draw_prompts(self, canvas: np.ndarray, prompts: Prompts, colour: Colour = PROMPT) -> None:
        """Draws prompts given in pixels of the original onto a canvas of this size."""
        moved = Prompts(
            boxes=None if prompts.boxes is None else prompts.boxes * self.scale,
            points=None if prompts.points is None else (prompts.points + 0.5) * self.scale - 0.5,
            labels=prompts.labels,
            masks=None if prompts.masks is None else np.stack([self.soft(mask) for mask in prompts.masks]),
        )
        for index in range(len(moved)):
            draw_prompt(canvas, moved, index, colour, 1.7 * self.unit)


def check_size(image: np.ndarray, values: np.ndarray, what: str) -> None:
    """Compares a map (H, W) with its picture (H, W, 3).

    Raises:
        DataError: They differ in size; both sizes are told.
    """
    if values.shape != image.shape[:2]:
        found = " x ".join(str(side) for side in reversed(values.shape))
        raise DataError(f"{what} is {found}, its picture {image.shape[1]} x {image.shape[0]}")


def grid(tiles: Sequence[Sequence[Tile]], *, cell: int = 224, titles: Sequence[str] = ()) -> np.ndarray:
    """Lays out rows of pictures on white, captions below and column titles above.

    Args:
        tiles: Rows of tiles; they may differ in length.
        cell: Longest side of a shown picture in pixels; its aspect is kept.
        titles: One for each column, or none.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        DataError: There is no tile.
    """
    columns = max((len(row) for row in tiles), default=0)
    if not columns:
        raise DataError("expected at least one picture for a figure, found none")
    size, margin, gap = text_size(cell), cell // 14, max(4, cell // 40)
    line = round(1.3 * size)
    pictures = [[_resized(tile.image, _fitted(tile.image, cell)) for tile in row] for row in tiles]
    heights = [max((picture.shape[0] for picture in row), default=0) for row in pictures]
    lines = [max((len(_lines(tile.caption)) for tile in row), default=0) for row in tiles]
    below = [count * line + (size if count else 0) + gap for count in lines]
    top = margin + (line + size // 3 if titles else 0)
    total = (2 * margin + columns * cell + (columns - 1) * gap, top + sum(heights) + sum(below) - gap + margin)
    canvas = Image.new("RGB", total, WHITE)
    draw = ImageDraw.Draw(canvas)

    def write(text: str, column: int, y: int, colour: Colour) -> None:
        middle = margin + column * (cell + gap) + cell / 2
        draw.text((middle, y), shorten(text, size, 0.97 * cell), fill=colour, font=font(size), anchor="ma")

    for column, title in enumerate(titles):
        write(title, column, margin, INK)
    for row, height, room in zip(range(len(tiles)), heights, below, strict=True):
        for column, picture in enumerate(pictures[row]):
            left = margin + column * (cell + gap) + (cell - picture.shape[1]) // 2
            canvas.paste(Image.fromarray(picture), (left, top + height - picture.shape[0]))
            for number, text in enumerate(_lines(tiles[row][column].caption)):
                write(text, column, top + height + size // 3 + number * line, GREY if number else INK)
        top += height + room
    return np.asarray(canvas).copy()


def outline(image: np.ndarray, mask: np.ndarray, colour: Colour) -> np.ndarray:
    """A copy of a picture (H, W, 3) uint8 with the contours of a mask (H, W) bool."""
    canvas = image.copy()
    draw_outline(canvas, mask, colour, max(1.0, max(image.shape[:2]) / 500))
    return canvas


def text_size(cell: int) -> int:
    """Height of captions below tiles of ``cell`` pixels."""
    return max(10, round(cell / 17))


def _lines(caption: str) -> list[str]:
    return caption.split("\n") if caption else []


def _fitted(image: np.ndarray, side: int) -> tuple[int, int]:
    """Width and height with the longer one ``side``."""
    height, width = image.shape[:2]
    scale = side / max(height, width)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _resized(values: np.ndarray, size: tuple[int, int], *, smooth: bool = True) -> np.ndarray:
    """Resizes to (width, height): by area when it shrinks, else cubic or, not to overshoot, linear."""
    if (values.shape[1], values.shape[0]) == size:
        return values
    larger = cv2.INTER_CUBIC if smooth else cv2.INTER_LINEAR
    return cv2.resize(values, size, interpolation=cv2.INTER_AREA if size[0] < values.shape[1] else larger)
