"""Puts one pair into a set's folder: linked or copied, checked, and whole or not there at all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from vns_sam.data.importing import write_whole
from vns_sam.data.pairs import OBJECTS, read_mask
from vns_sam.data.sets.archives import Member, TarTree
from vns_sam.data.sets.layouts import Found
from vns_sam.errors import DataError
from vns_sam.formats.annotation import Described
from vns_sam.formats.drawing import draw_objects
from vns_sam.formats.objects import ENDING, Object
from vns_sam.formats.rle import number_objects
from vns_sam.images.find import EXTENSIONS
from vns_sam.images.read import file_digest, must_turn, read_image, turn_upright
from vns_sam.images.write import atomic_path
from vns_sam.types import cut_out

LOSSLESS = ".png"
SOURCE = "vns-sam source"
"""Text in a PNG that was drawn or converted: size and digest of what it was made from."""


@dataclass(frozen=True)
class Assembled:
    """A pair in a set's folder; one entry of the manifest.

    Attributes:
        stem: Its name.
        split: Its split.
        image: Path of the picture, relative to the set's folder.
        image_sha256: Of the picture's file.
        mask: Path of the mask, relative to the set's folder.
        mask_sha256: Of the mask's file.
    """

    stem: str
    split: str
    image: str
    image_sha256: str
    mask: str
    mask_sha256: str


def image_path(folder: Path, found: Found) -> Path:
    """Where the picture goes."""
    return folder / "images" / f"{found.stem}{found.image.name.suffix.lower()}"


def mask_path(folder: Path, found: Found) -> Path:
    """Where the mask goes."""
    return folder / "masks" / f"{found.stem}{LOSSLESS}"


def is_done(folder: Path, found: Found) -> bool:
    """Whether an earlier run put the pair there: files are whole or absent, so the sizes of those that were copied
    tell, and masks that were drawn or converted tell what they were made from.
    """
    image, mask = image_path(folder, found), mask_path(folder, found)
    if not (image.is_file() and mask.is_file() and image.stat().st_size == found.image.size):
        return False
    if isinstance(found.mask, Member) and _keeps_bytes(found.mask):
        return mask.stat().st_size == found.mask.size
    if isinstance(found.mask, Described) and not _instances_path(folder, found.stem).is_file():
        return False
    made_from = _read_source(mask)
    if isinstance(found.mask, Member) and isinstance(found.mask.tree, TarTree):  # to read it may mean to unpack all
        return made_from.partition(" ")[0] == str(found.mask.size)
    try:
        return made_from == _source(found.mask)
    except DataError:  # it is told when the pair is assembled
        return False


def assemble(folder: Path, found: Found, split: str) -> Assembled:
    """Puts a pair into ``folder``, unless it is there.

    A PNG mask keeps its bytes; any other is written as a PNG of 0 and 255. Objects of an annotation file are
    drawn: their union to ``masks/``, their ids to ``masks_instance/``, and whole to ``objects/`` where they overlap or
    have classes.

    Raises:
        DataError: A file cannot be read as a picture, or the two differ in size; nothing is left behind.
    """
    image, mask = image_path(folder, found), mask_path(folder, found)
    if not is_done(folder, found):
        with atomic_path(image) as image_part, atomic_path(mask) as mask_part:
            found.image.tree.copy(found.image, image_part)
            shape = _read(read_image, image_part, found.image.label).shape[:2]
            if isinstance(found.mask, Member):
                _put_mask(found.mask, mask_part, shape, found.image.label)
            else:
                objects = _objects(found.mask, image_part, shape, found.image.label)
                _put_objects(objects, mask_part, folder, found.stem, _source(found.mask))
        for suffix in EXTENSIONS - {image.suffix}:  # an earlier build may have taken it from another source
            image.with_name(f"{found.stem}{suffix}").unlink(missing_ok=True)
    return Assembled(
        found.stem,
        split,
        image.relative_to(folder).as_posix(),
        file_digest(image),
        mask.relative_to(folder).as_posix(),
        file_digest(mask),
    )


def _put_mask(mask: Member, part: Path, shape: tuple[int, ...], image_label: str) -> None:
    mask.tree.copy(mask, part)
    values = _read(read_mask, part, mask.label)
    if values.shape != shape:
        raise _sizes_differ(mask.label, values.shape, image_label, shape)
    if not _keeps_bytes(mask):
        part.unlink()  # it may be a link to the raw file, which stays as it is
        _write_png(part, values.astype(np.uint8) * 255, _source(mask))


def _objects(described: Described, image: Path, shape: tuple[int, ...], image_label: str) -> list[Object]:
    """The objects of a picture, upright as the picture is read."""
    objects = draw_objects(described)
    if described.stored and must_turn(described.size, image):
        objects = [replace(each, mask=turn_upright(each.mask, image)) for each in objects]
    for each in objects:
        if each.mask.shape != shape:
            raise _sizes_differ("its annotation", each.mask.shape, image_label, shape)
    return objects


def _put_objects(objects: Sequence[Object], part: Path, folder: Path, stem: str, source: str) -> None:
    ids = number_objects([cut_out(each.mask) for each in objects], objects[0].mask.shape)
    with atomic_path(_instances_path(folder, stem)) as instances_part:
        _write_png(instances_part, ids if ids.max() > 255 else ids.astype(np.uint8))
    write_whole(folder / OBJECTS / f"{stem}{ENDING}", objects, ids)
    _write_png(part, (ids > 0).astype(np.uint8) * 255, source)


def _instances_path(folder: Path, stem: str) -> Path:
    return folder / "masks_instance" / f"{stem}{LOSSLESS}"


def _source(mask: Member | Described) -> str:
    """Size and digest of what a mask is made from: of a file's bytes, or of what an annotation file says.

    Raises:
        DataError: The file cannot be read.
    """
    if isinstance(mask, Member):
        content = mask.tree.read(mask)
    else:
        outlines = [
            [
                shape.label,
                [each.tolist() for each in shape.outline] if isinstance(shape.outline, tuple) else shape.outline,
            ]
            for shape in mask.shapes
        ]
        content = json.dumps([mask.size, mask.fractions, mask.stored, outlines], default=str).encode()
    return f"{len(content)} {hashlib.sha256(content).hexdigest()[:16]}"


def _read_source(mask: Path) -> str:
    """What a mask of ours says that it was made from; "" where it says nothing or is no picture."""
    try:
        with Image.open(mask) as file:
            return str(file.info.get(SOURCE, ""))
    except (OSError, ValueError, SyntaxError):
        return ""


def _write_png(path: Path, values: np.ndarray, source: str = "") -> None:
    """Writes a PNG, with what it was made from as text where that is told."""
    texts = PngInfo()
    if source:
        texts.add_text(SOURCE, source)
    Image.fromarray(values).save(path, "PNG", pnginfo=texts)


def _read(read: Callable[[Path], np.ndarray], part: Path, label: str) -> np.ndarray:
    """Reads a part; an error names the raw file instead."""
    try:
        return read(part)
    except DataError as error:
        raise DataError(error.message.replace(str(part), label), hint=error.hint) from None


def _keeps_bytes(mask: Member) -> bool:
    return mask.name.suffix.lower() == LOSSLESS


def _sizes_differ(mask: str, size: tuple[int, ...], image: str, other: tuple[int, ...]) -> DataError:
    return DataError(
        f"{mask} is {size[1]} x {size[0]}, its picture {image} {other[1]} x {other[0]}",
        hint="the two must have one size",
    )
