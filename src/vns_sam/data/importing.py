"""COCO and YOLO annotations as sets in the house layout (``data.pairs``).

Objects that cannot be drawn are left out and told, each in one line; so are pictures without any.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from vns_sam.data.annotated import Annotated, find_annotated
from vns_sam.data.pairs import OBJECTS
from vns_sam.data.splits import SPLITS
from vns_sam.errors import DataError
from vns_sam.formats.drawing import BROKEN, draw_shape
from vns_sam.formats.objects import ENDING, Object, encode_objects
from vns_sam.formats.rle import number_objects
from vns_sam.images.read import must_turn, read_image, turn_upright
from vns_sam.images.write import encode_image, link_or_copy, unwritable, write_bytes, write_json, write_mask, write_text
from vns_sam.prompts.validate import check_sizes
from vns_sam.runs.lock import remove_parts_below
from vns_sam.types import cut_out

MARKER = "imported.json"
"""File in an imported set that names where it came from, and every file that the import wrote."""
CLAIMS = ".imported.jsonl"
"""File in a set whose import is at work or was stopped: the files of each picture in a line, written before them."""


@dataclass
class Import:
    """What an import came to.

    Attributes:
        pictures: Number of pictures that were written.
        objects: Number of their objects.
        without_objects: Number of pictures that have no objects and were left out.
        removed: Number of files that an earlier import wrote and that this one did not.
        problems: One line for each thing that was left out.
    """

    pictures: int = 0
    objects: int = 0
    without_objects: int = 0
    removed: int = 0
    problems: list[str] = field(default_factory=list)


def convert(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    images: str | os.PathLike[str] | None = None,
    strict: bool = False,
) -> Iterator[tuple[Import, int]]:
    """Writes a set in the house layout: masks, object ids, and the pictures as hard links where possible.

    Ids are 1, 2, ... in the order of the source; where objects overlap, the smaller one stays on top. Where they do, or
    have classes, ``objects/`` holds them whole, too.

    Args:
        source: As for :func:`vns_sam.data.annotated.find_annotated`.
        out: A new folder, or one of an earlier run with the same source, which is written again; what that run wrote
            and the source no longer has is removed at the end, other files stay. The caller holds it, or one above it.
        images: Folder of the pictures, where it is not the usual one.
        strict: Raise at the first problem.

    Yields:
        After each picture, what it came to so far, and of how many pictures.

    Raises:
        DataError: Nothing can be imported; ``out`` holds something else; with ``strict``, any problem.
    """
    found, problems = find_annotated(source, images)
    out = Path(out)
    earlier = _take(out, Path(source))
    state = Import(problems=problems)
    lists: dict[str, list[str]] = {}
    written: set[str] = set()
    files: set[str] = set()
    for annotated in found:
        _refuse(problems, strict=strict)
        try:
            if not annotated.shapes:
                state.without_objects += 1
            elif annotated.stem.casefold() in written:
                problems.append(f"{annotated.image}: a picture '{annotated.stem}' was there before")
            else:
                state.objects += _write(annotated, out, problems)
                state.pictures += 1
                written.add(annotated.stem.casefold())
                files.update(_files(annotated))
                lists.setdefault(annotated.split, []).append(annotated.stem)
        except DataError as error:
            problems.append(error.message)
            files.update(earlier.intersection(_files(annotated)))  # the source has it: what was imported stays
        yield state, len(found)
    _refuse(problems, strict=strict)
    if not state.pictures:
        more = f"; {problems[0]}" if problems else ""
        raise DataError(f"expected pictures with objects in {source}, found none{more}")
    for split, stems in lists.items():
        if split:
            _claim(out, [f"{split}.txt"])
            write_text(out / f"{split}.txt", "".join(f"{stem}\n" for stem in stems))
            files.add(f"{split}.txt")
    state.removed = remove_gone(out, earlier, files)
    _tell(out, Path(source), {name for name in files if (out / name).exists()})


def _refuse(problems: list[str], *, strict: bool) -> None:
    if strict and problems:
        raise DataError(problems[0], hint="without --strict it is left out")


def _files(annotated: Annotated) -> list[str]:
    """The files of a picture in a set, those that it may have among them, as paths in the set."""
    stem = annotated.stem
    masks = [f"masks/{stem}.png", f"masks_instance/{stem}.png", f"{OBJECTS}/{stem}{ENDING}"]
    return [f"images/{stem}{annotated.image.suffix}", *masks]


def _take(out: Path, source: Path) -> set[str]:
    """Takes a new folder, or one that an earlier run with the same source took, and clears what a kill left in it.

    Returns:
        Files that earlier runs wrote.
    """
    check_place(out)
    earlier = imported(out, source)
    if earlier is None and any(out.glob("[!.]*")):
        raise DataError(f"expected a new folder at {out}, found other files", hint="choose another with --out")
    remove_parts_below(out)
    _tell(out, source, earlier or set())
    return earlier or set()


def check_place(out: Path) -> None:
    """Checks that a set may lie at a place.

    Raises:
        DataError: A file is there.
    """
    if out.exists() and not out.is_dir():
        raise DataError(f"expected a folder at {out}, found a file", hint="choose another place with --out")


def imported(out: Path, source: Path) -> set[str] | None:
    """The files that imports of a source wrote to a set, as paths in it; None where it is no import of that source."""
    try:
        before = json.loads((out / MARKER).read_text(encoding="utf-8"))
        if before["source"] != str(source.resolve()):
            return None
        return {name for name in (*before.get("files", ()), *_claimed(out)) if _is_ours(name)}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def _tell(out: Path, source: Path, files: set[str]) -> None:
    """Writes which files of a set are ours, after which the claims are told."""
    write_json(out / MARKER, {"source": str(source.resolve()), "files": sorted(files)})
    with suppress(OSError):
        (out / CLAIMS).unlink()


def _claim(out: Path, names: Sequence[str]) -> None:
    """Notes files just before they are written, so that the next run knows them as ours even if this one is killed."""
    try:
        with (out / CLAIMS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(names) + "\n")
    except OSError as error:
        raise unwritable(out / CLAIMS, error) from None


def _claimed(out: Path) -> list[str]:
    """What a run that was stopped has claimed; a line that was cut off stands for files that were never written."""
    try:
        lines = (out / CLAIMS).read_text(encoding="utf-8").splitlines(keepends=True)
    except FileNotFoundError:
        return []
    return [name for line in lines if line.endswith("\n") for name in json.loads(line)]


def _is_ours(name: str) -> bool:
    """Whether a name is that of a file which imports write, at its place in the set."""
    folder, _, file = name.rpartition("/")
    lists = {f"{split}.txt" for split in SPLITS}
    return Path(file).name == file and (folder in _FOLDERS or (not folder and file in lists))


def remove_gone(out: Path, earlier: set[str], files: set[str]) -> int:
    """Removes what earlier runs wrote to a set and this one did not; how many files. Of two names that differ only in
    case, the earlier one is removed only where both are there: else they are one file.

    Args:
        out: The set.
        earlier: Files of earlier runs, as paths in the set.
        files: Those of this run.
    """
    folders = {(out / name).parent for name in (*earlier, *files)}
    there = {p.relative_to(out).as_posix() for folder in folders if folder.is_dir() for p in folder.iterdir()}
    twins = {name.casefold(): name for name in files}
    gone = [n for n in (earlier - files) & there if n.casefold() not in twins or twins[n.casefold()] in there]
    for name in gone:
        (out / name).unlink()
    return len(gone)


_FOLDERS = ("images", "masks", "masks_instance", OBJECTS)


def _write(annotated: Annotated, out: Path, problems: list[str]) -> int:
    """Writes one pair; the number of its objects."""
    height, width = read_image(annotated.image).shape[:2]
    turned = annotated.stored and must_turn(annotated.size, annotated.image)
    if annotated.size is not None and not turned:
        check_sizes([annotated.size], height, width, str(annotated.image))
    drawn_at = (annotated.size if turned else None) or (height, width)
    objects = []
    for number, shape in enumerate(annotated.shapes, 1):
        try:
            mask = draw_shape(shape, *drawn_at, fractions=annotated.size is None)
        except BROKEN as error:
            problems.append(f"{annotated.image}: object {number}: {error}")
            continue
        if mask.any():
            objects.append(Object(turn_upright(mask, annotated.image) if turned else mask, shape.label))
        else:
            problems.append(f"{annotated.image}: object {number}: it covers no pixel")
    if not objects:
        raise DataError(f"{annotated.image}: none of its objects can be drawn")
    _claim(out, _files(annotated))
    link_or_copy(annotated.image, out / "images" / f"{annotated.stem}{annotated.image.suffix}")
    write_objects(out, annotated.stem, objects)
    return len(objects)


def write_objects(out: Path, stem: str, objects: Sequence[Object]) -> None:
    """Writes the masks of a picture's objects to a set: all together, their ids, and where ids do not tell all of them,
    since they overlap or have classes, each by itself.

    Args:
        out: The set.
        stem: The picture's name.
        objects: At least one, all of one size.

    Raises:
        DataError: A file cannot be written.
    """
    ids = number_objects([cut_out(each.mask) for each in objects], objects[0].mask.shape)
    write_mask(out / "masks" / f"{stem}.png", ids > 0)
    small = len(objects) <= np.iinfo(np.uint8).max
    write_bytes(out / "masks_instance" / f"{stem}.png", encode_image(ids.astype(np.uint8) if small else ids))
    write_whole(out / OBJECTS / f"{stem}{ENDING}", objects, ids)


def write_whole(path: Path, objects: Sequence[Object], ids: np.ndarray) -> None:
    """Writes the file of objects, where their picture of ids (H, W) does not tell all of them; else removes it."""
    overlap = sum(int(each.mask.sum()) for each in objects) > int((ids > 0).sum())
    if overlap or any(each.label for each in objects):
        write_bytes(path, encode_objects(objects))
    else:
        path.unlink(missing_ok=True)
