"""Marks of other tools as sparse labels: strokes, points, boxes and areas that an annotation file describes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vns_sam.formats.annotation import Contents, Shape
from vns_sam.formats.drawing import BROKEN, draw_shape
from vns_sam.formats.rle import decode_rle, encode_rle
from vns_sam.images.read import must_turn, turn_boxes, turn_corners, turn_upright
from vns_sam.prompts.codes import BACKGROUND, OBJECT

BACKGROUND_CLASSES = frozenset({"background", "bg", "back", "negative", "neg", "0", "__background__", "_background_"})
"""Classes whose marks lie beside the object; those of all others lie on it."""

STROKE = 3
"""Width of a line that is described by its corners alone, in pixels."""

Marks = dict[str, Any]
"""What is marked in one picture: ``points`` and ``labels``, ``boxes``, ``lines`` and ``areas`` with their codes; the
``sizes`` for which they were made, see :func:`vns_sam.prompts.validate.check_sizes`; and ``stored``, boxes and areas
that may count pixels as they are stored, each of their lists with its ``size``."""


def marks_of(contents: Contents) -> dict[str, Marks]:
    """The marks in a file of annotations, by picture as the file names it.

    Points of a picture belong together. Boxes of background, and outlines of anything, are areas.
    """
    found: dict[str, Marks] = {}
    for picture in contents.pictures:
        marks = found.setdefault(picture.name, {})
        part: Marks = {} if picture.stored else marks
        for shape in picture.shapes:
            _add(part, shape)
        if picture.stored and part:
            marks.setdefault("stored", []).append({**part, "size": picture.size})
        if picture.fractions:
            marks["fractions"] = True
        elif not picture.stored and picture.size is not None and picture.shapes:
            marks.setdefault("sizes", []).append(list(picture.size))
        if not marks or set(marks) <= {"fractions", "sizes"}:
            del found[picture.name]
    return found


def _add(marks: Marks, shape: Shape) -> None:
    name = shape.label.strip().lower()
    numbered = shape.category is not None and name.isdecimal()  # the first class of YOLO is 0
    code = BACKGROUND if name in BACKGROUND_CLASSES and not numbered else OBJECT
    if shape.points:
        given = [label if code == OBJECT else 0 for label in shape.point_labels]
        marks.setdefault("points", [[]])[0].extend([list(point) for point in shape.points])
        marks.setdefault("labels", [[]])[0].extend(given)
    for line in shape.lines:
        marks.setdefault("lines", []).append([code, line.tolist()])
    if isinstance(shape.outline, Mapping):
        marks.setdefault("areas", []).append([code, dict(shape.outline)])
    elif shape.outline is not None:
        marks.setdefault("areas", []).append([code, [polygon.tolist() for polygon in shape.outline]])
    elif shape.box is not None and code == OBJECT:
        marks.setdefault("boxes", []).append(list(shape.box))
    elif shape.box is not None:
        x0, y0, x1, y1 = shape.box
        marks.setdefault("areas", []).append([code, [[[x0, y0], [x1, y0], [x1, y1], [x0, y1]]]])


def upright_marks(marks: Marks, picture: Path | None) -> Marks:
    """Marks with those that may count stored pixels among the others, turned as EXIF turns the picture at ``picture``.

    See :func:`vns_sam.images.read.must_turn`; without a picture nothing is turned. The ``size`` of what is not turned
    is then one of the ``sizes``.
    """
    found = {key: value for key, value in marks.items() if key != "stored"}
    for part in marks.get("stored", ()):
        turned = part
        if picture is None or not must_turn(part["size"], picture):
            found["sizes"] = [*found.get("sizes", ()), part["size"]]
        else:
            boxes = np.asarray(part.get("boxes", ()), float).reshape(-1, 4)
            areas = [[code, _turned(area, picture)] for code, area in part.get("areas", ())]
            turned = {"boxes": turn_boxes(boxes, picture).tolist(), "areas": areas}
        for key in ("boxes", "areas"):
            if turned.get(key):
                found[key] = [*found.get(key, ()), *turned[key]]
    return found


def _turned(area: Any, picture: Path) -> Any:
    """Run lengths or polygons, upright. Broken run lengths stay as they are, and are told when they are drawn."""
    if not isinstance(area, Mapping):
        return [turn_corners(np.asarray(corners), picture).tolist() for corners in area]
    try:
        return encode_rle(turn_upright(decode_rle(area), picture))
    except BROKEN:
        return area


def draw_marks(marks: Marks, shape: tuple[int, int]) -> tuple[np.ndarray, list[str]]:
    """Draws lines and areas, the object's on top.

    Returns:
        Codes (H, W) uint8, and one line for each area that cannot be drawn.
    """
    height, width = shape
    scale = np.array([width, height]) if marks.get("fractions") else np.ones(2)
    codes = np.zeros(shape, np.uint8)
    problems = []
    for wanted in (BACKGROUND, OBJECT):
        for code, area in marks.get("areas", ()):
            if code == wanted:
                outline = area if isinstance(area, Mapping) else tuple(np.asarray(one) * scale for one in area)
                try:
                    codes[draw_shape(Shape(outline=outline), height, width)] = code
                except BROKEN as error:
                    problems.append(str(error))
        for code, line in marks.get("lines", ()):
            if code == wanted:
                corners = np.floor(np.asarray(line) * scale).astype(np.int32)
                cv2.polylines(codes, [corners.reshape(-1, 1, 2)], False, int(code), STROKE)
    return codes, problems
