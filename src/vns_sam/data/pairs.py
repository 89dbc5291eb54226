"""Pictures and their masks in plain folders.

::

    <root>/images/<stem>.jpg          any picture format of ``images.read.EXTENSIONS``
    <root>/masks/<stem>.png           the object, gray > 127
    <root>/masks_instance/<stem>.png  optional: an id for each object, 0 is background
    <root>/objects/<stem>.json        optional: the same objects where they overlap or have classes, see formats.objects
    <root>/masks_ignore/<stem>.png    optional: gray > 127 where pixels are neither object nor background
    <root>/train.txt, test.txt, ...   optional: one stem on each line, or one object: stem#2

Sets that come with other names of the two folders are read as they are, see :data:`FOLDERS`.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vns_sam.errors import DataError
from vns_sam.formats.objects import ENDING as OBJECTS_ENDING
from vns_sam.formats.objects import Object, read_objects
from vns_sam.formats.png import MASK_THRESHOLD as MASK_THRESHOLD
from vns_sam.formats.png import read_instances as read_instances
from vns_sam.formats.png import read_mask as read_mask
from vns_sam.images.find import EXTENSIONS, folder_name
from vns_sam.images.read import file_digest, one_line

FOLDERS = (
    ("images", "masks"),
    ("im", "gt"),
    ("images", "masks_max255"),
    ("Imgs", "GT"),
    ("Image", "GT_Object"),
    ("image", "mask"),
)
"""Folders of pictures and masks: the house's names, DIS5K's, those of HRSOD in HQSeg-44K, of the camouflage sets (CAMO,
CHAMELEON, COD10K and NC4K as they are tested on), of COD10K itself, and of the glass sets (GDD, GSD)."""

OBJECTS = "objects"
"""Folder of a set's files of objects."""
OBJECT_MARK = "#"
"""In a list, between a stem and the number of one of its objects."""

LAYOUT_HINT = "a data set is a folder with images/<stem>.jpg and masks/<stem>.png; see docs/data.md"
FLAT_HINT = "put pictures into the folder itself, those in its sub-folders are not read; see docs/data.md"


@dataclass(frozen=True)
class Picture:
    """One picture of a set, whether or not it has a mask.

    Attributes:
        stem: File name without its ending; a mask shares it.
        image: The picture.
    """

    stem: str
    image: Path


@dataclass(frozen=True)
class Pair(Picture):
    """One picture with its mask.

    Attributes:
        mask: The mask of all objects together, see :func:`read_mask`.
        instances: The objects one by one, see :func:`read_instances`, or None.
        ignore: Pixels that are neither object nor background, read with :func:`read_mask`, or None.
        dataset: Name of the folder that holds the set, see :func:`folder_name`.
        objects: The objects one by one, where they overlap or have classes, see :func:`pair_objects`, or None.
        listed: Numbers of the objects that the list names, "1" for the first; empty where it names the picture.
    """

    mask: Path
    instances: Path | None
    ignore: Path | None
    dataset: str
    objects: Path | None = None
    listed: tuple[str, ...] = ()


def find_pairs(
    root: str | os.PathLike[str],
    split: str | None = None,
    *,
    broken: dict[str, str] | None = None,
    objects: bool = False,
) -> list[Pair]:
    """Lists the pairs of a data set.

    Args:
        root: Folder in the layout of this module.
        split: Name of the list to follow: ``"train"`` reads ``<root>/train.txt`` or ``<root>/list/train.txt``, or
            takes all of ``<root>/images_train``; None takes every picture.
        broken: Takes the stems that lack a picture or a mask, each with one line that says so; they are left out
            of the result. None makes them errors.
        objects: Whether a list of objects is wanted, whose lines are ``stem#2``; without it, it is refused.

    Returns:
        The pairs in the order of the list, each once, or by stem without one; at least one unless all went to
        ``broken``.

    Raises:
        DataError: A folder or the list is missing, the list is no text, there is no picture, a listed stem has no
            picture, a picture has no mask, two files share a stem, or the list names objects that are not wanted.
    """
    found = _find(Path(root), split, broken=broken, objects=objects, masks=True)
    return [each for each in found if isinstance(each, Pair)]


def find_pictures(root: Path, split: str | None = None, *, broken: dict[str, str] | None = None) -> list[Picture]:
    """The same of pictures that need no mask; those that have one are pairs. They may also lie in ``root`` itself.

    Raises:
        DataError: See :func:`find_pairs`.
    """
    return _find(root, split, broken=broken, objects=False, masks=False)


def _find(root: Path, split: str | None, *, broken: dict[str, str] | None, objects: bool, masks: bool) -> list[Picture]:
    """See :func:`find_pairs`; all that it finds are pairs where ``masks`` are wanted."""
    if not root.is_dir():
        raise DataError(f"expected a data set folder at {root}, found no folder there", hint=LAYOUT_HINT)
    if split is not None and has_folders(root, split, masks=masks):
        own = own_folders(split)
        folders, split = (root / own[0], root / own[1]), None
    else:
        folders = set_folders(root) if masks else (picture_folder(root), set_folders(root)[1])
    images, truths = _files_by_stem(folders[0]), _files_by_stem(folders[1], optional=not masks)
    listed = dict.fromkeys(sorted(images), ()) if split is None else read_split(root, split, images, objects=objects)
    stems = list(listed)
    if not stems:
        where = folders[0] if split is None else root / f"{split}.txt"
        raise DataError(
            f"expected at least one picture, found none in {where}", hint=LAYOUT_HINT if masks else FLAT_HINT
        )
    stems = _present(stems, images, f"picture in {folders[0]}", broken)
    if masks:
        stems = _present(stems, truths, f"mask in {folders[1]}", broken)
    instances = _files_by_stem(root / "masks_instance", optional=True)
    ignored = _files_by_stem(root / "masks_ignore", optional=True)
    single = _files_by_stem(root / OBJECTS, frozenset({OBJECTS_ENDING}), optional=True)
    name = folder_name(root)
    return [
        Pair(s, images[s], truths[s], instances.get(s), ignored.get(s), name, single.get(s), listed[s])
        if s in truths
        else Picture(s, images[s])
        for s in stems
    ]


def is_set(folder: Path, names: Sequence[tuple[str, str]] = FOLDERS) -> bool:
    """Whether a folder holds pictures and masks in two folders of such names."""
    return any((folder / images).is_dir() and (folder / masks).is_dir() for images, masks in names)


def own_folders(split: str) -> tuple[str, str]:
    """Names of the two folders that a split may have of its own."""
    return f"images_{split}", f"masks_{split}"


def has_folders(root: Path, split: str, *, masks: bool = True) -> bool:
    """Whether a split has folders of its own; without ``masks`` one of pictures will do where there is no other set."""
    names = own_folders(split)
    if is_set(root, (names,)):
        return True
    return not masks and (root / names[0]).is_dir() and not is_set(root) and find_list(root, split) is None


_PART = "_comp_"


def part_stem(stem: str, number: int) -> str:
    """The stem of a sample that :mod:`vns_sam.data.enrich` makes of one part of a picture."""
    return f"{stem}{_PART}{number}"


def picture_stem(stem: str) -> str:
    """The stem of the picture that a sample was made of: the samples of one picture must not be torn apart."""
    return re.sub(rf"{_PART}\d+$", "", stem)


def pair_digest(pair: Pair) -> str:
    """A digest of what a pair's files hold, which tells whether work done on it still stands.

    Raises:
        DataError: A file cannot be read.
    """
    files = (pair.image, pair.mask, pair.instances, pair.ignore, *([pair.objects] if pair.objects else []))
    digests = " ".join("none" if path is None else file_digest(path) for path in files)
    return hashlib.sha256(digests.encode()).hexdigest()[:16]


def pair_objects(pair: Pair) -> dict[str, Object]:
    """The objects of a picture by their numbers, "1", "2", ...; of a list of objects, those that it names.

    They are those of ``objects/``, which may overlap and have classes, else the ids of ``masks_instance/``; none where
    the set has neither.

    Raises:
        DataError: A file cannot be read, or the list names an object that is not there.
    """
    if pair.objects is not None:
        found = read_objects(pair.objects)
    else:
        found = [Object(mask) for mask in (read_instances(pair.instances) if pair.instances else [])]
    numbered = {str(number): each for number, each in enumerate(found, start=1)}
    missing = next((number for number in pair.listed if number not in numbered), None)
    if missing is not None:
        where = pair.objects or pair.instances or pair.mask
        raise DataError(f"expected object {missing} of the list in {where}, found {len(numbered)} objects")
    return {number: numbered[number] for number in pair.listed} if pair.listed else numbered


def check_same_size(pair: Pair, image: np.ndarray, mask: np.ndarray) -> None:
    """Compares a picture (H, W, 3) with its mask (H, W).

    Raises:
        DataError: They differ in size; both sizes are told.
    """
    if image.shape[:2] != mask.shape:
        sizes = f"{mask.shape[1]} x {mask.shape[0]}, its picture {image.shape[1]} x {image.shape[0]}"
        raise DataError(f"{pair.mask}: mask is {sizes}", hint="the two must have one size")


def set_folders(root: Path) -> tuple[Path, Path]:
    """The folders of a set's pictures and masks: the first of :data:`FOLDERS` that are there, else the house's."""
    images, masks = next((names for names in FOLDERS if is_set(root, (names,))), FOLDERS[0])
    return root / images, root / masks


def picture_folder(root: Path) -> Path:
    """Where to look for pictures: in a set its folder of them, with or without masks beside it; else ``root``."""
    images = set_folders(root)[0]
    return images if images.is_dir() else root


def picture_folders(root: Path) -> list[Path]:
    """That folder, and those that splits have of their own."""
    return [picture_folder(root), *(path for path in sorted(root.glob(own_folders("*")[0])) if path.is_dir())]


def _files_by_stem(folder: Path, endings: frozenset[str] = EXTENSIONS, *, optional: bool = False) -> dict[str, Path]:
    if not folder.is_dir():
        if optional:
            return {}
        raise DataError(f"expected a folder {folder.name}/ in {folder.parent}, found none", hint=LAYOUT_HINT)
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in endings or path.name.startswith("."):
            continue
        if path.stem in files:
            raise DataError(
                f"expected one file for each stem in {folder}, found {files[path.stem].name} and {path.name}",
                hint="rename or remove one of them",
            )
        files[path.stem] = path
    return files


def read_split(root: Path, split: str, images: Container[str], *, objects: bool) -> dict[str, tuple[str, ...]]:
    """The stems of a list, each with the numbers of the objects that it names.

    Raises:
        DataError: There is no such list, it is no text, or it names objects that are not wanted.
    """
    path = find_list(root, split)
    if path is None:
        known = ", ".join(sorted(p.stem for p in root.glob("*.txt"))) or "none"
        raise DataError(
            f"expected the list {root / f'{split}.txt'}, found none",
            hint=f"lists in that folder: {known}; without a split every picture is taken",
        )
    found: dict[str, tuple[str, ...]] = {}
    for line in list_stems(path):
        stem, number = listed_picture(line, images)
        if not number:
            found.setdefault(stem, ())
        elif objects:
            found[stem] = tuple(dict.fromkeys((*found.get(stem, ()), number)))
        else:
            raise DataError(f"{path} lists objects ('{line}'), expected pictures", hint="--instances asks for objects")
    return found


def find_list(root: Path, split: str) -> Path | None:
    """The list of a split: ``<root>/<split>.txt``, or ``<root>/list/<split>.txt`` as ThinObject-5K has it."""
    places = (root / f"{split}.txt", root / "list" / f"{split}.txt")
    return next((path for path in places if path.is_file()), None)


def list_stems(path: Path) -> list[str]:
    """Stems in the order of a list file; a line may also be a file name.

    Raises:
        DataError: It cannot be read, or is no UTF-8 text.
    """
    try:
        lines = (line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines())
    except (OSError, ValueError) as error:
        raise DataError(f"expected a list in UTF-8 at {path}: {one_line(error)}", hint="save it as UTF-8") from None
    return [_stem(line) for line in lines if line]


def listed_picture(line: str, pictures: Container[str]) -> tuple[str, str]:
    """What a line of a list names: the stem of a picture, and the number of one of its objects or "".

    Args:
        line: Of :func:`list_stems`.
        pictures: Stems of the set; one that is called ``stem#2`` itself is a picture.
    """
    stem, mark, number = line.rpartition(OBJECT_MARK)
    return (line, "") if line in pictures or not (mark and number.isdecimal()) else (stem, number)


def _stem(name: str) -> str:
    path = Path(name)
    return path.stem if path.suffix.lower() in EXTENSIONS else path.name


def _present(stems: list[str], files: dict[str, Path], what: str, broken: dict[str, str] | None) -> list[str]:
    missing = [stem for stem in stems if stem not in files]
    if missing and broken is None:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise DataError(f"expected a {what} for '{missing[0]}'{more}, found none", hint=LAYOUT_HINT)
    if broken is not None:
        broken.update((stem, f"expected a {what} for '{stem}', found none") for stem in missing)
    return [stem for stem in stems if stem in files]
