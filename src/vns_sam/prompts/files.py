"""Prompts of many pictures in one file or folder: the house's JSON and tables, and what other tools export."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vns_sam.errors import DataError
from vns_sam.formats.annotation import Box, Contents, Described, Shape
from vns_sam.formats.drawing import BROKEN
from vns_sam.formats.png import read_masks
from vns_sam.formats.recognise import describe, from_json, is_known, masks_in, read_annotations, read_folder
from vns_sam.formats.rle import decode_rle
from vns_sam.formats.text import decode, parse_json, read_bytes
from vns_sam.images.find import EXTENSIONS
from vns_sam.images.names import NameIndex
from vns_sam.images.read import file_digest, must_turn, turn_boxes
from vns_sam.images.windows import extent

FIELDS = ("boxes", "points", "labels", "classes")

Entry = dict[str, Any]
"""Keyword arguments of :func:`vns_sam.prompts.validate.make_prompts` for one picture."""

_BESIDE = re.compile(r"_overlay$|_candidate_\d+$")  # results that are no masks to go on with
_TASK = re.compile(r"task-\d+-annotation-\d+-by-\d+-tag-")  # Label Studio's names
_KINDS = ("mask", "", "indexed", "alpha", "cutout")  # of files with a picture's masks; "": named as it is; best first
_RESULT = re.compile(r"_(mask|cutout|indexed|alpha)(?:_(\d+))?$")  # what results are called after their picture


class _Result(NamedTuple):
    """A file of a folder of masks, as its name tells it.

    Attributes:
        picture: Its picture, without ending.
        kind: Its place in ``_KINDS``.
        number: Of the object in it, -1 where the file holds all.
        path: The file.
    """

    picture: str
    kind: int
    number: int
    path: Path

    @classmethod
    def of(cls, path: Path, folder: Path) -> _Result:
        """What the name of a file in a folder tells."""
        name = path.relative_to(folder).with_suffix("")
        ending = _RESULT.search(name.name)
        if ending is None:
            return cls(name.as_posix(), _KINDS.index(""), -1, path)
        picture = name.with_name(name.name[: ending.start()]).as_posix()
        return cls(picture, _KINDS.index(ending[1]), int(ending[2] or -1), path)


class MaskFile(NamedTuple):
    """A coarse mask on disk.

    Attributes:
        path: Its file.
        digest: Of its content, so that a run knows when it has changed.
        index: Which of the objects in it.
    """

    path: str
    digest: str
    index: int  # type: ignore[assignment]  # a field, not the method of tuples


@dataclass
class PromptTable:
    """What a file of prompts asks for.

    Attributes:
        kind: What the file is ("COCO file").
        source: The file or folder.
        entries: By name of the picture, as the file has it; "" where it is about a single one and does not name it.
        without: Names of pictures of which the file tells that they hold no object.
        categories: Classes by number.
        problems: One line for each thing that could not be used.
        parts: By name, what entries were joined of, each with the (H, W) of its picture where its boxes may count
            pixels as they are stored, before EXIF turns them, else None. An entry that is not here is upright.
    """

    kind: str
    source: Path
    entries: dict[str, Entry] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    categories: dict[int, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    parts: dict[str, list[tuple[Entry, tuple[int, int] | None]]] = field(default_factory=dict)

    def in_folder(self, folder: Path, names: Sequence[str]) -> Matched:
        """Which pictures of a folder are asked about, see :class:`vns_sam.images.names.NameIndex`.

        Their boxes are upright, see :func:`vns_sam.images.read.must_turn`. A file without names is about the picture
        that is called as it is.

        Raises:
            DataError: No picture is called so.
        """
        index = NameIndex(folder, names)
        found, lost = index.match_all(self.entries)
        if set(self.entries) == {""}:
            stem = _Result.of(self.source, self.source.parent).picture
            name = index.match(stem)
            if name is None:
                raise DataError(
                    f"{self.source} names no picture, and none in {folder} is called {stem}",
                    hint="call the file as its picture, or give that picture alone",
                )
            found, lost = {"": name}, []
        prompts: dict[str, Entry] = {}
        for key, name in found.items():
            entry, before = self._upright(key, folder / name), prompts.get(name)
            prompts[name] = entry if before is None else _joined(before, entry, name)
        return Matched(prompts, tuple(lost), tuple(name for name in names if name not in prompts))

    def for_picture(self, path: Path) -> Entry | None:
        """What is asked of one picture; a file about a single picture without a name is about this one."""
        if set(self.entries) == {""}:
            return self._upright("", path)
        return self.in_folder(path.parent, [path.name]).prompts.get(path.name)

    def is_without(self, folder: Path, names: Sequence[str]) -> bool:
        """Whether the file tells of a picture among those of a folder that it holds no object."""
        return bool(NameIndex(folder, names).match_all(self.without)[0])

    def _upright(self, key: str, path: Path) -> Entry:
        """What is asked of a picture, as EXIF turns it."""
        parts = self.parts.get(key, [(self.entries[key], None)])
        return _all_joined([_turned(entry, size, path) for entry, size in parts], key)


class Matched(NamedTuple):
    """Prompts and pictures of a folder brought together.

    Attributes:
        prompts: By picture, relative to the folder.
        lost: Names in the file that no picture has.
        unasked: Pictures that the file does not ask about.
    """

    prompts: dict[str, Entry]
    lost: tuple[str, ...]
    unasked: tuple[str, ...]


def read_prompt_file(path: str | Path) -> PromptTable:
    """Reads prompts by picture; their values are judged later, against each picture.

    JSON: ``{"a.jpg": {"boxes": [[x0, y0, x1, y1]], "points": [[[x, y]]], "labels": [[1]], "classes": ["frog"]}}``.
    Tables: see :mod:`vns_sam.formats.tables`. COCO, YOLO, VOC, labelme, CVAT, Label Studio and GeoJSON are told by what
    they hold; polygons and masks in them are asked about by the box around them. Pictures in a folder of their own, or
    a single one, are coarse masks.

    Raises:
        DataError: It is missing, of no known kind, or has another structure; what was found, and where, is told.
    """
    path = Path(path)
    if path.suffix.lower() in EXTENSIONS and path.is_file():
        return PromptTable("mask", path, {"": {"masks": _mask_files(path)}})
    if path.is_dir():
        masks = [] if (path / "labels").is_dir() else [mask for mask in masks_in(path) if not _BESIDE.search(mask.stem)]
        if masks:
            return _from_masks(path, masks)
        table = _from_contents(read_folder(path, "prompts file"), path)
    elif path.suffix.lower() == ".json":
        content = read_bytes(path, "prompts file")
        raw = parse_json(decode(content, str(path)), str(path), hint="name it .csv if it holds name,x0,y0,x1,y1")
        table = _from_contents(from_json(content, raw, str(path)), path) if is_known(raw) else house_table(path, raw)
    else:
        table = _from_contents(read_annotations(path, "prompts file"), path)
    if not table.entries and not table.without:
        more = f"; {table.problems[0]}" if table.problems else ""
        raise DataError(f"{path} holds no prompts{more}", hint="see: vns-sam segment --help")
    return table


def house_table(path: Path, raw: Any) -> PromptTable:
    """Prompts in the house's own JSON, as it is described at :func:`read_prompt_file`.

    Args:
        path: Where it is from, for messages.
        raw: The JSON value.

    Raises:
        DataError: It has another structure.
    """
    if not isinstance(raw, dict):
        raise DataError(f"{path} must map names of pictures to prompts, found {describe(raw)}")
    for name, prompts in raw.items():
        unknown = set(prompts) - set(FIELDS) if isinstance(prompts, dict) else {str(prompts)[:40]}
        if unknown or not prompts:
            found_keys = ", ".join(sorted(unknown)) or "nothing"
            raise DataError(
                f"{path}: '{name}' must hold some of {', '.join(FIELDS)}, found {found_keys}",
                hint=f"this is {describe(raw)}; see: vns-sam segment --help",
            )
    names = {str(label) for entry in raw.values() for label in _as_list(entry.get("classes"))}
    asked = {name: entry for name, entry in raw.items() if any(value not in (None, []) for value in entry.values())}
    without = tuple(name for name in raw if name not in asked)
    return PromptTable("prompts file", path, asked, without, dict(enumerate(sorted(names - {""}), 1)))


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _from_contents(contents: Contents, path: Path) -> PromptTable:
    """Boxes where there are any, else points."""
    table = PromptTable(contents.kind, path, categories=_from_one(contents), problems=contents.problems)
    unnamed = path.stem if any(picture.name for picture in contents.pictures) else ""
    for picture in contents.pictures:
        entry = _entry(picture, table.problems)
        if entry is not None:
            size = picture.size if picture.stored else None
            if picture.size is not None and not picture.fractions:
                entry["sizes"] = [list(picture.size)]
            table.parts.setdefault(picture.name or unnamed, []).append((entry, size))
    table.entries = {name: _all_joined([entry for entry, _ in parts], name) for name, parts in table.parts.items()}
    marked = {picture.name for picture in contents.pictures if picture.shapes}
    names = dict.fromkeys(picture.name for picture in contents.pictures)
    table.without = tuple(name for name in names if name and name not in marked)
    if not table.entries and (marked or table.problems or not table.without):
        what = "boxes or points" if marked else "objects"
        more = f"; {table.problems[0]}" if table.problems else ""
        raise DataError(f"{path} is a {contents.kind} without {what}{more}", hint="see: vns-sam segment --help")
    return table


def _from_one(contents: Contents) -> dict[int, str]:
    """Classes by numbers from 1 on: those of YOLO, which begin at 0, move up by one."""
    shift = 1 if "YOLO" in contents.kind else 0
    return {number + shift: name for number, name in contents.categories.items()}


def _entry(picture: Described, problems: list[str]) -> Entry | None:
    boxed = [(shape, bounds) for shape in picture.shapes if (bounds := _bounds(shape)) is not None]
    pointed = [shape for shape in picture.shapes if shape.points and _bounds(shape) is None]
    entry: Entry = {}
    if boxed:
        entry["boxes"] = [list(bounds) for _, bounds in boxed]
        labels = [shape.label for shape, _ in boxed]
        if pointed:
            problems.append(f"{picture.name}: {len(pointed)} objects given by points beside boxes are left out")
    elif any(1 in shape.point_labels for shape in pointed):
        objects = [shape for shape in pointed if 1 in shape.point_labels]
        beside = [point for shape in pointed if shape not in objects for point in shape.points]
        entry["points"] = [[list(point) for point in (*shape.points, *beside)] for shape in objects]
        entry["labels"] = [[*shape.point_labels, *(0 for _ in beside)] for shape in objects]
        labels = [shape.label for shape in objects]
    elif pointed:
        entry["points"] = [[list(point) for shape in pointed for point in shape.points]]
        entry["labels"] = [[label for shape in pointed for label in shape.point_labels]]
        labels = [pointed[0].label]
    else:
        return None
    if any(labels):
        entry["classes"] = labels
    if picture.fractions:
        entry["fractions"] = True
    return entry


def _bounds(shape: Shape) -> Box | None:
    """The box of a shape, drawn from its outline where the file has none."""
    known = shape.bounds()
    if known is not None or not isinstance(shape.outline, Mapping):
        return known
    try:
        mask = decode_rle(shape.outline)
    except BROKEN:
        return None
    box = extent(mask)
    return None if box is None else (float(box[0]), float(box[1]), float(box[2]), float(box[3]))


def _from_masks(folder: Path, masks: Sequence[Path]) -> PromptTable:
    """Coarse masks, each named as its picture or as a result of it: ``frog.png``, ``frog_mask_1.png``.

    Where a run has left the masks of a picture in several kinds of files, only the first of ``_KINDS`` is read. Masks
    are in the order of their numbers.
    """
    table = PromptTable("folder of masks", folder)
    if all(_TASK.match(path.stem) for path in masks):
        raise DataError(
            f"{folder} is an export of Label Studio's brushes as PNG, whose names tell tasks and no pictures",
            hint="export the project as JSON: it holds the same brushes with the names",
        )
    kinds: dict[str, int] = {}
    for picture, kind, _, path in sorted(_Result.of(path, folder) for path in masks):
        if kinds.setdefault(picture, kind) != kind:
            continue
        try:
            table.entries.setdefault(picture, {"masks": []})["masks"].extend(_mask_files(path))
        except DataError as error:
            table.problems.append(error.message)
    table.entries = {key: entry for key, entry in table.entries.items() if entry["masks"]}
    return table


def _mask_files(path: Path) -> list[MaskFile]:
    """The objects of a file of masks."""
    digest = file_digest(path)
    return [MaskFile(str(path), digest, index) for index in range(len(read_masks(path)))]


def _turned(entry: Entry, size: tuple[int, int] | None, path: Path) -> Entry:
    """An entry, upright and without its size where its boxes count the stored pixels of the picture at ``path``."""
    if size is None or "boxes" not in entry or not must_turn(size, path):
        return entry
    turned = turn_boxes(np.asarray(entry["boxes"], float), path).tolist()
    return {**{key: value for key, value in entry.items() if key != "sizes"}, "boxes": turned}


def _all_joined(entries: Sequence[Entry], name: str) -> Entry:
    """The entries of one picture as one; there is at least one."""
    return reduce(lambda first, second: _joined(first, second, name), entries)


def _joined(first: Entry, second: Entry, name: str) -> Entry:
    """Two entries of one picture as one."""
    mine, other = (set(entry) - {"sizes"} for entry in (first, second))
    if mine != other:
        kinds = "; ".join(", ".join(sorted(keys)) for keys in (mine, other))
        raise DataError(f"prompts of two kinds for {name}: {kinds}", hint="give all objects in one way")
    keys = {**first, **second}
    return {key: keys[key] if keys[key] is True else [*first.get(key, ()), *second.get(key, ())] for key in keys}
