"""Sparse annotations: a few strokes, points or boxes say where the object is, and the rest of the picture says nothing.

A label map is an 8-bit PNG of the picture's size with 0 unlabelled, 1 object, 2 background, as S-COD has it. Points
and boxes come in one table for all pictures. Codes are names, not amounts: they are never resampled with interpolation,
which would make the object (1) out of every edge between background (2) and nothing (0).
"""

from __future__ import annotations

import csv
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vns_sam.errors import DataError
from vns_sam.images.opener import open_image
from vns_sam.images.read import file_digest
from vns_sam.prompts.codes import BACKGROUND, OBJECT, UNLABELLED
from vns_sam.prompts.files import PromptTable, read_prompt_file
from vns_sam.prompts.validate import make_prompts

TABLES = ("points.csv", "points.json", "boxes.csv", "boxes.json")
"""Names under which a folder of labels may hold a table."""

BOX_ROOM = 0.05
"""A box is widened by this part of its size on each side before what is outside counts as background."""

Kind = Literal["scribble", "point", "box"]

_POINT_HEADING = ["name", "x", "y", "label"]
_LABEL_HINT = "a label map holds 0 unlabelled, 1 object, 2 background; see docs/ws-sam-labels.md"


@dataclass(frozen=True)
class SparseLabel:
    """What is known of one picture.

    Attributes:
        kind: How it was given.
        codes: (H, W) uint8: 0 unlabelled, 1 object, 2 background. Points are single pixels; of boxes, what is outside
            all of them, each widened by :data:`BOX_ROOM`, is background.
        boxes: (P, 4) float32 XYXY, P = 0 where there are none.
    """

    kind: Kind
    codes: np.ndarray
    boxes: np.ndarray = field(default_factory=lambda: np.zeros((0, 4), np.float32))


def read_label_map(path: Path, shape: tuple[int, int] | None = None) -> np.ndarray:
    """Reads a label map.

    Args:
        path: A gray or palette picture; of a palette, the indices are the codes.
        shape: (H, W) of its picture, or None where that is not known.

    Returns:
        (H, W) uint8 in {0, 1, 2}.

    Raises:
        DataError: The file is missing or no picture, holds colours or other codes, or has another size.
    """
    try:
        with open_image(path) as file:
            codes = np.asarray(file)
    except FileNotFoundError:
        raise DataError(f"expected a label map at {path}, found no file there", hint=_LABEL_HINT) from None
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"expected a label map at {path}, found no picture: {error}", hint="check the file") from None
    if codes.ndim == 3:
        if np.any(codes[..., 1:3] != codes[..., :1]):
            raise DataError(f"expected the codes 0, 1 and 2 in {path}, found colours", hint=_LABEL_HINT)
        codes = codes[..., 0]
    if shape is not None and codes.shape != shape:
        sizes = [f"{width} x {height}" for height, width in (shape, codes.shape)]
        raise DataError(
            f"expected a label map of {sizes[0]} pixels at {path}, found {sizes[1]}",
            hint="draw it on the picture itself; a resized label map is no label map",
        )
    found = np.unique(codes)
    if not np.isin(found, (UNLABELLED, OBJECT, BACKGROUND)).all():
        shown = ", ".join(str(int(code)) for code in found[:6]) + (", ..." if len(found) > 6 else "")
        raise DataError(f"expected the codes 0, 1 and 2 in {path}, found {shown}", hint=_LABEL_HINT)
    return codes.astype(np.uint8)


def rasterise(
    shape: tuple[int, int], where: str, *, points: Any = None, labels: Any = None, boxes: Any = None
) -> SparseLabel:
    """Turns points, boxes or both into a label.

    Args:
        shape: (H, W) of the picture.
        where: Named in errors.
        points: (N, 2) XY, or rows of them; all belong together.
        labels: 1 object, 0 or 2 background, in the shape of the points; all 1 when omitted.
        boxes: (P, 4) XYXY.

    Raises:
        DataError: A value makes no sense in the picture, one pixel is marked as both, or an object point lies outside
            all boxes.
    """
    try:
        checked = make_prompts(*shape, points=points, labels=_as_prompt_labels(labels), boxes=boxes)
    except DataError as error:
        raise DataError(f"{where}: {error.message}", hint=error.hint) from None
    codes = np.zeros(shape, np.uint8)
    if checked.boxes is not None:
        codes[~inside_boxes(checked.boxes, shape, BOX_ROOM)] = BACKGROUND
    if checked.points is not None and checked.labels is not None:
        given = checked.labels.ravel() >= 0
        for (x, y), label in zip(checked.points.reshape(-1, 2)[given], checked.labels.ravel()[given], strict=True):
            code = OBJECT if label == 1 else BACKGROUND
            if codes[int(y), int(x)] not in (UNLABELLED, code):
                raise DataError(
                    f"{where}: the pixel {int(x)} {int(y)} is marked as object and as background",
                    hint="remove one of the two, or move the box that leaves it out",
                )
            codes[int(y), int(x)] = code
    kind: Kind = "point" if checked.boxes is None else "box"
    return SparseLabel(kind, codes, np.zeros((0, 4), np.float32) if checked.boxes is None else checked.boxes)


def inside_boxes(boxes: np.ndarray, shape: tuple[int, int], room: float = 0.0) -> np.ndarray:
    """Pixels (H, W) bool in any of the boxes (P, 4), each widened on every side by ``room`` times its size."""
    inside = np.zeros(shape, bool)
    for x0, y0, x1, y1 in boxes:
        across, down = room * (x1 - x0), room * (y1 - y0)
        left, top = max(0, int(np.floor(x0 - across))), max(0, int(np.floor(y0 - down)))
        inside[top : int(np.ceil(y1 + down)), left : int(np.ceil(x1 + across))] = True
    return inside


class SparseLabels:
    """The labels of a folder of pictures: a folder of label maps, or one table of points or boxes.

    Args:
        path: A folder with ``<name>.png`` for each picture, or with one of :data:`TABLES`; or a table itself. JSON and
            the CSV of boxes are those of prompts; a CSV of points has the heading ``name,x,y,label``.

    Raises:
        DataError: There is nothing at ``path``, or the table has another structure.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        table = next((path / name for name in TABLES if (path / name).is_file()), None) if path.is_dir() else path
        self._table = None if table is None else _read_table(table)
        if self._table is not None and table is not None:
            self.path = table

    def __contains__(self, name: str) -> bool:
        """Whether picture ``name`` has a label; whether it can be used shows when it is read."""
        if self._table is None:
            return (self.path / name).with_suffix(".png").is_file()
        return name in self._table or str(Path(name).with_suffix("")) in self._table

    def digest(self, name: str) -> str:
        """A digest of the label of picture ``name`` as it is now.

        Raises:
            DataError: It has none.
        """
        if self._table is not None:
            return hashlib.sha256(json.dumps(self._entry(name), sort_keys=True).encode()).hexdigest()[:16]
        return file_digest(self._map_path(name))[:16]

    def read(self, name: str, shape: tuple[int, int]) -> SparseLabel:
        """Reads the label of one picture.

        Args:
            name: Path of the picture, relative to its folder.
            shape: (H, W) of the picture.

        Raises:
            DataError: It has none, it contradicts itself, it is of another size, or it marks no object.
        """
        if self._table is None:
            path = self._map_path(name)
            label = SparseLabel("scribble", read_label_map(path, shape))
            where = str(path)
        else:
            where = f"{self.path}, {name}"
            label = rasterise(shape, where, **self._entry(name))
        if not len(label.boxes) and not (label.codes == OBJECT).any():
            raise DataError(f"{where}: expected at least one mark on the object, found none", hint=_LABEL_HINT)
        return label

    def _map_path(self, name: str) -> Path:
        path = (self.path / name).with_suffix(".png")
        if not path.is_file():
            raise DataError(f"expected a label map for {name} at {path}, found none", hint=_LABEL_HINT)
        return path

    def _entry(self, name: str) -> dict[str, Any]:
        table = self._table or {}
        entry = table.get(name) or table.get(str(Path(name).with_suffix("")))
        if entry is None:
            raise DataError(f"expected a label for {name} in {self.path}, found none", hint="add it to the table")
        return entry


def write_points(points: dict[str, list[tuple[int, int, int]]]) -> str:
    """The CSV of points: by picture, (x, y, label) with 1 object and 0 background."""
    rows = [",".join(_POINT_HEADING)]
    rows += [f"{name},{x},{y},{label}" for name, marks in points.items() for x, y, label in marks]
    return "\n".join(rows) + "\n"


def write_boxes(boxes: dict[str, list[tuple[float, ...]]]) -> str:
    """The CSV of boxes: by picture, XYXY."""
    rows = ["name,x0,y0,x1,y1"]
    rows += [f"{name},{','.join(f'{side:g}' for side in box)}" for name, some in boxes.items() for box in some]
    return "\n".join(rows) + "\n"


def _read_table(path: Path) -> PromptTable:
    if path.suffix.lower() == ".csv" and path.is_file():
        try:
            rows = list(csv.reader(path.read_text(encoding="utf-8-sig").splitlines()))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise DataError(f"expected a table at {path}: {error}", hint=_LABEL_HINT) from None
        if rows and [cell.strip().lower() for cell in rows[0]] == _POINT_HEADING:
            return _point_rows(path, rows[1:])
    return read_prompt_file(path)


def _point_rows(path: Path, rows: list[list[str]]) -> PromptTable:
    table: PromptTable = {}
    for number, row in enumerate(rows, start=2):
        if not row:
            continue
        try:
            name, x, y, label = (cell.strip() for cell in row)
            point, code = [float(x), float(y)], int(label)
        except ValueError:
            raise DataError(f"{path}, line {number}: expected name,x,y,label, found '{','.join(row)[:60]}'") from None
        entry = table.setdefault(name, {"points": [[]], "labels": [[]]})
        entry["points"][0].append(point)
        entry["labels"][0].append(code)
    return table


def _as_prompt_labels(labels: Any) -> Any:
    """Labels with background as 0: tables may also use the code of label maps, 2."""
    if isinstance(labels, list | tuple):
        return [_as_prompt_labels(label) for label in labels]
    return 0 if labels == BACKGROUND else labels
