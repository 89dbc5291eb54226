"""A picture that shows a result: each object tinted and outlined in its colour, its prompt on top."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import cv2
import numpy as np

from vns_sam.images.geometry import fit, resize_image
from vns_sam.images.write import JPEG_SIDE, encode_image
from vns_sam.types import Piece, Prompts

Colour = tuple[int, int, int]

_PALETTE: tuple[Colour, ...] = (
    (0, 200, 255),
    (255, 176, 0),
    (220, 80, 255),
    (120, 230, 60),
    (255, 90, 110),
    (90, 130, 255),
    (0, 220, 160),
    (255, 120, 210),
)
_DARK, _WHITE, _POSITIVE, _NEGATIVE = (16, 18, 24), (255, 255, 255), (40, 190, 80), (235, 50, 60)
_TINT, _BACKGROUND = 0.30, 0.72
_SHIFT = 4  # cv2 draws with 1/16 pixel


def colour_of(index: int) -> Colour:
    """RGB of object ``index``: a fixed palette, then hues by the golden ratio."""
    if index < len(_PALETTE):
        return _PALETTE[index]
    red, green, blue = colorsys.hsv_to_rgb((index * 0.618034) % 1.0, 0.75, 1.0)
    return round(red * 255), round(green * 255), round(blue * 255)


def draw_overlay(
    image: np.ndarray, pieces: Sequence[Piece], prompts: Prompts | None = None, edges: np.ndarray | None = None
) -> np.ndarray:
    """Draws masks and prompts over a picture; line widths follow its size.

    Args:
        image: (H, W, 3) uint8 RGB; left untouched.
        pieces: The masks.
        prompts: What was asked: boxes, clicks (a plus on green, a minus on red) and coarse masks (thin line).
        edges: (P, H, W) edge probability in [0, 1], drawn as light.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    unit = max(1.0, max(image.shape[:2]) / 400)
    canvas = _tint(image, pieces)
    if edges is not None:
        glow = edges.max(axis=0, initial=0)[..., None]
        canvas = (canvas * (1 - glow) + 255 * glow).astype(np.uint8)
    for index, piece in enumerate(pieces):
        draw_outline(canvas, piece.mask, colour_of(index), unit, at=(piece.left, piece.top))
    if prompts is not None:
        for index in range(len(prompts)):
            draw_prompt(canvas, prompts, index, _lighter(colour_of(index)), unit)
    return canvas


def encode_overlay(overlay: np.ndarray) -> bytes:
    """The JPEG of an overlay (H, W, 3) uint8 RGB, reduced where it is larger than a JPEG can be."""
    height, width = overlay.shape[:2]
    if max(height, width) > JPEG_SIDE:
        overlay = resize_image(overlay, fit(height, width, JPEG_SIDE))
    return encode_image(overlay, ".jpg")


def _tint(image: np.ndarray, pieces: Sequence[Piece]) -> np.ndarray:
    """Darkens what no object covers, so that the objects come forward, and tints each object, with one mask in hand."""
    canvas = _looked_up(image, (0, 0, 0), 1 - _BACKGROUND)
    found = [(index, piece) for index, piece in enumerate(pieces) if piece.mask.size]
    for _, piece in found:
        np.copyto(canvas[piece.index], image[piece.index], where=piece.mask[..., None])
    for index, piece in found:
        under = canvas[piece.index]
        np.copyto(under, _looked_up(under, colour_of(index), _TINT), where=piece.mask[..., None])
    return canvas


def _looked_up(image: np.ndarray, colour: Colour, share: float) -> np.ndarray:
    """A picture (H, W, 3) uint8 mixed with so much of a colour; each value is computed once."""
    values = np.arange(256, dtype=np.float32)[:, None]
    table = ((1 - share) * values + share * np.array(colour, np.float32)).round().astype(np.uint8)
    return cv2.LUT(image, table[None])


def draw_outline(
    canvas: np.ndarray,
    mask: np.ndarray,
    colour: Colour,
    unit: float,
    *,
    thin: bool = False,
    at: tuple[int, int] = (0, 0),
) -> None:
    """Draws the contours of a mask (H, W) bool, holes too, onto a canvas (H, W, 3) uint8.

    Args:
        canvas: Drawn on.
        mask: The mask.
        colour: RGB.
        unit: Width of a line in pixels, about.
        thin: Leaves out the dark rim.
        at: X Y of the canvas where the mask begins.
    """
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE, offset=at)
    width = max(1, round(unit if thin else 1.5 * unit))
    if not thin:
        cv2.polylines(canvas, contours, True, _DARK, width + max(1, round(unit)), cv2.LINE_AA)
    cv2.polylines(canvas, contours, True, colour, width, cv2.LINE_AA)


def draw_prompt(canvas: np.ndarray, prompts: Prompts, index: int, colour: Colour, unit: float) -> None:
    """Draws prompt ``index`` in pixels of a canvas (H, W, 3) uint8: box in a colour, clicks, coarse mask in white."""
    if prompts.masks is not None:
        draw_outline(canvas, prompts.masks[index] > 0.5, _WHITE, unit, thin=True)
    if prompts.boxes is not None:
        _draw_box(canvas, prompts.boxes[index], colour, unit)
    if prompts.points is not None and prompts.labels is not None:
        for point, label in zip(prompts.points[index], prompts.labels[index], strict=True):
            if label in (0, 1):
                _draw_click(canvas, point, bool(label), unit)


def _draw_box(canvas: np.ndarray, box: np.ndarray, colour: Colour, unit: float) -> None:
    height, width = canvas.shape[:2]
    low = np.clip(box[:2].round(), 0, [width - 1, height - 1]).astype(int)
    high = np.clip(box[2:].round() - 1, low, [width - 1, height - 1]).astype(int)
    line = max(1, round(unit))
    cv2.rectangle(canvas, low.tolist(), high.tolist(), _DARK, line + 2 * max(1, round(unit / 2)), cv2.LINE_AA)
    cv2.rectangle(canvas, low.tolist(), high.tolist(), colour, line, cv2.LINE_AA)


def _draw_click(canvas: np.ndarray, point: np.ndarray, positive: bool, unit: float) -> None:
    """A disc with a white ring and a plus or minus sign: told apart without colour too."""

    def fixed(*values: float) -> tuple[int, ...]:
        return tuple(round(value * (1 << _SHIFT)) for value in values)

    x, y = (float(value) for value in point)
    radius, arm = 5.5 * unit, 2.8 * unit
    line = max(1, round(1.3 * unit))
    for size, colour in (
        (radius + 1.2 * unit, _DARK),
        (radius, _WHITE),
        (0.8 * radius, _POSITIVE if positive else _NEGATIVE),
    ):
        cv2.circle(canvas, fixed(x, y), fixed(size)[0], colour, -1, cv2.LINE_AA, _SHIFT)
    cv2.line(canvas, fixed(x - arm, y), fixed(x + arm, y), _WHITE, line, cv2.LINE_AA, _SHIFT)
    if positive:
        cv2.line(canvas, fixed(x, y - arm), fixed(x, y + arm), _WHITE, line, cv2.LINE_AA, _SHIFT)


def _lighter(colour: Colour) -> Colour:
    red, green, blue = ((value + 255) // 2 for value in colour)
    return red, green, blue
