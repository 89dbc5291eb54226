"""Pictures with COCO or YOLO annotations on disk. What cannot be used is left out and told in one line each."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from vns_sam.errors import DataError
from vns_sam.formats import coco, yolo
from vns_sam.formats.annotation import Contents, Shape
from vns_sam.formats.text import read_bytes
from vns_sam.images.find import find_images
from vns_sam.images.names import NameIndex

BESIDE = "_annotations.coco.json"
"""The file that Roboflow's exports have beside the pictures of each split."""


@dataclass(frozen=True)
class Annotated:
    """One picture with its objects.

    Attributes:
        image: Its file.
        stem: Its name in the set.
        size: (H, W) that the annotations are made for, or None where they are fractions of the size.
        shapes: Its objects; all have outlines.
        split: ``train``, ``val``, ``test``, or "" where the source does not say.
        stored: Whether coordinates may count pixels as they are stored, see
            :class:`vns_sam.formats.annotation.Described`.
    """

    image: Path
    stem: str
    size: tuple[int, int] | None
    shapes: tuple[Shape, ...]
    split: str = ""
    stored: bool = False


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
    contents = coco.read(read_bytes(file, "COCO file"), str(file))
    places = _Places([Path(images)] if images is not None else _coco_folders(file))
    problems = contents.problems
    found = []
    for picture in contents.pictures:
        shapes = _with_outlines(picture.shapes, problems)
        path = places.locate(picture.name)
        if path is None:
            where = ", ".join(map(str, places.folders))
            problems.append(f"{file}: no picture {picture.name} in {where}")
        else:
            stem = _stem(PurePosixPath(picture.name))
            found.append(Annotated(path, stem, picture.size, shapes, stored=picture.stored))
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
    contents = yolo.read(labels)
    described = {picture.name: picture for picture in contents.pictures}
    problems = contents.problems
    found = []
    for path in yolo.find_pictures(images):
        relative = PurePosixPath(path.relative_to(images).as_posix())
        picture = described.pop(relative.with_suffix("").as_posix(), None)
        shapes = _with_outlines(picture.shapes, problems) if picture is not None else ()
        split = yolo.split_of(relative.parts[0]) if len(relative.parts) > 1 else ""
        inner = PurePosixPath(*relative.parts[bool(split) :])
        found.append(Annotated(path, _stem(inner), None, shapes, split))
    pictures = {path.relative_to(images).with_suffix("").as_posix() for path in yolo.find_pictures(images)}
    problems += [f"{labels / name}.txt: no picture" for name in described if name not in pictures]
    return found, problems


def find_annotated(
    source: str | os.PathLike[str], images: str | os.PathLike[str] | None = None
) -> tuple[list[Annotated], list[str]]:
    """Reads what :func:`find_annotations` recognises at a place.

    Raises:
        DataError: There is nothing of that kind, or there are several.
    """
    source = Path(source)
    place = source if source.is_file() else find_annotations(source)
    if place is None:
        raise DataError(
            f"expected a COCO file, or a folder with images/ and labels/, at {source}",
            hint="a folder with images/ and masks/ needs no import",
        )
    if place.is_file():
        return find_coco(place, images)
    if (place / "labels").is_dir():
        return find_yolo(images or place / "images", place / "labels")
    found: list[Annotated] = []
    problems: list[str] = []
    for split, part in _yolo_by_split(place) or _coco_by_split(place):
        pictures, told = find_coco(part, images) if part.is_file() else find_yolo(part / "images", part / "labels")
        found += [replace(picture, split=split) for picture in pictures]
        problems += told
    return found, problems


def find_annotations(folder: Path) -> Path | None:
    """Where a folder has annotations.

    Returns:
        The folder itself with YOLO's ``images/`` and ``labels/``, with folders ``train``, ``val``, ``test`` that have
        both, or with a COCO file for each split (``train/_annotations.coco.json``,
        ``annotations/instances_train2017.json``); its only JSON file; None where there is none of these.

    Raises:
        DataError: There are several JSON files that could be it.
    """
    if (folder / "labels").is_dir() or _yolo_by_split(folder) or _coco_by_split(folder):
        return folder
    files = [*sorted(folder.glob("*.json")), *sorted((folder / "annotations").glob("*.json"))]
    if len(files) > 1:
        raise DataError(
            f"{folder} holds {len(files)} JSON files, such as {files[0].name} and {files[1].name}",
            hint=f"vns-sam data import {files[0]} --out DIR takes one of them",
        )
    return files[0] if files else None


def _yolo_by_split(source: Path) -> list[tuple[str, Path]]:
    """The folders with ``labels/`` that are named by their splits, each with its split."""
    return [(yolo.split_of(part.name), part) for part in yolo.split_folders(source)]


def _coco_by_split(source: Path) -> list[tuple[str, Path]]:
    """The COCO files of a folder that names them by their splits, each with its split; none in other folders."""
    beside = [(yolo.split_of(path.parent.name), path) for path in sorted(source.glob(f"*/{BESIDE}"))]
    apart = [(yolo.split_of(_coco_part(path)), path) for path in sorted(source.glob("annotations/instances_*.json"))]
    files = [(split, path) for split, path in beside if split] or apart
    return files or [("", path) for path in source.glob(BESIDE)]


def read_by_picture(content: bytes, where: str) -> Contents:
    """Reads a COCO file of a published set, in which nothing may be wrong; pictures are named without folders.

    Raises:
        DataError: It is no COCO file, or a broken one.
    """
    found = coco.read(content, where)
    if found.problems:
        raise DataError(f"expected a COCO file without faults: {found.problems[0]}", hint="download it again")
    found.pictures = [replace(picture, name=PurePosixPath(picture.name).name) for picture in found.pictures]
    return found


def _with_outlines(shapes: Sequence[Shape], problems: list[str]) -> tuple[Shape, ...]:
    """The shapes that can be drawn; of the others, and of slivers that were left out, a line each."""
    problems += [f"{shape.mark}: {shape.fault}" for shape in shapes if shape.fault]
    return tuple(shape for shape in shapes if shape.outline is not None)


class _Places:
    """Folders in which the pictures of a file may be; the first is searched in depth."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = folders
        self._index: NameIndex | None = None

    def locate(self, name: str) -> Path | None:
        """A picture by its name in the file; never outside of the folders."""
        relative = PurePosixPath(name)
        if name and not relative.is_absolute() and ".." not in relative.parts:
            exact = next((folder / name for folder in self.folders if (folder / name).is_file()), None)
            if exact is not None:
                return exact
        if not self.folders:
            return None
        if self._index is None:
            try:
                self._index = NameIndex(self.folders[0], find_images(self.folders[0]))
            except DataError:
                self._index = NameIndex(self.folders[0], [])
        found = self._index.match(name)
        return None if found is None else self.folders[0] / found


def _coco_part(file: Path) -> str:
    """What a COCO file calls its part of the set: ``val2017`` for ``instances_val2017.json``."""
    return file.stem.removeprefix("instances_")


def _coco_folders(file: Path) -> list[Path]:
    """Where the pictures of a COCO file may be, such as ``val2017/`` for ``annotations/instances_val2017.json``."""
    name = _coco_part(file)
    folders = [base / sub for base in (file.parent, file.parent.parent) for sub in ("images", name, f"images/{name}")]
    return [folder for folder in (*folders, file.parent, file.parent.parent) if folder.is_dir()]


def _stem(relative: PurePosixPath) -> str:
    """One name for a path: ``a/b.jpg`` becomes ``a_b``."""
    parts = [part for part in relative.with_suffix("").parts if part not in ("/", "..")]
    return "_".join(parts)
