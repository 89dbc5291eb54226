"""labelme: a JSON file beside each picture, with the outlines that its editor shows."""

from __future__ import annotations

import base64
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vns_sam.errors import DataError
from vns_sam.formats.annotation import (
    MALFORMED,
    Contents,
    Described,
    Shape,
    box_of,
    corners_of,
    ellipse,
    join_groups,
    numbered,
)
from vns_sam.formats.polygons import join_rings
from vns_sam.formats.result import Files, Result, each_object
from vns_sam.formats.rle import encode_piece
from vns_sam.formats.text import decode, parse_json
from vns_sam.images.read import DECODER_ERRORS
from vns_sam.types import Piece

NAME = "labelme"
ENDING = ".json"
VERSION = "5.5.0"


def to_dict(result: Result, path: str = "") -> dict[str, Any]:
    """The file of one picture: a polygon for each part, those of one object in one group; bridges tie holes in.

    Args:
        result: What was found.
        path: Where the file goes, relative to ``result.out``; its picture is named from there.
    """
    height, width = result.size
    shapes = []
    for index, parts in enumerate(result.parts):
        for part in parts:
            shapes.append(
                {
                    "label": result.labels[index],
                    "points": join_rings(part).astype(float).tolist(),
                    "group_id": index if len(parts) > 1 else None,
                    "description": "",
                    "shape_type": "polygon",
                    "flags": {},
                    "mask": None,
                }
            )
    return {
        "version": VERSION,
        "flags": {},
        "shapes": shapes,
        "imagePath": _image_path(result, path),
        "imageData": None,
        "imageHeight": height,
        "imageWidth": width,
    }


def encode(result: Result, paths: Sequence[str]) -> Files:
    """One file for the picture."""
    return {paths[0]: (json.dumps(to_dict(result, paths[0]), indent=2, allow_nan=False) + "\n").encode()}


def plan(stem: str, name: str, objects: int) -> list[str]:
    """Names of the files of one picture."""
    return each_object(stem, ENDING, 1)


def _image_path(result: Result, path: str) -> str:
    """The picture as seen from the file; its whole path where the two lie on different drives."""
    if result.source is None or result.out is None:
        return result.name.rpartition("/")[2]
    folder = (result.out / path).parent
    try:
        return Path(os.path.relpath(result.source.absolute(), folder.absolute())).as_posix()
    except ValueError:
        return str(result.source.absolute())


def looks_like(raw: Any) -> bool:
    """Whether a JSON value is a labelme file."""
    return isinstance(raw, dict) and isinstance(raw.get("shapes"), list) and "imagePath" in raw


def read(content: bytes, where: str) -> Contents:
    """Reads one file. Polygons of one group and class are one object.

    Raises:
        DataError: It is no labelme file.
    """
    raw = parse_json(decode(content, where), where)
    if not looks_like(raw):
        raise DataError(f"expected a labelme file at {where}, found other JSON")
    found = Contents("labelme file")
    size = _size(raw)
    parts: list[tuple[Shape, str]] = []
    for number, entry in enumerate(raw["shapes"]):
        try:
            group = entry.get("group_id")
            parts.append((_shape(entry, f"shape {number}", size), "" if group is None else str(group)))
        except MALFORMED as error:
            found.problems.append(f"{where}: shape {number}: {error}")
    shapes = join_groups(parts)
    name = str(raw["imagePath"]).replace("\\", "/")
    found.pictures.append(Described(name, size, shapes))
    found.categories = numbered(shape.label for shape in shapes)
    return found


LEAST_POINTS = {"rectangle": 2, "circle": 2}
"""Of a shape; one elsewhere."""


def _size(raw: Mapping[str, Any]) -> tuple[int, int] | None:
    height, width = raw.get("imageHeight"), raw.get("imageWidth")
    return (height, width) if isinstance(height, int) and isinstance(width, int) else None


def _shape(entry: Mapping[str, Any], mark: str, size: tuple[int, int] | None) -> Shape:
    label = str(entry["label"])
    kind = entry.get("shape_type") or "polygon"
    points = np.asarray(entry["points"], np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all():
        raise ValueError("expected points as pairs of numbers")
    if len(points) < LEAST_POINTS.get(kind, 1):
        raise ValueError(f"a {kind} of {len(points)} points")
    if kind == "polygon":
        return Shape(label, outline=(corners_of(points),), mark=mark)
    if kind == "rectangle":
        return Shape(label, box=box_of(points[[0, -1] if len(points) == 2 else [0, 2]].ravel().tolist()), mark=mark)
    if kind == "point":
        return Shape(label, points=(tuple(points[0].tolist()),), point_labels=(1,), mark=mark)
    if kind == "points":
        inside = entry.get("point_labels") or [1] * len(points)
        return Shape(label, points=tuple(map(tuple, points.tolist())), point_labels=tuple(inside), mark=mark)
    if kind in ("linestrip", "line"):
        return Shape(label, lines=(points,), mark=mark)
    if kind == "circle":
        return Shape(label, outline=(ellipse(points[0], np.hypot(*(points[1] - points[0]))),), mark=mark)
    if kind == "mask" and size is not None:
        return Shape(label, outline=_mask(entry["mask"], points[0], size), mark=mark)
    raise ValueError(f"a shape of the kind '{kind}', which is not read")


def _mask(text: Any, corner: np.ndarray, size: tuple[int, int]) -> dict[str, Any]:
    """Run lengths of a mask that is stored as a small PNG at ``corner``."""
    try:
        with Image.open(io.BytesIO(base64.b64decode(text)), formats=["PNG"]) as file:
            drawn = np.asarray(file.convert("L")) > 0
    except DECODER_ERRORS as error:
        raise ValueError(f"a mask that is no picture ({error})") from None
    x, y = np.round(corner).astype(int)
    return encode_piece(Piece(int(y), int(x), drawn).within(size), size)
