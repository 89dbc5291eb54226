"""PNG: a mask of 0 and 255 for each object; read in every way that masks are stored."""

from __future__ import annotations

import os
from collections.abc import Sequence
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


def encode(result: Result, paths: Sequence[str]) -> Files:
    """A file for each object."""
    pieces = result.prediction.pieces
    return {path: encode_image(piece.full(result.size)) for path, piece in zip(paths, pieces, strict=True)}


def plan(stem: str, name: str, objects: int) -> list[str]:
    """Names of the files of one picture."""
    return each_object(stem, ENDING, objects)


def read_mask(path: str | os.PathLike[str]) -> np.ndarray:
    """Reads a mask file.

    The object is where gray > 127, or where the value is 1 in a file that holds only 0 and 1. Where transparency
    varies (a cut-out), it is the mask; other colour files are read by their first channel, files with a coloured
    palette by its index (0 is background).

    Returns:
        (H, W) bool, True on the object.

    Raises:
        DataError: The file is missing or no picture.
    """
    values, is_index = _read_values(Path(path))
    if is_index:
        return values > 0
    return values > (0 if values.max() <= 1 else MASK_THRESHOLD)


def read_instances(path: str | os.PathLike[str]) -> list[np.ndarray]:
    """Reads a file of object ids (8 or 16 bit, gray or palette); 0 is background.

    Returns:
        One (H, W) bool mask for each id that occurs, by rising id; empty where everything is background.

    Raises:
        DataError: The file is missing or no picture, or holds colours, which name no id.
    """
    values, _ = _read_values(Path(path), allow_colour=False)
    return [values == i for i in np.unique(values) if i != 0]


def read_masks(path: str | os.PathLike[str]) -> list[np.ndarray]:
    """The objects (H, W) bool of a file of masks: one, or one for each id of a picture of ids.

    Ids are indices of a coloured palette, values of more than 8 bits, or gray values below 128.

    Raises:
        DataError: The file is missing, no picture, or marks nothing.
    """
    values, is_index = _read_values(Path(path))
    highest = int(values.max())
    if is_index or (values.dtype != bool and 1 < highest <= MASK_THRESHOLD) or (values.dtype.itemsize > 1 and highest):
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


def _read_values(path: Path, *, allow_colour: bool = True) -> tuple[np.ndarray, bool]:
    """Values (H, W) of a mask file, and whether they are indices into a coloured palette."""
    try:
        with open_image(path) as file:
            if file.mode == "P" and not has_gray_palette(file):
                return np.asarray(file), True
            alpha = varying_alpha(file)
            if alpha is not None and allow_colour:
                return alpha, False
            values = np.asarray(file.convert("L") if file.mode == "P" else file)
    except DECODER_ERRORS as error:
        raise DataError(f"expected a mask picture at {path}: {one_line(error)}", hint="check the file") from error
    if values.ndim == 3:
        if not allow_colour and np.any(values[..., :3] != values[..., :1]):
            raise DataError(
                f"expected object ids as gray values in {path}, found colours",
                hint="write one 8 or 16 bit gray value for each object",
            )
        values = values[..., 0]
    return values, False


def has_gray_palette(file: Image.Image) -> bool:
    """Whether all colours of an open palette picture are grays: its masks are then read by value, not by index."""
    palette = np.asarray(file.getpalette("RGB"), dtype=np.uint8).reshape(-1, 3)
    return bool(np.all(palette == palette[:, :1]))
