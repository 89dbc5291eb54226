"""Sparse annotations: a few strokes, points or boxes say where the object is, and the rest of the picture says nothing.

A label map is an 8-bit PNG of the picture's size with 0 unlabelled, 1 object, 2 background, as S-COD has it. Points
and boxes come in one table for all pictures. Codes are names, not amounts: they are never resampled with interpolation,
which would make the object (1) out of every edge between background (2) and nothing (0).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vns_sam.data.label_files import Marks, draw_marks, marks_of, upright_marks
from vns_sam.data.label_maps import HINT, ColourCount, Colours, read_label_map
from vns_sam.data.map_files import MapFiles
from vns_sam.errors import DataError
from vns_sam.formats.recognise import KNOWN, SUFFIXES, is_known, read_file, read_within
from vns_sam.formats.text import decode, format_table, parse_json, read_bytes
from vns_sam.formats.yolo import CLASS_FILES
from vns_sam.images.find import find_images
from vns_sam.images.names import NameIndex
from vns_sam.images.read import file_digest
from vns_sam.prompts.codes import BACKGROUND, OBJECT, UNLABELLED
from vns_sam.prompts.files import house_table
from vns_sam.prompts.validate import check_sizes, make_prompts

TABLES = ("points.csv", "points.json", "boxes.csv", "boxes.json")
"""Names under which a folder of labels may hold a table."""

BOX_ROOM = 0.05
"""A box is widened by this part of its size on each side before what is outside counts as background."""

Kind = Literal["scribble", "point", "box"]

_SHOWN = 3  # names in one line
_WHAT = "table of labels"
# what folders among labels are called that tell no picture
_TOOLS = {"coco", "cvat", "label-studio", "labelme", "labelstudio", "voc", "yolo"}
_FORMS = {"ann", "annotations", "boxes", "csv", "json", "labels", "points", "scribbles", "strokes", "txt", "xml"}
_POINT_HEADING = ("name", "x", "y", "label")
_BOX_HEADING = ("name", "x0", "y0", "x1", "y1")


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


def rasterise(
    shape: tuple[int, int],
    where: str,
    *,
    points: Any = None,
    labels: Any = None,
    boxes: Any = None,
    fractions: bool = False,
    outside: bool = True,
) -> SparseLabel:
    """Turns points, boxes or both into a label.

    Args:
        shape: (H, W) of the picture.
        where: Named in errors.
        points: (N, 2) XY, or rows of them; all belong together.
        labels: 1 object, 0 or 2 background, in the shape of the points; all 1 when omitted.
        boxes: (P, 4) XYXY.
        fractions: Whether points and boxes are fractions of the picture's size.
        outside: Whether what lies outside of all boxes is background.

    Raises:
        DataError: A value makes no sense in the picture, one pixel is marked as both, or an object point lies outside
            all boxes.
    """
    try:
        labels = _as_prompt_labels(labels)
        checked = make_prompts(*shape, points=points, labels=labels, boxes=boxes, fractions=fractions)
    except DataError as error:
        raise DataError(f"{where}: {error.message}", hint=error.hint) from None
    codes = np.zeros(shape, np.uint8)
    if checked.boxes is not None and outside:
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
    """The labels of a folder of pictures: label maps, marks of other tools, tables of points or boxes, or all of them.

    Args:
        path: A folder with a map for each picture, named as the picture, with one of :data:`TABLES`, with files of
            another tool, or with several of these, which are then used together; or one file: a table, or an export of
            another tool (see :func:`vns_sam.formats.recognise.read_file`).
        colours: What the colours of maps mean, where they are not understood by themselves.

    Attributes:
        path: The folder, or the file, as it was given: with ``colours`` it makes the same labels again.
        colours: As they were given.
        count: How often they were found in the maps that have been read.
        problems: One line for each thing in the files that cannot be used.

    Raises:
        DataError: There is nothing at ``path``, no map and no mark, or a file has another structure.
    """

    def __init__(self, path: Path, colours: Colours | None = None) -> None:
        self.path, self.colours, self.count = path, colours, ColourCount(colours or {})
        self.problems: list[str] = []
        self._maps = MapFiles(path)
        self._folder: Path | None = None
        self._marks: dict[str, Marks] = {}
        if path.is_dir():
            self._read_folder()
        else:
            self._add(_read_marks(path, self.problems))
        if not self._maps and not any(self._marks.values()):
            more = f"; {self.problems[0]}" if self.problems else ""
            raise DataError(f"{path} holds no marks{more}", hint="see docs/ws-sam-labels.md")

    def _read_folder(self) -> None:
        """Reads tables and what other tools have written."""
        tables = [self.path / name for name in TABLES if (self.path / name).is_file()]
        for table in tables:
            self._add(_read_marks(table, self.problems))
        files = [file for file in _others_in(self.path) if file not in tables]
        errors: list[DataError] = []
        for file in files:
            try:
                self._add(_read_marks(file, self.problems, self.path))
            except DataError as error:
                errors.append(error)
        self.problems += [f"not used: {error.message}" for error in errors]
        if not self._maps and not tables and len(errors) == len(files):
            hint = f"known are {KNOWN}"
            raise errors[0] if errors else DataError(f"{self.path} holds no annotations, expected a {_WHAT}", hint=hint)

    def _add(self, found: dict[str, Marks]) -> None:
        """Takes the marks of a file beside those that are known."""
        for name, marks in found.items():
            self._take(self._marks, name, marks)

    def _take(self, known: dict[str, Marks], name: str, marks: Marks) -> None:
        """Adds marks of a picture to those that are known of it; what cannot be joined is told."""
        mine = known.setdefault(name, {})
        if mine and bool(mine.get("fractions")) != bool(marks.get("fractions")):
            self.problems.append(f"not used: marks for {name} in pixels and in fractions")
        else:
            _join(mine, marks)

    def __contains__(self, name: str) -> bool:
        """Whether picture ``name`` has a label; whether it can be used shows when it is read."""
        return self._maps.find(name, self._folder) is not None or self._entry(name) is not None

    @property
    def names(self) -> list[str]:
        """What the labels are called: names in files, and stems of maps."""
        return [*self._marks, *self._maps]

    def follow(self, folder: Path, names: Sequence[str]) -> None:
        """Finds the pictures of a folder in the files by the rule of :class:`vns_sam.images.names.NameIndex`.

        A folder among the labels that is called after a tool or what it holds, ``json/``, is no folder of pictures.
        A picture that lies among the labels, as labelme has it, is no label map of itself.
        """
        self._folder = folder
        found, lost = _match(folder, names, self._marks)
        matched: dict[str, Marks] = {}
        for key, name in found.items():
            self._take(matched, name, self._marks[key])
        self._marks = matched
        if lost or self._maps.without_picture(folder, names):
            everyone = find_images(folder)  # others than the asked ones have labels, too
            lost = [*_match(folder, everyone, lost)[1], *self._maps.without_picture(folder, everyone)]
        if lost:
            some = ", ".join(lost[:_SHOWN]) + (", ..." if len(lost) > _SHOWN else "")
            self.problems.append(f"labels of no picture in {folder}, {len(lost)}: {some}")

    def digest(self, name: str) -> str:
        """A digest of the label of picture ``name`` as it is now.

        Raises:
            DataError: It has none.
        """
        path, marks = self._known(name)
        parts = [] if path is None else [file_digest(path)[:16]]
        if marks is not None:
            parts.append(hashlib.sha256(json.dumps(marks, sort_keys=True).encode()).hexdigest()[:16])
        return parts[0] if len(parts) == 1 else hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]

    def read(
        self, name: str, shape: tuple[int, int], *, picture: Path | None = None, outside: bool = True
    ) -> SparseLabel:
        """Reads the label of one picture.

        Args:
            name: Path of the picture, relative to its folder.
            shape: (H, W) of the picture.
            picture: Its file; None where EXIF does not turn it.
            outside: Whether what lies outside of all boxes is background.

        Raises:
            DataError: It has none, it contradicts itself, it is of another size, or it marks no object.
        """
        path, marks = self._known(name)
        where = str(path) if marks is None else f"{self.path}, {name}"
        drawn = np.zeros(shape, np.uint8) if path is None else read_label_map(path, shape, self.colours, self.count)
        kind: Kind = "scribble"
        boxes = np.zeros((0, 4), np.float32)
        codes = drawn
        if marks is not None:
            marks = upright_marks(marks, picture)
            check_sizes(marks.get("sizes", ()), *shape, where)
            if "lines" in marks or "areas" in marks:
                more, problems = draw_marks(marks, shape)
                self.problems += [f"{where}: {problem}" for problem in problems]
                drawn = np.where(more != UNLABELLED, more, drawn)
            placed = {key: marks[key] for key in ("points", "labels", "boxes", "fractions") if key in marks}
            codes = drawn
            if "points" in placed or "boxes" in placed:
                label = rasterise(shape, where, **placed, outside=outside)
                codes, boxes = np.where(drawn != UNLABELLED, drawn, label.codes), label.boxes
                kind = label.kind if not drawn.any() else "box" if len(boxes) else "scribble"
        if not len(boxes) and not (codes == OBJECT).any():
            raise DataError(f"{where}: expected at least one mark on the object, found none", hint=HINT)
        return SparseLabel(kind, codes.astype(np.uint8), boxes)

    def _known(self, name: str) -> tuple[Path | None, Marks | None]:
        path, marks = self._maps.find(name, self._folder), self._entry(name)
        if path is None and marks is None:
            if not self._maps:
                raise DataError(f"expected a label for {name} in {self.path}, found none", hint="add it there")
            if self._maps.name_tasks():
                raise DataError(
                    f"expected a label map for {name}, found masks of Label Studio, which name tasks and no pictures",
                    hint="export as JSON, which has both",
                )
            expected = (self.path / name).with_suffix(".png")
            raise DataError(f"expected a label map for {name} at {expected}, found none", hint=HINT)
        return path, marks

    def _entry(self, name: str) -> Marks | None:
        return self._marks.get(name) or self._marks.get(str(Path(name).with_suffix("")))


def _others_in(folder: Path) -> list[Path]:
    """Files in which other tools may keep marks, sorted by their endings and names."""
    order = (*SUFFIXES, ".txt")
    files = [path for path in folder.rglob("*") if path.suffix.lower() in order and path.is_file()]
    files = [path for path in files if path.name not in CLASS_FILES and not path.name.startswith(".")]
    return sorted(files, key=lambda path: (order.index(path.suffix.lower()), path))


def _match(folder: Path, names: Sequence[str], keys: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """Pictures by key, and the keys without one; these are asked again without a first folder that tells no picture."""
    index = NameIndex(folder, names)
    found, lost = index.match_all(keys)
    parts = {key: key.partition("/") for key in lost}
    told = {first for first, *_ in parts.values() if first.lower() in _TOOLS | _FORMS}
    apart = {first for first in told if not (folder / first).is_dir()}
    within = {key: rest for key, (first, _, rest) in parts.items() if first in apart}
    again, _ = index.match_all([*found, *within.values()])
    found |= {key: again[rest] for key, rest in within.items() if rest in again}
    return found, [key for key in lost if key not in found]


def _read_marks(path: Path, problems: list[str], folder: Path | None = None) -> dict[str, Marks]:
    """The marks of a table in the house's form, or of what another tool has written, within a folder or by itself."""
    if path.suffix.lower() == ".json" and path.is_file():
        where = str(path)
        raw = parse_json(decode(read_bytes(path, _WHAT), where), where)
        if not is_known(raw):
            entries = house_table(path, raw).entries
            return {name: {key: v for key, v in entry.items() if key != "classes"} for name, entry in entries.items()}
    contents = read_file(path, _WHAT) if folder is None else read_within(folder, path, _WHAT)
    problems += contents.problems
    return marks_of(contents)


def _join(marks: Marks, more: Marks) -> None:
    """Adds marks of one picture; all points of a picture are one row."""
    for key, value in more.items():
        if key in ("points", "labels") and key in marks:
            marks[key] = [[*marks[key][0], *value[0]]] if len(marks[key]) == len(value) == 1 else [*marks[key], *value]
        elif isinstance(value, list) and key in marks:
            marks[key] = [*marks[key], *value]
        else:
            marks[key] = value


def write_points(points: dict[str, list[tuple[int, int, int]]]) -> str:
    """The CSV of points: by picture, (x, y, label) with 1 object and 0 background."""
    return format_table(_POINT_HEADING, ((name, *mark) for name, marks in points.items() for mark in marks))


def write_boxes(boxes: dict[str, list[tuple[float, ...]]]) -> str:
    """The CSV of boxes: by picture, XYXY."""
    rows = ((name, *(f"{side:g}" for side in box)) for name, some in boxes.items() for box in some)
    return format_table(_BOX_HEADING, rows)


def _as_prompt_labels(labels: Any) -> Any:
    """Labels with background as 0: tables may also use the code of label maps, 2."""
    if isinstance(labels, list | tuple):
        return [_as_prompt_labels(label) for label in labels]
    return 0 if labels == BACKGROUND else labels
