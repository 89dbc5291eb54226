"""SVG: a path for each object over a canvas of the picture's size."""

from __future__ import annotations

from collections.abc import Sequence

from vns_sam.formats.result import Files, Result, each_object
from vns_sam.formats.text import attribute
from vns_sam.images.overlay import colour_of

NAME = "svg"
ENDING = "_mask.svg"


def to_text(result: Result) -> str:
    """The drawing; a class becomes the ``data-class`` of its path."""
    height, width = result.size
    paths = []
    for index, parts in enumerate(result.parts):
        data = " ".join(f"M{' '.join(f'{x},{y}' for x, y in ring)}Z" for part in parts for ring in part)
        colour = "#{:02x}{:02x}{:02x}".format(*colour_of(index))
        label = f" data-class={attribute(result.classes[index])}" if result.classes[index] else ""
        paths.append(f'  <path id="object-{index}"{label} fill="{colour}" fill-rule="evenodd" d="{data}"/>\n')
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>\n{"".join(paths)}</svg>\n'


def encode(result: Result, paths: Sequence[str]) -> Files:
    """One file for the picture."""
    return {paths[0]: to_text(result).encode()}


def plan(stem: str, name: str, objects: int) -> list[str]:
    """Names of the files of one picture."""
    return each_object(stem, ENDING, 1)
