"""YOLO: ``images/a/b.jpg``, ``labels/a/b.txt`` with ``class x y x y ...`` in fractions of the size, ``data.yaml``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from vns_sam.errors import DataError
from vns_sam.formats.annotation import Contents, Described, Shape, corners_of
from vns_sam.formats.polygons import join_rings
from vns_sam.formats.result import Files, Result, each_object
from vns_sam.formats.text import read_text
from vns_sam.images.find import EXTENSIONS
from vns_sam.images.write import encode_image

NAME = "yolo"
ENDING = "_mask.txt"
NUMBERED = True
SET = "data.yaml"

READABLE = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
"""Endings of pictures that the trainer takes; others are written as PNG."""

CLASS_FILES = ("data.yaml", "dataset.yaml", "classes.txt", "obj.names")
_ROUNDING = 1e-3  # how far a fraction may lie outside the picture
_SPLIT = re.compile(r"train|val|test")


def split_of(folder: str) -> str:
    """``train`` for ``train2017``, ``val`` for ``valid``, "" for other names."""
    match = _SPLIT.match(folder)
    return match.group() if match else ""


@dataclass(frozen=True)
class SetFile:
    """What the file beside labels tells of them (``data.yaml``, or a list of names).

    Attributes:
        classes: By number.
        key_points: How many values the key points of one object take (labels of poses), 0 where it has none.
    """

    classes: Mapping[int, str] = field(default_factory=dict)
    key_points: int = 0


def read_labels(text: str, where: str, told: SetFile) -> tuple[tuple[Shape, ...], list[str]]:
    """The objects of one file: polygons, and boxes ``class x y width height [key points]`` by their middle.

    A detector's confidence may follow, after that of a box the number of its track.

    Returns:
        The shapes, in fractions of the picture, and one line for each line that cannot be used.
    """
    shapes, problems = [], []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words:
            continue
        try:
            shapes.append(_shape(words, told, f"{where}, line {number}"))
        except ValueError as error:
            problems.append(f"{where}, line {number}: {error}")
    return tuple(shapes), problems


def _shape(words: Sequence[str], told: SetFile, mark: str) -> Shape:
    values = np.array([float(word) for word in words[1:]])
    category = int(words[0])
    label = told.classes.get(category, str(category))
    extra = values.size - 4
    if extra in (0, 1) or (told.key_points and extra - told.key_points in (0, 1)) or _is_track(values):
        x, y, width, height = values[:4].tolist()
        box = np.array([x - width / 2, y - height / 2, x + width / 2, y + height / 2])
        _check_fractions(box)
        x0, y0, x1, y1 = box.clip(0, 1).tolist()
        what = "a box and key points" if told.key_points and extra > 2 else "four numbers are a box"
        fault = f"{what}, expected a polygon of three corners or more"
        return Shape(label, category, (x0, y0, x1, y1), mark=mark, fault=fault)
    if extra > 2 and extra % 2:
        if extra % 3 == 0 and np.isin(values[6::3], (0, 1, 2)).all():
            raise ValueError("a box and key points, expected 'kpt_shape' in data.yaml beside them")
        _check_fractions(values[-1:])
        values = values[:-1]
    corners = corners_of(values)
    _check_fractions(corners)
    return Shape(label, category, outline=(corners.clip(0, 1),), mark=mark)


def _is_track(values: np.ndarray) -> bool:
    """Whether six values are a box, a confidence and the number of a track. A triangle that ends at the lower edge of
    the picture can read alike, which tools hardly write.
    """
    if values.size != 6 or values[5] < 1 or values[5] % 1:
        return False
    sides = values[2:4] / 2
    return bool(np.all(values[:2] >= sides - _ROUNDING) and np.all(values[:2] + sides <= 1 + _ROUNDING))


def _check_fractions(values: np.ndarray) -> None:
    if not np.isfinite(values).all():
        raise ValueError("coordinates that are not finite")
    if values.min() < -_ROUNDING or values.max() > 1 + _ROUNDING:
        raise ValueError(f"coordinates from {values.min():g} to {values.max():g}, expected 0 to 1")


def read_set_file(labels: Path) -> SetFile:
    """Reads the first of :data:`CLASS_FILES` in a folder of labels or above it; nothing is told where there is none.

    A set with a folder for each split, ``train/labels/`` or ``labels/train/``, has the file above its splits.

    Raises:
        DataError: The file is no list of classes, or its ``kpt_shape`` is none.
    """
    above, top = labels.parent, labels.parent.parent
    is_part = split_of(above.name) or above.name == "labels"
    folders = (labels, above, *((top,) if is_part else ()))
    path = next((f / name for f in folders for name in CLASS_FILES if (f / name).is_file()), None)
    if path is None:
        return SetFile()
    text = read_text(path, "list of classes")
    if path.suffix != ".yaml":
        return SetFile(dict(enumerate(line.strip() for line in text.splitlines() if line.strip())))
    import yaml  # most commands write or read no classes

    try:
        raw = yaml.safe_load(text)
        names: Any = raw["names"]
        pairs = names.items() if isinstance(names, dict) else enumerate(names)
        classes = {int(number): str(name) for number, name in pairs}
    except (yaml.YAMLError, KeyError, TypeError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"expected 'names' of the classes in {path}, found {reason}") from None
    return SetFile(classes, _key_points(raw, path))


def _key_points(raw: Mapping[str, Any], path: Path) -> int:
    """Values of the key points of one object: of each x and y, and with three of them whether it can be seen."""
    shape = raw.get("kpt_shape")
    if shape is None:
        return 0
    match shape:
        case [int(number), 2 | 3 as values] if number > 0:
            return number * int(values)
    raise DataError(
        f"expected 'kpt_shape' in {path} to be a number of key points and 2 or 3 values of each, found {shape}",
        hint="kpt_shape: [17, 3]",
    )


def read(labels: Path) -> Contents:
    """Reads a folder of labels; pictures are named without ending, as the files are.

    Raises:
        DataError: The file of the set is broken.
    """
    told = read_set_file(labels)
    found = Contents("folder of YOLO labels", categories=dict(told.classes))
    for file in sorted(labels.rglob("*.txt")):
        if file.name in CLASS_FILES:
            continue
        name = file.relative_to(labels).with_suffix("").as_posix()
        try:
            shapes, problems = read_labels(read_text(file, "file of labels"), str(file), told)
        except DataError as error:
            found.problems.append(error.message)
            continue
        found.problems += problems
        found.pictures.append(Described(name, None, shapes, fractions=True))
    used = {shape.category: shape.label for picture in found.pictures for shape in picture.shapes}
    numbers = [number for number in used if number is not None]
    for number in range(max(numbers, default=-1) + 1):
        found.categories.setdefault(number, str(number))
    return found


def picture_of(file: Path, folder: Path) -> str:
    """The picture, without ending, that a file of labels in a folder is about: ``a/b`` for ``labels/a/b.txt``, and
    ``train/images/b`` for ``train/labels/b.txt``.
    """
    parts = file.relative_to(folder).with_suffix("").parts
    if len(parts) > 1 and parts[0] == "labels":
        parts = parts[1:]
    elif len(parts) > 2 and parts[1] == "labels" and split_of(parts[0]):
        parts = (parts[0], "images", *parts[2:])
    return "/".join(parts)


def split_folders(folder: Path) -> list[Path]:
    """The folders with ``labels/`` in a folder that are named by their splits: ``train/``, ``valid/``."""
    labels = (path for path in sorted(folder.glob("*/labels")) if path.is_dir())
    return [path.parent for path in labels if split_of(path.parent.name)]


def find_pictures(images: Path) -> list[Path]:
    """All pictures below a folder."""
    return sorted(path for path in images.rglob("*") if path.suffix.lower() in EXTENSIONS)


def to_text(result: Result) -> str:
    """One line for each object that is not empty: its class from 0 on, then one polygon.

    Parts and holes are tied into the one polygon by bridges of no width.
    """
    height, width = result.size
    ranks = {number: rank for rank, number in enumerate(sorted(result.categories))}
    lines = []
    for number, parts in zip(result.numbers, result.parts, strict=True):
        rings = [ring for part in parts for ring in part]
        if rings:
            corners = join_rings(rings) / [width, height]
            lines.append(f"{ranks[number]} " + " ".join(f"{value:.6f}" for value in corners.ravel()))
    return "".join(line + "\n" for line in lines)


def encode(result: Result, paths: Sequence[str]) -> Files:
    """The labels, and in a set the picture as well: its file as it is, or a PNG, which is then called so."""
    files: Files = {paths[0]: to_text(result).encode()}
    for path in map(PurePosixPath, paths[1:]):
        if result.source is not None and path.suffix == result.source.suffix:
            files[str(path)] = result.source
        elif result.pixels is not None:
            files[str(path.with_suffix(".png"))] = encode_image(result.pixels)
    return files


def plan(stem: str, name: str, objects: int) -> list[str]:
    """Names of the files of one picture on its own."""
    return each_object(stem, ENDING, 1)


def plan_in_set(stem: str, name: str, objects: int) -> list[str]:
    """Names of the files of one picture of a set: its labels and itself."""
    inner = PurePosixPath(*(f"{part}_" if part in ("images", "labels") else part for part in stem.split("/")))
    ending = PurePosixPath(name).suffix
    return [f"labels/{inner}.txt", f"images/{inner}{ending if ending.lower() in READABLE else '.png'}"]


def set_files(categories: Mapping[int, str]) -> list[str]:
    """Names of the files of a whole run."""
    return [SET]


def merge(pictures: Sequence[bytes], categories: Mapping[int, str]) -> Files:
    """``data.yaml``, which names the classes; the same pictures train and validate until someone splits them."""
    import yaml

    names = {rank: categories[number] for rank, number in enumerate(sorted(categories))}
    raw = {"train": "images", "val": "images", "names": names}
    return {SET: yaml.safe_dump(raw, sort_keys=False, allow_unicode=True).encode()}
