"""Figures of an evaluation, drawn from arrays: the worst cases, and models side by side.

Pictures are first brought to the size at which they are shown, so a figure of huge pictures costs little.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from PIL import Image, ImageDraw

from vns_sam.errors import DataError
from vns_sam.images.charts import curve, histogram
from vns_sam.images.overlay import Colour, draw_outline, draw_prompt
from vns_sam.images.text import font, shorten, width_of
from vns_sam.types import Prompts

__all__ = ["Case", "Tile", "View", "curve", "grid", "histogram", "outline", "side_by_side", "worst_cases"]

CELL = 320
"""Longest side of a picture in the figures of this module, in pixels."""

TRUTH: Colour = (64, 220, 96)
FOUND: Colour = (40, 120, 255)
WRONG: Colour = (238, 92, 66)
MISSED: Colour = (74, 144, 255)
PROMPT: Colour = (255, 214, 10)

_FINE = 2  # tiles are drawn twice as large as they are shown
_INK, _GREY, _WHITE, _BLACK = (33, 37, 41), (108, 117, 125), (255, 255, 255), (20, 22, 26)
_HIT: Colour = (242, 242, 242)


@dataclass(frozen=True)
class Tile:
    """A picture (H, W, 3) uint8 RGB and what stands below it; lines after the first are grey."""

    image: np.ndarray
    caption: str = ""


@dataclass(frozen=True)
class Case:
    """One picture with what was asked, what is true and what models found.

    Attributes:
        name: Such as "camo/camourflage_00012".
        image: (H, W, 3) uint8 RGB.
        truth: (H, W) bool.
        prompt: One or more prompts in pixels of the picture.
        found: Mask (H, W) bool of each model.
        edges: Edge probability (H, W) in [0, 1] of the models that have it.
        scores: Score of each model, higher is better.

    Raises:
        DataError: A mask or an edge map has another size than the picture.
    """

    name: str
    image: np.ndarray
    truth: np.ndarray
    prompt: Prompts
    found: dict[str, np.ndarray]
    edges: dict[str, np.ndarray] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_size(self.image, self.truth, f"{self.name}: the true mask")
        for maps, what in ((self.found, "mask"), (self.edges, "edge map")):
            for model, values in maps.items():
                check_size(self.image, values, f"{self.name}: the {what} of {model}")


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
    size, margin, gap = _text_size(cell), cell // 14, max(4, cell // 40)
    line = round(1.3 * size)
    pictures = [[_resized(tile.image, _fitted(tile.image, cell)) for tile in row] for row in tiles]
    heights = [max((picture.shape[0] for picture in row), default=0) for row in pictures]
    lines = [max((len(_lines(tile.caption)) for tile in row), default=0) for row in tiles]
    below = [count * line + (size if count else 0) + gap for count in lines]
    top = margin + (line + size // 3 if titles else 0)
    total = (2 * margin + columns * cell + (columns - 1) * gap, top + sum(heights) + sum(below) - gap + margin)
    canvas = Image.new("RGB", total, _WHITE)
    draw = ImageDraw.Draw(canvas)

    def write(text: str, column: int, y: int, colour: Colour) -> None:
        middle = margin + column * (cell + gap) + cell / 2
        draw.text((middle, y), shorten(text, size, 0.97 * cell), fill=colour, font=font(size), anchor="ma")

    for column, title in enumerate(titles):
        write(title, column, margin, _INK)
    for row, height, room in zip(range(len(tiles)), heights, below, strict=True):
        for column, picture in enumerate(pictures[row]):
            left = margin + column * (cell + gap) + (cell - picture.shape[1]) // 2
            canvas.paste(Image.fromarray(picture), (left, top + height - picture.shape[0]))
            for number, text in enumerate(_lines(tiles[row][column].caption)):
                write(text, column, top + height + size // 3 + number * line, _GREY if number else _INK)
        top += height + room
    return np.asarray(canvas).copy()


def outline(image: np.ndarray, mask: np.ndarray, colour: Colour) -> np.ndarray:
    """A copy of a picture (H, W, 3) uint8 with the contours of a mask (H, W) bool."""
    canvas = image.copy()
    draw_outline(canvas, mask, colour, max(1.0, max(image.shape[:2]) / 500))
    return canvas


def worst_cases(cases: Sequence[Case], model: str, *, metric: str = "IoU") -> np.ndarray:
    """Draws a contact sheet of one model, the lowest score first.

    Each picture has the true contour in green, the mask that was found in blue, and the prompt.

    Args:
        cases: The cases to show.
        model: Whose masks.
        metric: What the scores are.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        DataError: There is no case, or one has no mask or score of the model.
    """
    _check(cases, [model])
    columns = min(6, math.ceil(math.sqrt(1.4 * len(cases))))
    tiles = []
    for case in sorted(cases, key=lambda case: case.scores[model]):
        view = View(case.image)
        canvas = _blend(view.image, view.soft(case.found[model]), FOUND, 0.45)
        view.draw_outline(canvas, case.found[model], FOUND, width=1.0)
        view.draw_outline(canvas, case.truth, TRUTH)
        view.draw_prompts(canvas, case.prompt)
        tiles.append(Tile(canvas, f"{case.name}\n{metric} {case.scores[model]:.3f}"))
    rows = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
    legend = {"truth": TRUTH, "found": FOUND, "prompt": PROMPT}
    return _with_header(grid(rows, cell=CELL), f"{model}, lowest {metric} first", legend)


def side_by_side(cases: Sequence[Case], models: Sequence[str], *, metric: str = "IoU") -> np.ndarray:
    """Draws a row for each case: picture with prompt, truth, each model's mask, and the edges of those that have them.

    In a mask, white is found rightly, red wrongly, and blue is missed.

    Args:
        cases: The cases to show, in this order.
        models: Whose masks.
        metric: What the scores are.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        DataError: There is no case, or one has no mask or score of a model.
    """
    _check(cases, models)
    drawing = [model for model in models if any(model in case.edges for case in cases)]
    rows = []
    for case in cases:
        view = View(case.image)
        picture = view.image.copy()
        view.draw_prompts(picture, case.prompt)
        row = [Tile(picture, case.name), Tile(_gray(view.soft(case.truth)))]
        for model in models:
            row.append(Tile(_compared(view, case.truth, case.found[model]), f"{metric} {case.scores[model]:.3f}"))
        for model in drawing:
            edges = case.edges.get(model, np.zeros(case.truth.shape, np.float32))
            row.append(Tile(_gray(view.soft(edges)), "" if model in case.edges else "none"))
        rows.append(row)
    titles = ["picture and prompt", "truth", *models, *(f"edges of {model}" for model in drawing)]
    legend = {"found": _HIT, "found wrongly": WRONG, "missed": MISSED}
    return _with_header(grid(rows, cell=CELL, titles=titles), "", legend)


def _check(cases: Sequence[Case], models: Sequence[str]) -> None:
    if not cases:
        raise DataError("expected at least one case for a figure, found none")
    for case in cases:
        for model in models:
            if model not in case.found or model not in case.scores:
                known = ", ".join(sorted(case.found.keys() & case.scores.keys())) or "none"
                raise DataError(f"{case.name}: expected a mask and a score of '{model}', found those of: {known}")


def _compared(view: View, truth: np.ndarray, found: np.ndarray) -> np.ndarray:
    """A mask beside the truth: hits white, false positives red, misses blue."""
    canvas = np.full((*view.size[::-1], 3), _BLACK, np.float32)
    for part, colour in ((truth & found, _HIT), (found & ~truth, WRONG), (truth & ~found, MISSED)):
        canvas += view.soft(part)[..., None] * (np.array(colour, np.float32) - _BLACK)
    return canvas.clip(0, 255).round().astype(np.uint8)


def _gray(values: np.ndarray) -> np.ndarray:
    return _blend(np.full((*values.shape, 3), _BLACK, np.uint8), values, _HIT, 1.0)


def _blend(image: np.ndarray, share: np.ndarray, colour: Colour, strength: float) -> np.ndarray:
    alpha = (strength * share)[..., None]
    return (image * (1 - alpha) + np.array(colour, np.float32) * alpha).round().astype(np.uint8)


def _with_header(body: np.ndarray, title: str, legend: dict[str, Colour]) -> np.ndarray:
    """Puts a line above a figure: a title at the left, coloured squares with their meaning after it."""
    size, margin = _text_size(CELL), CELL // 14
    room = body.shape[1] - 2 * margin - sum(width_of(text, size) + 2.4 * size for text in legend)
    header = Image.new("RGB", (body.shape[1], margin + round(1.2 * size)), _WHITE)
    draw = ImageDraw.Draw(header)
    x, middle = float(margin), margin + 0.6 * size
    if title:
        shown = shorten(title, size, room)
        draw.text((x, middle), shown, fill=_INK, font=font(size), anchor="lm")
        x += width_of(shown, size) + 1.4 * size
    for text, colour in legend.items():
        square = (x, middle - 0.4 * size, x + 0.8 * size, middle + 0.4 * size)
        draw.rectangle(square, fill=colour, outline=_GREY)
        draw.text((x + 1.2 * size, middle), text, fill=_GREY, font=font(size), anchor="lm")
        x += width_of(text, size) + 2.4 * size
    return np.concatenate([np.asarray(header), body])


def _text_size(cell: int) -> int:
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
