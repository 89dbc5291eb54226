"""Tables of boxes and points, comma, semicolon or tabulator between cells, with any of the usual headings."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from vns_sam.errors import DataError
from vns_sam.formats.annotation import MALFORMED, Box, Contents, Described, Shape, box_of, numbered
from vns_sam.formats.text import parse_table
from vns_sam.images.find import EXTENSIONS

WANTED = "name,x0,y0,x1,y1 for boxes or name,x,y,label for points, and a column 'class' where there are classes"

Way = Literal["corners", "size", "middle", "text", "point"]

_NAMES = (
    *("filename", "image", "imagename", "imagepath", "imagefile", "path", "file", "filepath", "img", "imageid"),
    "name",
)
_CORNERS = (
    ("x0", "y0", "x1", "y1"),
    ("x1", "y1", "x2", "y2"),
    ("xmin", "ymin", "xmax", "ymax"),
    ("minx", "miny", "maxx", "maxy"),
    ("left", "top", "right", "bottom"),
    ("xtl", "ytl", "xbr", "ybr"),
    ("bboxx0", "bboxy0", "bboxx1", "bboxy1"),
    ("bboxxmin", "bboxymin", "bboxxmax", "bboxymax"),
    ("startx", "starty", "endx", "endy"),
)
_SIZES = (
    ("x", "y", "w", "h"),
    ("x", "y", "width", "height"),
    ("left", "top", "width", "height"),
    ("xmin", "ymin", "width", "height"),
    ("bboxx", "bboxy", "bboxw", "bboxh"),
    ("bboxx", "bboxy", "bboxwidth", "bboxheight"),
)
_MIDDLES = (
    ("cx", "cy", "w", "h"),
    ("xcenter", "ycenter", "width", "height"),
    ("centerx", "centery", "width", "height"),
)
_TEXTS = (("bbox",),)
_POINTS = (("x", "y"), ("pointx", "pointy"))
_WAYS: tuple[tuple[Way, tuple[tuple[str, ...], ...]], ...] = (
    ("corners", _CORNERS), ("middle", _MIDDLES), ("size", _SIZES), ("text", _TEXTS), ("point", _POINTS),
)  # fmt: skip
_CLASSES = ("class", "classname", "category", "categoryname", "labelname", "species", "label", "type", "name")
_SIGNS = {"0": 0, "1": 1, "2": 0, "false": 0, "true": 1}
_POINT_LABELS = ("label", "pointlabel", "ispositive", "positive", "isforeground", "foreground", "isobject")
_OBJECTS = ("object", "objectid", "instance", "instanceid")


@dataclass(frozen=True)
class _Columns:
    """Which cell of a row is what; ``identified``, whether pictures have an ``image_id``, as in Open Images."""

    name: int
    way: Way
    numbers: tuple[int, ...]
    label: int | None = None
    group: int | None = None
    point_label: int | None = None
    identified: bool = False
    size: tuple[int, int] | None = None


def read(text: str, where: str) -> Contents:
    """Reads a table, with a heading or as ``name,x0,y0,x1,y1[,class]``.

    Points of one picture and class belong to one object, unless a column ``object`` tells them apart; their labels are
    1 on the object, 0 or 2 beside it. A row whose numbers are all left out tells of a picture without objects.

    Corners count pixels. Under the heading of Open Images, where a column ``image_id`` names the pictures, they are
    fractions of the picture's size if no corner of the whole table is above 1; so it is decided at its end.

    Raises:
        DataError: A row is no such row, or the heading names no box and no point.
    """
    found = Contents("table")
    columns: _Columns | None = None
    pictures: dict[str, list[Shape]] = {}
    groups: dict[tuple[str, str, str], int] = {}
    sizes: dict[str, tuple[int, int]] = {}
    for line, row in parse_table(text, where):
        if columns is None:
            columns = _heading(row, f"{where}, line {line}")
            if columns is not None:
                continue
            columns = _Columns(0, "corners", (1, 2, 3, 4), label=5 if len(row) > 5 else None)
        try:
            name, shape, group = _row(row, columns)
            if columns.size is not None and shape is not None:
                sizes[name] = int(float(row[columns.size[0]])), int(float(row[columns.size[1]]))
        except MALFORMED:
            shown = ",".join(row)[:60]
            raise DataError(f"{where}, line {line}: expected {_expected(columns)}, found '{shown}'") from None
        shapes = pictures.setdefault(name, [])
        if shape is None:
            continue
        key = (name, shape.label, group)
        if columns.way == "point" and key in groups:
            before = shapes[groups[key]]
            shapes[groups[key]] = replace(
                before,
                points=before.points + shape.points,
                point_labels=before.point_labels + shape.point_labels,
            )
        else:
            groups[key] = len(shapes)
            shapes.append(shape)
    boxes = [shape.box for shapes in pictures.values() for shape in shapes if shape.box is not None]
    fractions = columns is not None and columns.identified and all(side <= 1 for box in boxes for side in box)
    found.pictures = [
        Described(name, sizes.get(name), tuple(shapes), fractions=fractions) for name, shapes in pictures.items()
    ]
    found.categories = numbered(shape.label for shapes in pictures.values() for shape in shapes)
    return found


def _heading(row: Sequence[str], where: str) -> _Columns | None:
    """The columns of a heading; None where the row is none."""
    if any(_is_number(cell) for cell in row):
        return None
    titles = [re.sub(r"[^a-z0-9]", "", cell.lower()) for cell in row]
    name = next((titles.index(title) for title in _NAMES if title in titles), None)
    found = next(((way, names) for way, choices in _WAYS for names in choices if set(names) <= set(titles)), None)
    if name is None or found is None:
        if name is None and len(row) > 4 and any(cell.lower().endswith(tuple(EXTENSIONS)) for cell in row):
            return None
        raise DataError(f"{where}: expected a heading such as {WANTED}, found '{','.join(row)[:80]}'")
    way, names = found
    numbers = tuple(titles.index(title) for title in names)
    used = {name, *numbers}
    label = next((titles.index(t) for t in _CLASSES if t in titles and titles.index(t) not in used), None)
    group = next((titles.index(title) for title in _OBJECTS if title in titles), None)
    size = _image_size(titles, used) if way != "size" and way != "middle" else None
    columns = _Columns(
        name, way, numbers, label, group, size=size, identified=titles[name] == "imageid" and way == "corners"
    )
    sign = next((titles.index(title) for title in _POINT_LABELS if title in titles), None)
    if way == "point" and sign is not None:
        taken = {*used, sign}
        other = next((titles.index(t) for t in _CLASSES if t in titles and titles.index(t) not in taken), None)
        columns = replace(columns, point_label=sign, label=other)
    return columns


def _image_size(titles: Sequence[str], used: set[int]) -> tuple[int, int] | None:
    for height, width in (("height", "width"), ("imageheight", "imagewidth")):
        if height in titles and width in titles and not used & {titles.index(height), titles.index(width)}:
            return titles.index(height), titles.index(width)
    return None


def _row(row: Sequence[str], columns: _Columns) -> tuple[str, Shape | None, str]:
    """Name of the picture, the object in it, None where the row has none, and the object's number."""
    name = row[columns.name]
    label = row[columns.label] if columns.label is not None and columns.label < len(row) else ""
    group = row[columns.group] if columns.group is not None else ""
    if not name or (columns.name == 0 and columns.label is None and columns.way == "corners" and len(row) < 5):
        raise ValueError("no name")
    if not any(row[index] for index in columns.numbers):
        return name, None, group
    if columns.way == "point":
        x, y = (_number(row[index]) for index in columns.numbers)
        inside = 1
        if columns.point_label is not None:
            text = row[columns.point_label]
            inside = _SIGNS[text.lower()]
        return name, Shape(label, points=((x, y),), point_labels=(inside,)), group
    return name, Shape(label, box=_box(row, columns)), group


def _box(row: Sequence[str], columns: _Columns) -> Box:
    if columns.way == "text":
        values = [_number(cell) for cell in re.split(r"[,;\s]+", row[columns.numbers[0]].strip("[]() "))]
        return box_of(values, as_size=True)
    values = [_number(row[index]) for index in columns.numbers]
    if columns.way == "middle":
        x, y, width, height = values
        return box_of([x - width / 2, y - height / 2, width, height], as_size=True)
    if columns.way == "size":
        return box_of(values, as_size=True)
    x0, y0, x1, y1 = values
    return x0, y0, x1, y1  # a reversed box is told when it is used, with its picture


def _number(cell: str) -> float:
    return float(cell.replace(",", "."))


def _is_number(cell: str) -> bool:
    try:
        _number(cell)
    except ValueError:
        return False
    return True


def _expected(columns: _Columns) -> str:
    cells = "name,x,y,label" if columns.way == "point" else "name,x0,y0,x1,y1"
    return cells if columns.size is None else f"{cells} and the picture's width and height"
