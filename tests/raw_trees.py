"""Tiny raw folders in the authors' layouts."""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

KVASIR = ("cju0qkwl35piu0993l0dewei2", "cju0qoxqj9q6s0835b43399p4", "cju0qx73cjw570799j4n5cjze")
CAMO = ("camourflage_00001", "camourflage_00002", "camourflage_00003")
COD10K = ("COD10K-CAM-1-Aquatic-1-BatFish-1", "COD10K-CAM-2-Terrestrial-23-Cat-1506")


def write_picture(path: Path, size: tuple[int, int] = (8, 8)) -> None:
    """A picture of width x height whose colours follow from its name."""
    values = np.random.default_rng(list(path.name.encode())).integers(0, 256, (size[1], size[0], 3), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def write_object(path: Path, size: tuple[int, int] = (8, 8)) -> None:
    """A mask of width x height with a square of 4 x 4 pixels."""
    values = np.zeros((size[1], size[0]), np.uint8)
    values[2:6, 2:6] = 255
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def write_pairs(images: Path, masks: Path, stems: Iterable[object], image: str = ".jpg", mask: str = ".png") -> None:
    """Pictures and masks of these stems."""
    for stem in stems:
        write_picture(images / f"{stem}{image}")
        write_object(masks / f"{stem}{mask}")


def pack_zip(folder: Path, archive: Path) -> None:
    """Packs what is in a folder."""
    with zipfile.ZipFile(archive, "w") as packed:
        for path in sorted(folder.rglob("*")):
            packed.write(path, path.relative_to(folder))


def pack_tar(folder: Path, archive: Path) -> None:
    """Packs what is in a folder, gzipped."""
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(folder, arcname=".")
