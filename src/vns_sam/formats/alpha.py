"""Alpha maps: a gray PNG for each object, how much of a pixel it covers."""

from __future__ import annotations

from collections.abc import Sequence

from vns_sam.errors import UsageError
from vns_sam.formats.result import Files, Result, each_object
from vns_sam.images.write import encode_image

NAME = "alpha"
ENDING = "_alpha.png"


def encode(result: Result, paths: Sequence[str]) -> Files:
    """A file for each object.

    Raises:
        UsageError: The model has no alpha map.
    """
    alphas = result.alphas
    if alphas is None:
        raise without_alpha()
    return {path: encode_image(alphas[index]) for index, path in enumerate(paths)}


def without_alpha() -> UsageError:
    """What to raise where a model has no alpha map."""
    return UsageError("this model gives masks without alpha", hint="add --refine dis-sam-tiny")


def plan(stem: str, name: str, objects: int) -> list[str]:
    """Names of the files of one picture."""
    return each_object(stem, ENDING, objects)
