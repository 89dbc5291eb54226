"""Cut-outs: the picture as RGBA PNG, transparent beside the object; soft where the model has an alpha map."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from vns_sam.errors import UsageError
from vns_sam.formats.result import Files, Result, each_object
from vns_sam.images.write import encode_image

NAME = "cutout"
ENDING = "_cutout.png"


def encode(result: Result, paths: Sequence[str]) -> Files:
    """A file for each object, of the picture's size.

    Raises:
        UsageError: The result comes without the picture.
    """
    if result.pixels is None:
        raise UsageError("a cut-out needs the picture itself, found masks alone", hint="choose another format")
    alphas = zip(paths, _alphas(result), strict=True)
    return {path: encode_image(np.dstack([result.pixels, alpha])) for path, alpha in alphas}


def _alphas(result: Result) -> Iterator[np.ndarray]:
    """(H, W) uint8 of each object."""
    alphas = result.alphas
    if alphas is not None:
        yield from alphas
    else:
        yield from (piece.full(result.size).astype(np.uint8) * 255 for piece in result.prediction.pieces)


def plan(stem: str, name: str, objects: int) -> list[str]:
    """Names of the files of one picture."""
    return each_object(stem, ENDING, objects)
