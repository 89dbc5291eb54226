"""PNG: a mask of 0 and 255 for each object; read in every way that masks are stored."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from vns_sam.errors import DataError
from vns_sam.formats.result import Files, Result, each_object
from vns_sam.images.opener import open_image
from vns_sam.images.read import DECODER_ERRORS, one_line
from vns_sam.images.write import encode_image

NAME = "png"
ENDING = "_mask.png"

MASK_THRESHOLD = 127
"""A pixel is object where its gray value is above this."""

LOSSY = frozenset({"AVIF", "JPEG", "JPEG2000", "MPO", "WEBP"})
"""Formats that change values, so that colours and gray values in them are no ids."""

VOID = 255
"""In a palette of Pascal VOC and beside gray ids: neither object nor background."""

_VOID_COLOUR = (224, 224, 192)  # what Pascal VOC paints it in
_VOC_FIRST = (128, 0, 0)  # and its first object
_MOST_COLOURS = 256
_FLAT = 0.8  # so many pixels of ids have their id to the left or above; those of a soft map seldom have
_INNER, _BESIDE = 0.2, 0.5  # a rim has hardly a pixel within itself, and most beside a lighter shade
_FEW_IDS, _ON_GROUND = 8, 0.5  # of more ids so many touch the background; of a soft map's levels the lowest alone do


def encode(result: Result, paths: Sequence[str]) -> Files:
    """A file for each object."""
    pieces = result.prediction.pieces
    return {path: encode_image(piece.full(result.size)) for path, piece in zip(paths, pieces, strict=True)}


def plan(stem: str, name: str, objects: int) -> list[str]:
    """Names of the files of one picture."""
    return each_object(stem, ENDING, objects)


def read_mask(path: str | os.PathLike[str]) -> np.ndarray:
    """Reads a mask file.

    Where transparency varies (a cut-out), the object is where it is > 127; in a file of ids, see :func:`ids_of`, where
    there is one. Else it is where gray > 127, or the first channel of colours, or where the value is 1 in a file that
    holds only 0 and 1.

    Returns:
        (H, W) bool, True on the object.

    Raises:
        DataError: The file is missing or no picture.
    """
    values, are_ids = _read_values(Path(path))
    if are_ids:
        return values > 0
    return values > (0 if values.max() <= 1 else MASK_THRESHOLD)


def read_instances(path: str | os.PathLike[str]) -> list[np.ndarray]:
    """Reads a file of object ids: those of :func:`ids_of`, or any gray values of 8 or 16 bits; 0 is background.

    Returns:
        One (H, W) bool mask for each id that occurs, by rising id; empty where everything is background.

    Raises:
        DataError: The file is missing or no picture, or holds colours that are no ids.
    """
    values, _ = _read_values(Path(path), ids_alone=True)
    return [values == i for i in np.unique(values) if i != 0]


def read_masks(path: str | os.PathLike[str]) -> list[np.ndarray]:
    """The objects (H, W) bool of a file of masks: one, or one for each id of a picture of ids.

    Ids are those of :func:`ids_of`, values of more than 8 bits, or gray values below 128.

    Raises:
        DataError: The file is missing, no picture, or marks nothing.
    """
    values, are_ids = _read_values(Path(path))
    highest = int(values.max())
    if are_ids or (values.dtype != bool and 1 < highest <= MASK_THRESHOLD) or (values.dtype.itemsize > 1 and highest):
        found = [values == i for i in np.unique(values) if i != 0]
    else:
        found = [values > (0 if highest <= 1 else MASK_THRESHOLD)]
    if not found or not found[0].any():
        raise DataError(f"expected a mask at {path}, found an empty one")
    return found


def varying_alpha(file: Image.Image) -> np.ndarray | None:
    """Transparency (H, W) uint8 of an open picture where it varies, else None."""
    if file.mode not in ("RGBA", "LA", "PA"):
        return None
    alpha = np.asarray(file.getchannel("A"))
    return alpha if alpha.min() != alpha.max() else None


def ids_of(file: Image.Image) -> np.ndarray | None:
    """The ids (H, W) of an open picture, 0 for background and void; None where its values are no ids.

    Ids are indices into a coloured palette. In lossless files they are also colours, at most 256 of which black is
    background, and gray values of 8 bits that lie flat and count from 1 without a gap, :data:`VOID` beside them.
    """
    if file.mode == "P" and not has_gray_palette(file):
        indices = np.asarray(file)
        is_void = _has_void(file) and np.any((indices > 0) & (indices < VOID))
        return np.where(indices == VOID, 0, indices) if is_void else indices
    if file.format in LOSSY:
        return None
    values = _decoded(file)
    if file.mode in ("RGB", "RGBA") and np.any(values[..., 1:3] != values[..., :1]):
        return _colour_ids(values)
    return _gray_ids(values if values.ndim == 2 else values[..., 0])


def _has_void(file: Image.Image) -> bool:
    """Whether the last index of an open palette picture is Pascal VOC's void."""
    palette = (file.getpalette("RGB") or []) + [0] * 3 * (VOID + 1)
    return tuple(palette[3:6]) == _VOC_FIRST or tuple(palette[3 * VOID : 3 * VOID + 3]) == _VOID_COLOUR


def _colour_ids(values: np.ndarray) -> np.ndarray | None:
    """Ids of colours (H, W, 3 or more) uint8 where they are few. A smooth rim belongs to what it is the rim of."""
    weights = np.array([1, 1 << 8, 1 << 16], np.int32)
    codes = values[..., :3] @ weights
    codes[codes == weights @ _VOID_COLOUR] = 0
    found = np.unique(np.append(codes, 0))
    if len(found) > _MOST_COLOURS:
        return None
    ids = np.searchsorted(found, codes)
    becomes = np.arange(len(found), dtype=np.uint16)
    for thin, whole, light in _rims(ids, found[:, None] // weights % 256):
        becomes[thin] = whole if light > 0.5 else 0
    return becomes[ids]


def _rims(ids: np.ndarray, colours: np.ndarray) -> Iterator[tuple[int, int, float]]:
    """Ids that are the smooth rim of another, each with that and its share of that one's light: thin, and beside
    lighter shades of the same colour.
    """
    padded = np.pad(ids, 1)
    around = np.stack([padded[1:-1, :-2], padded[1:-1, 2:], padded[:-2, 1:-1], padded[2:, 1:-1]])
    areas = np.bincount(ids.ravel(), minlength=len(colours))
    inner = np.bincount(ids[(around == ids).all(axis=0)], minlength=len(colours))
    light = colours.max(axis=1)
    for thin in np.flatnonzero((areas > 0) & (inner < _INNER * areas) & (light > 0)):
        alike = np.abs(colours - colours[thin] * (light / light[thin])[:, None]).max(axis=1) <= light / light[thin] + 1
        lighter = alike & (light > light[thin])
        if lighter.any() and lighter[around[:, ids == thin]].any(axis=0).mean() >= _BESIDE:
            whole = int(np.where(lighter, light, 0).argmax())
            yield int(thin), whole, float(light[thin] / light[whole])


def _gray_ids(values: np.ndarray) -> np.ndarray | None:
    """Gray values (H, W) as ids; None where they have another depth than 8 bits, a gap, or ramps as soft maps have."""
    if values.dtype != np.uint8 or not np.any((values > 0) & (values < VOID)):
        return None
    areas = np.bincount(values.ravel(), minlength=VOID + 1)
    highest = int(np.flatnonzero(areas[:VOID])[-1])
    areas, void = areas[1 : highest + 1], areas[VOID]
    if not areas.all() or areas.sum() <= void:
        return None
    beside, below = (values[:, 1:], values[:, :-1]), (values[1:], values[:-1])
    same = np.zeros(values.shape, bool)
    same[:, 1:] = np.equal(*beside)
    same[1:] |= np.equal(*below)
    if np.count_nonzero(same & (values > 0) & (values < VOID)) < _FLAT * areas.sum():
        return None
    on_ground = np.zeros(VOID + 1, bool)
    for one, other in (beside, below):
        on_ground[one[other == 0]] = on_ground[other[one == 0]] = True
    if highest > _FEW_IDS and on_ground[1 : highest + 1].mean() < _ON_GROUND:
        return None
    return values if highest == VOID - 1 else np.where(values == VOID, 0, values)  # 255 after 254 is an id, too


def _decoded(file: Image.Image) -> np.ndarray:
    """Values (H, W) or (H, W, C) of an open picture, of a palette its grays."""
    return np.asarray(file.convert("L") if file.mode == "P" else file)


def _read_values(path: Path, *, ids_alone: bool = False) -> tuple[np.ndarray, bool]:
    """Values (H, W) of a mask file, and whether they are ids, see :func:`ids_of`."""
    try:
        with open_image(path) as file:
            alpha = None if ids_alone else varying_alpha(file)
            if alpha is not None:
                return alpha, False
            ids = ids_of(file)
            if ids is not None:
                return ids, True
            values = _decoded(file)
    except DECODER_ERRORS as error:
        raise DataError(f"expected a mask picture at {path}: {one_line(error)}", hint="check the file") from error
    if values.ndim == 3:
        if ids_alone and np.any(values[..., :3] != values[..., :1]):
            raise DataError(
                f"expected object ids as gray values, or a colour for each, in {path}, found other colours",
                hint=f"write a PNG with one gray value for each object, or at most {_MOST_COLOURS} colours",
            )
        values = values[..., 0]
    return values, False


def has_gray_palette(file: Image.Image) -> bool:
    """Whether all colours of an open palette picture are grays: its masks are then read by value, not by index."""
    palette = np.asarray(file.getpalette("RGB"), dtype=np.uint8).reshape(-1, 3)
    return bool(np.all(palette == palette[:, :1]))
