"""Reading COCO and YOLO annotations. What cannot be used is left out and told in one line each."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from vns_sam.errors import DataError
from vns_sam.images.read import EXTENSIONS

_ROUNDING = 1e-3  # how far a fraction may lie outside the picture
_SPLIT = re.compile(r"train|val|test")

Polygons = Sequence[np.ndarray]
RunLengths = Mapping[str, Any]


@dataclass(frozen=True)
class Annotated:
    """One picture with its objects.

    Attributes:
        image: Its file.
        stem: Its name in the set.
        size: (H, W) that the annotations are made for, or None where polygons are fractions of the size.
        objects: Polygons (N, 2) XY, or COCO run lengths.
        split: ``train``, ``val``, ``test``, or "" where the source does not say.
    """

    image: Path
    stem: str
    size: tuple[int, int] | None
    objects: tuple[Polygons | RunLengths, ...]
    split: str = ""


def find_coco(
    file: str | os.PathLike[str], images: str | os.PathLike[str] | None = None
) -> tuple[list[Annotated], list[str]]:
    """Reads COCO instances: polygons and run lengths; crowds are left out.

    Args:
        file: The JSON.
        images: Folder of the pictures; None looks beside the file and where COCO's archives put them.

    Returns:
        The pictures that are there, and one line for each problem.

    Raises:
        DataError: It is no COCO file.
    """
    file = Path(file)
    raw = _read_coco(file)
    folders = [Path(images)] if images is not None else _coco_folders(file)
    problems: list[str] = []
    objects: dict[Any, list[Polygons | RunLengths]] = {picture["id"]: [] for picture in raw["images"]}
    for number, annotation in enumerate(raw["annotations"]):
        name = f"{file.name}: annotation {annotation.get('id', f'number {number}')}"
        if annotation.get("iscrowd"):
            continue
        try:
            if annotation.get("image_id") not in objects:
                raise ValueError(f"unknown image id {annotation.get('image_id')}")
            objects[annotation["image_id"]].append(_coco_object(annotation.get("segmentation")))
        except (ValueError, TypeError) as error:
            problems.append(f"{name}: {error}")
    found = []
    for picture in raw["images"]:
        try:
            name = str(picture["file_name"]).replace("\\", "/")
            size = int(picture["height"]), int(picture["width"])
        except (KeyError, ValueError, TypeError) as error:
            problems.append(f"{file.name}: image {picture['id']}: expected file_name, height and width: {error!r}")
            continue
        path = _locate(folders, name)
        if path is None:
            problems.append(f"{file.name}: no picture {name} in {', '.join(map(str, folders))}")
        else:
            found.append(Annotated(path, _stem(PurePosixPath(name)), size, tuple(objects[picture["id"]])))
    return found, problems


def find_yolo(images: str | os.PathLike[str], labels: str | os.PathLike[str]) -> tuple[list[Annotated], list[str]]:
    """Reads YOLO polygons: ``labels/a/b.txt`` beside ``images/a/b.jpg``, ``class x y x y ...`` for each object.

    Coordinates are fractions of the picture's size. Subfolders ``train``, ``val`` and ``test`` (``train2017``)
    become splits. A picture without file of labels has no objects.

    Returns:
        The pictures, and one line for each problem.

    Raises:
        DataError: A folder is missing.
    """
    images, labels = Path(images), Path(labels)
    for folder in (images, labels):
        if not folder.is_dir():
            raise DataError(f"expected a folder at {folder}, found none", hint="YOLO sets have images/ and labels/")
    problems: list[str] = []
    found = []
    paths = sorted(path for path in images.rglob("*") if path.suffix.lower() in EXTENSIONS)
    for path in paths:
        relative = path.relative_to(images)
        file = (labels / relative).with_suffix(".txt")
        objects = tuple(_yolo_objects(file, labels, problems)) if file.is_file() else ()
        split = _split(relative.parts[0]) if len(relative.parts) > 1 else ""
        inner = PurePosixPath(*relative.parts[bool(split) :])
        found.append(Annotated(path, _stem(inner), None, objects, split))
    known = {path.relative_to(images).with_suffix("") for path in paths}
    lonely = sorted(file.relative_to(labels) for file in labels.rglob("*.txt"))
    problems += [f"{labels.name}/{file}: no picture" for file in lonely if file.with_suffix("") not in known]
    return found, problems


def find_annotated(
    source: str | os.PathLike[str], images: str | os.PathLike[str] | None = None
) -> tuple[list[Annotated], list[str]]:
    """Recognises COCO (a JSON file) and YOLO (a folder with ``images/`` and ``labels/``, or with folders
    ``train``, ``val``, ``test`` that have both) and reads it.

    Raises:
        DataError: It is neither.
    """
    source = Path(source)
    if source.is_file():
        return find_coco(source, images)
    if (source / "labels").is_dir():
        return find_yolo(images or source / "images", source / "labels")
    parts = [path.parent for path in sorted(source.glob("*/labels")) if _split(path.parent.name)]
    found: list[Annotated] = []
    problems: list[str] = []
    for part in parts:
        split = _split(part.name)
        pictures, told = find_yolo(part / "images", part / "labels")
        found += [replace(picture, split=split) for picture in pictures]
        problems += [f"{part.name}/{problem}" for problem in told]
    if parts:
        return found, problems
    raise DataError(
        f"expected a COCO file, or a folder with images/ and labels/, at {source}",
        hint="a folder with images/ and masks/ needs no import",
    )


def _read_coco(file: Path) -> dict[str, Any]:
    hint = "expected an object with 'images' and 'annotations'"
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"expected COCO annotations at {file}, found no JSON: {error}", hint=hint) from None
    lists = [raw.get(key) if isinstance(raw, dict) else None for key in ("images", "annotations")]
    if not all(isinstance(rows, list) and all(isinstance(row, dict) for row in rows) for rows in lists):
        raise DataError(f"expected COCO annotations at {file}, found other JSON", hint=hint)
    if any("id" not in picture for picture in raw["images"]):
        raise DataError(f"expected an 'id' of each image in {file}, found one without", hint=hint)
    return dict(raw)


def _coco_folders(file: Path) -> list[Path]:
    """Where the pictures of a COCO file may be, such as ``val2017/`` for ``annotations/instances_val2017.json``."""
    name = re.sub(r"^instances_", "", file.stem)
    folders = [base / sub for base in (file.parent, file.parent.parent) for sub in ("images", name, f"images/{name}")]
    return [folder for folder in (*folders, file.parent, file.parent.parent) if folder.is_dir()]


def _locate(folders: Sequence[Path], name: str) -> Path | None:
    """A picture by its name in the file, or by that without folders; never outside of ``folders``."""
    relative = PurePosixPath(name)
    names = [relative.name] if relative.is_absolute() or ".." in relative.parts else [name, relative.name]
    return next((folder / n for folder in folders for n in names if n and (folder / n).is_file()), None)


def _split(folder: str) -> str:
    """``train`` for ``train2017``, ``val`` for ``valid``, "" for other names."""
    match = _SPLIT.match(folder)
    return match.group() if match else ""


def _stem(relative: PurePosixPath) -> str:
    """One name for a path: ``a/b.jpg`` becomes ``a_b``."""
    parts = [part for part in relative.with_suffix("").parts if part not in ("/", "..")]
    return "_".join(parts)


def _coco_object(segmentation: Any) -> Polygons | RunLengths:
    if isinstance(segmentation, Mapping):
        if not {"size", "counts"} <= set(segmentation):
            raise ValueError("expected 'size' and 'counts' of run lengths")
        return segmentation
    if not isinstance(segmentation, list) or not segmentation:
        raise ValueError("expected polygons or run lengths, found none")
    return [_corners(np.asarray(polygon, np.float64)) for polygon in segmentation]


def _yolo_objects(file: Path, labels: Path, problems: list[str]) -> Iterator[Polygons]:
    """The polygons of one file."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        problems.append(f"{labels.name}/{file.relative_to(labels)}: {error}")
        return
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words:
            continue
        try:
            values = np.array([float(word) for word in words[1:]])
            if values.size == 4:
                raise ValueError("four numbers are a box, expected a polygon of three corners or more")
            corners = _corners(values)
            if corners.min() < -_ROUNDING or corners.max() > 1 + _ROUNDING:
                raise ValueError(f"coordinates from {corners.min():g} to {corners.max():g}, expected 0 to 1")
            yield [corners.clip(0, 1)]
        except ValueError as error:
            problems.append(f"{labels.name}/{file.relative_to(labels)}, line {number}: {error}")


def _corners(values: np.ndarray) -> np.ndarray:
    """Corners (N, 2) of a flat row of coordinates."""
    if values.ndim != 1 or values.size % 2:
        raise ValueError(f"expected pairs of coordinates, found shape {values.shape}")
    if values.size < 6:
        raise ValueError(f"a polygon of {values.size // 2} corners, expected three or more")
    if not np.isfinite(values).all():
        raise ValueError("coordinates that are not finite")
    return values.reshape(-1, 2)
