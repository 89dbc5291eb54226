"""Indexed PNG: all objects in one picture of ids, 0 is background; smaller objects lie on top of larger ones."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from vns_sam.formats.result import Files, Result, each_object
from vns_sam.formats.rle import number_objects
from vns_sam.images.overlay import colour_of
from vns_sam.images.write import encode_image

NAME = "indexed"
ENDING = "_indexed.png"


def encode(result: Result, paths: Sequence[str]) -> Files:
    """One file: a palette of 8 bits, or gray values of 16 bits for more than 255 objects."""
    return {paths[0]: encode_ids(number_objects(result.prediction.pieces, result.size))}


def encode_ids(ids: np.ndarray) -> bytes:
    """PNG of ids (H, W) uint16, each in a colour of its own where 8 bits are enough."""
    if ids.max() > np.iinfo(np.uint8).max:
        return encode_image(ids)
    picture = Image.fromarray(ids.astype(np.uint8), "P")
    picture.putpalette([value for index in range(256) for value in ((0, 0, 0) if not index else colour_of(index - 1))])
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def plan(stem: str, name: str, objects: int) -> list[str]:
    """Names of the files of one picture."""
    return each_object(stem, ENDING, 1)
