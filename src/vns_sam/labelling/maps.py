"""Fused maps on disk, one 8-bit PNG for each picture: the map times 255."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import numpy as np

from vns_sam.errors import DataError
from vns_sam.images.opener import open_image
from vns_sam.images.write import write_image
from vns_sam.labelling.fusion import HIGH, Uncertainty, measure

MAPS = "maps"


def read_bytes(path: Path, *, published: bool = False) -> np.ndarray:
    """A map as it is stored, (H, W) uint8; a published one of 0 and 1 is read as one of 0 and 255.

    Raises:
        DataError: It is missing or damaged.
    """
    try:
        with open_image(path) as file:
            bytes_ = np.asarray(file if file.mode == "L" else file.convert("L"))
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"expected a fused map at {path}: {error}", hint="label that picture again") from None
    return bytes_ * np.uint8(255) if published and bytes_.size and bytes_.max() == 1 else bytes_


def encode_map(fused: np.ndarray) -> np.ndarray:
    """A fused map in bytes, (H, W) uint8."""
    return np.round(np.asarray(fused, np.float64) * 255).astype(np.uint8)


def decode_map(bytes_: np.ndarray, levels: int | None) -> np.ndarray:
    """The fused map from its bytes; of votes with ``levels`` voters the exact fractions, up to 255 of them."""
    share = bytes_.astype(np.float64) / 255
    if levels is not None:
        share = np.round(share * levels) / levels
    return share.astype(np.float32)


def map_path(image: str) -> str:
    """Where the map of a picture is, relative to the store; the picture's ending stays in the name, since two pictures
    may share their stem.
    """
    return str(PurePosixPath(MAPS) / f"{PurePosixPath(image)}.png")


def write_map(root: Path, image: str, fused: np.ndarray, levels: int | None) -> tuple[str, Uncertainty]:
    """Writes the map of a picture and measures it as it will be read.

    Raises:
        DataError: The place cannot be written.
    """
    bytes_ = encode_map(fused)
    path = map_path(image)
    write_image(root / path, bytes_)
    return path, measure(decode_map(bytes_, levels), HIGH)
