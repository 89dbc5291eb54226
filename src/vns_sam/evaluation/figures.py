"""Figures of an evaluation, drawn from arrays: the worst cases, and models side by side.

Pictures are first brought to the size at which they are shown, so a figure of huge pictures costs little.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageDraw

from vns_sam.errors import DataError
from vns_sam.images.overlay import Colour
from vns_sam.images.text import font, shorten, width_of
from vns_sam.images.tiles import CELL, GREY, INK, PROMPT, TRUTH, WHITE, Tile, View, check_size, grid, text_size
from vns_sam.types import Prompts

FOUND: Colour = (40, 120, 255)
WRONG: Colour = (238, 92, 66)
MISSED: Colour = (74, 144, 255)

_BLACK: Colour = (20, 22, 26)
_HIT: Colour = (242, 242, 242)


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
    size, margin = text_size(CELL), CELL // 14
    room = body.shape[1] - 2 * margin - sum(width_of(text, size) + 2.4 * size for text in legend)
    header = Image.new("RGB", (body.shape[1], margin + round(1.2 * size)), WHITE)
    draw = ImageDraw.Draw(header)
    x, middle = float(margin), margin + 0.6 * size
    if title:
        shown = shorten(title, size, room)
        draw.text((x, middle), shown, fill=INK, font=font(size), anchor="lm")
        x += width_of(shown, size) + 1.4 * size
    for text, colour in legend.items():
        square = (x, middle - 0.4 * size, x + 0.8 * size, middle + 0.4 * size)
        draw.rectangle(square, fill=colour, outline=GREY)
        draw.text((x + 1.2 * size, middle), text, fill=GREY, font=font(size), anchor="lm")
        x += width_of(text, size) + 2.4 * size
    return np.concatenate([np.asarray(header), body])
