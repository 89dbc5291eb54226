"""Text on pictures: Pillow's built-in font in any size, and text that fits a width."""

from __future__ import annotations

from functools import cache

from PIL import ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@cache
def font(size: int) -> Font:
    """Pillow's own font, ``size`` pixels high; one fixed size where Pillow was built without FreeType."""
    return ImageFont.load_default(size)


def width_of(text: str, size: int) -> float:
    """Width of one line of text in pixels."""
    return font(size).getlength(text)


def shorten(text: str, size: int, width: float) -> str:
    """Cuts the middle out of a line that is wider than ``width`` pixels: names differ at their ends."""
    if width_of(text, size) <= width:
        return text
    for kept in range(len(text) - 1, 1, -1):
        head = (kept + 1) // 2
        cut = f"{text[:head].rstrip()}…{text[len(text) - (kept - head) :].lstrip()}"
        if width_of(cut, size) <= width:
            return cut
    return "…"
