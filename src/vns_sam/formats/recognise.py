"""Which format a file or folder of annotations is, told by what it holds."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from vns_sam.errors import DataError
from vns_sam.formats import coco, cvat, geojson, labelme, labelstudio, tables, voc, yolo
from vns_sam.formats.annotation import Contents, Described, numbered
from vns_sam.formats.text import decode, parse_json, parse_xml, read_bytes
from vns_sam.images.find import EXTENSIONS

KNOWN = "COCO, YOLO, VOC, labelme, CVAT, Label Studio, GeoJSON, a table (.csv), or a folder of masks"

TABLES = (".csv", ".tsv")
"""Endings of tables."""

SUFFIXES = (".json", ".geojson", ".xml", *TABLES)
"""Endings of files that a folder is read by, the first that it has before the others; YOLO's .txt comes last."""

_TELLS_NOTHING = ("annotations", "labels")  # folders on top of an export, beside those of its pictures
_ONE_YOLO = "file of YOLO labels"
_JSON = (coco, labelme, geojson, labelstudio)


def read_annotations(path: Path, what: str = "annotation file") -> Contents:
    """Reads a file, or a folder of files, of any kind that is known.

    Raises:
        DataError: It is missing, of no known kind, or broken; what was found is told.
    """
    return read_folder(path, what) if path.is_dir() else read_file(path, what)


def read_file(path: Path, what: str = "annotation file") -> Contents:
    """Reads one file; see :func:`read_annotations`."""
    suffix = path.suffix.lower()
    if suffix in (".zip", ".tar", ".gz"):
        raise DataError(f"{path} is an archive, expected a {what}", hint="unpack it")
    content = read_bytes(path, what)
    where = str(path)
    if suffix in TABLES:
        return tables.read(decode(content, where), where)
    text = decode(content, where)
    if suffix == ".xml" or (suffix != ".json" and text.lstrip().startswith("<")):
        return _from_xml(content, text, where)
    if suffix == ".txt":
        return _from_txt(path, text)
    raw = parse_json(text, where, hint="name it .csv if it holds name,x0,y0,x1,y1")
    return from_json(content, raw, where)


def from_json(content: bytes, raw: Any, where: str) -> Contents:
    """What a JSON file of another tool holds.

    Raises:
        DataError: It is of no known kind.
    """
    for module in _JSON:
        if module.looks_like(raw):
            found = module.read(content, where)
            base = Path(where).absolute()
            found.pictures = [_below(picture, base, base.parent) for picture in found.pictures]
            return found
    raise DataError(f"{where} is {describe(raw)}", hint=f"known are {KNOWN}")


def is_known(raw: Any) -> bool:
    """Whether a JSON value is of a kind that :func:`from_json` reads."""
    return any(module.looks_like(raw) for module in _JSON)


def describe(raw: Any) -> str:
    """What an unknown JSON value is, in a few words."""
    if isinstance(raw, list) and raw and isinstance(raw[0], dict):
        if {"image_id", "bbox"} <= set(raw[0]):
            return "a file of COCO results, which names no pictures"
        return f"a JSON list of objects with {_keys(raw[0])}"
    if isinstance(raw, dict):
        if raw.get("images") is not None:
            return "a COCO file without annotations"
        return f"a JSON object with {_keys(raw)}"
    return f"a JSON {type(raw).__name__}"


def read_folder(folder: Path, what: str = "annotation file") -> Contents:
    """Reads all files of one kind in a folder; see :func:`read_annotations`."""
    if (folder / "labels").is_dir():
        return yolo.read(folder / "labels")
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    by_suffix: dict[str, list[Path]] = {}
    for path in files:
        by_suffix.setdefault(path.suffix.lower(), []).append(path)
    for suffix in SUFFIXES:
        if suffix in by_suffix:
            return _joined(folder, by_suffix[suffix], what)
    if parts := yolo.split_folders(folder):
        return _yolo_by_split(parts)
    if any(path.name not in yolo.CLASS_FILES for path in by_suffix.get(".txt", ())):
        return yolo.read(folder)
    raise DataError(f"{folder} holds no annotations, expected a {what}", hint=f"known are {KNOWN}")


def _yolo_by_split(parts: list[Path]) -> Contents:
    """The labels of a YOLO set with a folder for each split: ``train/labels/a.txt`` is about ``train/images/a``."""
    joined = Contents("folder of YOLO labels")
    for part in parts:
        one = yolo.read(part / "labels")
        one.pictures = [replace(picture, name=f"{part.name}/images/{picture.name}") for picture in one.pictures]
        joined.add(one)
    return joined


def masks_in(folder: Path) -> list[Path]:
    """Pictures in a folder that holds no annotations, or results of a run: it may be a folder of masks."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
    pictures = sorted(path for path in files if path.suffix.lower() in EXTENSIONS)
    others = {path.suffix.lower() for path in files} - EXTENSIONS
    return [] if others & {*SUFFIXES, ".txt"} and not _is_run(folder) else pictures


def _is_run(folder: Path) -> bool:
    return (folder / "manifest.jsonl").is_file()


def _joined(folder: Path, files: list[Path], what: str) -> Contents:
    """All files of a folder together. Those beside others that are of no known kind are told."""
    found: Contents | None = None
    problems = []
    for path in files:
        try:
            one = read_within(folder, path, what)
        except DataError as error:
            problems.append(error.message)
            continue
        if found is None:
            found = one
        elif one.kind == found.kind:
            found.add(one)
        else:
            problems.append(f"{path} is a {one.kind} beside a {found.kind}")
    if found is None:
        raise DataError(problems[0], hint=f"known are {KNOWN}")
    if found.kind in ("labelme file", "VOC file"):
        found.kind = f"folder of {found.kind}s"
        found.categories = numbered(shape.label for picture in found.pictures for shape in picture.shapes)
    found.problems += problems
    return found


def read_within(folder: Path, path: Path, what: str = "annotation file") -> Contents:
    """Reads one of the files below a folder; its pictures are named from there, one without a name as the file.

    Raises:
        DataError: It is of no known kind, or broken.
    """
    found = read_file(path, what)
    if found.kind == _ONE_YOLO:
        found.pictures = [replace(picture, name=yolo.picture_of(path, folder)) for picture in found.pictures]
    else:
        named = [replace(picture, name=picture.name or path.stem) for picture in found.pictures]
        found.pictures = [_below(picture, path, folder) for picture in named]
    return found


def _below(picture: Described, file: Path, folder: Path) -> Described:
    """The picture of a file that lies beside it, or did: named by the file's folder where its own name has none."""
    own = file.relative_to(folder).parent
    apart = own.as_posix().lower() in _TELLS_NOTHING and not (file.parent / picture.name).is_file()
    if ".." in picture.name.split("/"):
        name = os.path.normpath(file.parent.absolute() / picture.name)
    elif own == Path() or "/" in picture.name or apart:
        return picture
    else:
        name = (own / picture.name).as_posix()
    return replace(picture, name=name)


def _from_xml(content: bytes, text: str, where: str) -> Contents:
    tag = parse_xml(text, where).tag
    if tag == "annotation":
        return voc.read(content, where)
    if tag == "annotations":
        return cvat.read(content, where)
    raise DataError(f"{where} is XML of '{tag}'", hint=f"known are {KNOWN}")


def _from_txt(path: Path, text: str) -> Contents:
    """One picture's YOLO labels, told by their first line, or by none: a picture without objects. Else a table."""
    first = next((line.split() for line in text.splitlines() if line.strip()), [])
    try:
        is_yolo = not first or (len(first) > 4 and bool([float(word) for word in first]))
    except ValueError:
        is_yolo = False
    if not is_yolo:
        return tables.read(text, str(path))
    told = yolo.read_set_file(path.parent)
    shapes, problems = yolo.read_labels(text, str(path), told)
    used = {shape.category: shape.label for shape in shapes if shape.category is not None}
    picture = Described(path.stem, None, shapes, fractions=True)
    return Contents(_ONE_YOLO, [picture], {**used, **told.classes}, problems)


def _keys(raw: dict[str, Any]) -> str:
    return ", ".join(f"'{key}'" for key in list(raw)[:4]) or "no keys"
