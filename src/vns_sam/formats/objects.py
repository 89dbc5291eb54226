"""Objects of one picture one by one: they may overlap, and each may have a class, which a picture of ids cannot tell.

``{"size": [H, W], "objects": [{"label": "dog", "counts": "..."}, ...]}`` with COCO's compressed run lengths.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vns_sam.errors import DataError
from vns_sam.formats.annotation import MALFORMED
from vns_sam.formats.rle import decode_rle, encode_rle
from vns_sam.formats.text import parse_json, read_text

ENDING = ".json"


@dataclass(frozen=True)
class Object:
    """One object.

    Attributes:
        mask: (H, W) bool.
        label: Its class, "" where there is none.
    """

    mask: np.ndarray
    label: str = ""


def encode_objects(objects: Sequence[Object]) -> bytes:
    """The file of objects of one picture, at least one, all of one size."""
    lines = [{"label": each.label, "counts": encode_rle(each.mask)["counts"]} for each in objects]
    return f"{json.dumps({'size': list(objects[0].mask.shape), 'objects': lines})}\n".encode()


def read_objects(path: str | os.PathLike[str]) -> list[Object]:
    """Reads a file of :func:`encode_objects`.

    Raises:
        DataError: The file is missing or another one.
    """
    path = Path(path)
    content = parse_json(read_text(path, "file of objects"), str(path))
    try:
        size = content["size"]
        found = [(each.get("label", ""), {"size": size, "counts": each["counts"]}) for each in content["objects"]]
        return [Object(decode_rle(codes), str(label)) for label, codes in found]
    except MALFORMED as error:
        raise DataError(
            f"expected 'size' and 'objects' with run lengths in {path}, found something else: {error}",
            hint="vns-sam data import writes such files; see docs/data.md",
        ) from None
