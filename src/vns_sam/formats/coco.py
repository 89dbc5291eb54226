"""COCO instances: ``images``, ``annotations`` and ``categories`` in one JSON file."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from vns_sam.errors import DataError
from vns_sam.formats.annotation import (
    MALFORMED,
    Box,
    Contents,
    Described,
    Polygons,
    RunLengths,
    Shape,
    box_of,
    corners_of,
)
from vns_sam.formats.result import Files, Result, each_object
from vns_sam.formats.rle import encode_piece
from vns_sam.formats.text import decode, parse_json

logger = logging.getLogger(__name__)

NAME = "coco"
ENDING = "_mask.json"
NUMBERED = True
SET = "annotations.json"
"""Name of the file that holds all pictures of a run."""

UPRIGHT = "upright"
"""In the row of a picture: true where its size and coordinates are those of the picture as EXIF turns it, which is how
this package sees it. COCO's own tools pass over it, and count pixels as they are stored."""

_IDS = ("id", "image_id", "category_id")
"""Whole numbers, which other tools may have stored as floats."""

_HINT = "expected an object with 'images' and 'annotations'"


def read(content: bytes, where: str) -> Contents:
    """Reads a COCO file. Crowds are left out and counted; of an object's polygons, those that are none.

    Args:
        content: The JSON text.
        where: Its name, for messages.

    Raises:
        DataError: It is no COCO file.
    """
    raw = _checked(content, where)
    found = Contents("COCO file", categories=_categories(raw))
    shapes: dict[Any, list[Shape]] = {picture["id"]: [] for picture in raw["images"]}
    unknown: dict[str, None] = {}
    crowds = 0
    for place, annotation in enumerate(raw["annotations"]):
        if annotation.get("iscrowd"):
            crowds += 1
            continue
        mark = f"{where}: annotation {annotation.get('id', f'number {place}')}"
        owner = annotation.get("image_id")
        if not isinstance(owner, int | str) or owner not in shapes:
            found.problems.append(f"{mark}: unknown image id {owner}")
            continue
        shape = _shape(annotation, mark, found.categories)
        shapes[owner].append(shape)
        number = annotation.get("category_id")
        if raw.get("categories") and number is not None and shape.category not in found.categories:
            unknown.setdefault(str(number))
    if crowds:
        left_out = f"{crowds} annotation(s) with 'iscrowd' are left out; CVAT and Datumaro set it on brush masks, too"
        if any(shapes.values()):
            logger.warning("%s: %s", where, left_out)
        else:
            found.problems.append(f"{where}: {left_out}: export polygons, or 'CVAT for images'")
    if unknown:
        logger.warning("%s: no class is named for category id %s: these objects have none", where, ", ".join(unknown))
    for picture in raw["images"]:
        try:
            name = str(picture["file_name"]).replace("\\", "/")
            size = int(picture["height"]), int(picture["width"])
        except MALFORMED as error:
            found.problems.append(f"{where}: image {picture['id']}: expected file_name, height and width: {error!r}")
            continue
        stored = picture.get(UPRIGHT) is not True
        found.pictures.append(Described(name, size, tuple(shapes[picture["id"]]), stored=stored))
    return found


def looks_like(raw: Any) -> bool:
    """Whether a JSON value could be a COCO file, a whole or a damaged one."""
    return isinstance(raw, dict) and "images" in raw and ("annotations" in raw or "categories" in raw)


def _checked(content: bytes, where: str) -> dict[str, Any]:
    try:
        raw = parse_json(decode(content, where), where)
    except DataError as error:
        reason = error.message.removeprefix(f"{where} ")
        raise DataError(f"expected COCO annotations at {where}, found no JSON: {reason}", hint=_HINT) from None
    lists = [raw.get(key) if isinstance(raw, dict) else None for key in ("images", "annotations")]
    if not all(isinstance(rows, list) and all(isinstance(row, dict) for row in rows) for rows in lists):
        raise DataError(f"expected COCO annotations at {where}, found other JSON", hint=_HINT)
    for row in (*raw["images"], *raw["annotations"], *_category_rows(raw)):
        row |= {key: int(row[key]) for key in _IDS if isinstance(row.get(key), float) and row[key].is_integer()}
    if not all(isinstance(picture.get("id"), int | str) for picture in raw["images"]):
        raise DataError(f"expected an 'id' of each image in {where}, found one without", hint=_HINT)
    return dict(raw)


def _category_rows(raw: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = raw.get("categories")
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _categories(raw: Mapping[str, Any]) -> dict[int, str]:
    rows = _category_rows(raw)
    return {row["id"]: str(row["name"]) for row in rows if isinstance(row.get("id"), int) and row.get("name")}


def _shape(annotation: Mapping[str, Any], mark: str, categories: Mapping[int, str]) -> Shape:
    number = annotation.get("category_id")
    category = number if isinstance(number, int) else None
    label = "" if category is None else categories.get(category, "")
    box: Box | None = None
    if annotation.get("bbox"):
        try:
            box = box_of(annotation["bbox"], as_size=True)
        except MALFORMED:
            box = None
    try:
        outline, fault = _outline(annotation.get("segmentation"))
        return Shape(label, category, box, outline, mark=mark, fault=fault)
    except MALFORMED as error:
        return Shape(label, category, box, mark=mark, fault=str(error))


def _outline(segmentation: Any) -> tuple[Polygons | RunLengths, str]:
    """The outline, and what is wrong with parts of it that were left out."""
    if isinstance(segmentation, Mapping):
        if not {"size", "counts"} <= set(segmentation):
            raise ValueError("expected 'size' and 'counts' of run lengths")
        return segmentation, ""
    if not isinstance(segmentation, list) or not segmentation:
        raise ValueError("expected polygons or run lengths, found none")
    polygons, fault = [], ""
    for polygon in segmentation:
        try:
            polygons.append(corners_of(polygon))
        except ValueError as error:
            fault = fault or str(error)
    if not polygons:
        raise ValueError(fault)
    return tuple(polygons), fault


def to_dict(result: Result) -> dict[str, Any]:
    """COCO instances of one picture with compressed run lengths; boxes as X Y WIDTH HEIGHT, as COCO has them."""
    prediction = result.prediction
    height, width = result.size
    annotations = []
    for index, piece in enumerate(prediction.pieces):
        x0, y0, x1, y1 = (float(value) for value in prediction.boxes[index])
        annotations.append(
            {
                "id": index + 1,
                "image_id": 1,
                "category_id": result.numbers[index],
                "segmentation": encode_piece(piece, result.size),
                "area": piece.area,
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "iscrowd": 0,
                "score": round(float(prediction.scores[index]), 4),
            }
        )
    image = {"id": 1, "file_name": result.name, "width": width, "height": height, UPRIGHT: True}
    return {"images": [image], "annotations": annotations, "categories": _rows(result.categories)}


def encode(result: Result, paths: Sequence[str]) -> Files:
    """One file for the picture."""
    return {paths[0]: _json(to_dict(result))}


def plan(stem: str, name: str, objects: int) -> list[str]:
    """Names of the files of one picture."""
    return each_object(stem, ENDING, 1)


def set_files(categories: Mapping[int, str]) -> list[str]:
    """Names of the files of a whole run."""
    return [SET]


def merge(pictures: Sequence[bytes], categories: Mapping[int, str]) -> Files:
    """One COCO set from the files of single pictures, with new ids; classes keep theirs."""
    merged: dict[str, Any] = {"images": [], "annotations": [], "categories": _rows(categories)}
    for image_id, content in enumerate(pictures, start=1):
        single = json.loads(content)
        merged["images"].append({**single["images"][0], "id": image_id})
        for annotation in single["annotations"]:
            number = len(merged["annotations"]) + 1
            merged["annotations"].append({**annotation, "id": number, "image_id": image_id})
    return {SET: _json(merged)}


def _rows(categories: Mapping[int, str]) -> list[dict[str, Any]]:
    return [{"id": number, "name": name} for number, name in categories.items()]


def _json(value: Any) -> bytes:
    return (json.dumps(value, allow_nan=False) + "\n").encode()
