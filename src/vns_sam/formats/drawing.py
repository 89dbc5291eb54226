"""From what annotation files hold to masks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from vns_sam.errors import DataError
from vns_sam.formats.annotation import Described, Shape
from vns_sam.formats.objects import Object
from vns_sam.formats.rle import decode_rle, fill_polygon

BROKEN = (ValueError, TypeError, KeyError, IndexError, OverflowError, MemoryError)
"""What :func:`draw_shape` raises for outlines that make no sense."""


def draw_shape(shape: Shape, height: int, width: int, *, fractions: bool = False) -> np.ndarray:
    """One object as a mask (H, W) bool; polygons may stick out of the picture.

    Raises:
        ValueError, TypeError, KeyError, IndexError, OverflowError, MemoryError: It has no outline, or a broken one.
    """
    if shape.outline is None:
        raise ValueError(shape.fault or "expected an outline, found none")
    if isinstance(shape.outline, Mapping):
        if list(shape.outline["size"]) != [height, width]:
            raise ValueError(f"run lengths for a size of {shape.outline['size']}, expected {[height, width]}")
        return decode_rle(shape.outline)
    scale = np.array([width, height]) if fractions else 1.0
    mask = np.zeros((height, width), bool)
    for polygon in shape.outline:
        mask |= fill_polygon(polygon * scale, height, width)
    return mask


def draw_objects(described: Described) -> list[Object]:
    """Draws the objects of a picture, each by itself, in the order of the file.

    Raises:
        DataError: An object has no outline of the picture's size, or the size is not known.
    """
    if described.size is None:
        raise DataError(f"expected the size of {described.name} in its annotations, found none")
    height, width = described.size
    try:
        return [Object(draw_shape(shape, height, width), shape.label) for shape in described.shapes]
    except BROKEN as error:
        raise DataError(
            f"expected polygons or a run-length code of {width} x {height} pixels, found {error}",
            hint="download the annotations again",
        ) from None
