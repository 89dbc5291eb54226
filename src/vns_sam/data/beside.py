"""Masks that lie beside pictures in folders that are no sets, as FSS-1000 and ThinObject-5K are downloaded.

::

    <root>/images_train/a.jpg  <root>/masks_train/a.png     two folders for each split
    <root>/<class>/1.jpg       <root>/<class>/1.png         one folder for both
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from vns_sam.errors import DataError
from vns_sam.images.read import read_image

_IMAGES, _MASKS = "images_", "masks_"
_JPEG, _PNG = (".jpg", ".jpeg"), ".png"
_PLAIN = 0.9
"""Share of black and white from which on a gray PNG is a mask."""


def split_folders(root: Path) -> dict[str, str]:
    """Names of the folders of masks by those of the pictures, for each split that has both."""
    masks = {path.name: path.name.replace(_IMAGES, _MASKS, 1) for path in sorted(root.glob(f"{_IMAGES}*"))}
    return {name: other for name, other in masks.items() if (root / other).is_dir()}


def masks_beside(root: Path, names: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Tells masks from pictures.

    Args:
        root: The folder.
        names: What looks like pictures in it, relative to it.

    Returns:
        The masks by their pictures, and masks without a picture.
    """
    splits = {masks: images for images, masks in split_folders(root).items()}
    mixed = set(_mixed_folders(root, names))
    pictures: dict[str, str] = {}
    masks: dict[str, str] = {}
    for path in map(PurePosixPath, names):
        if path.parts[0] in splits:
            masks[_place(PurePosixPath(splits[path.parts[0]], *path.parts[1:]))] = str(path)
        elif path.parent in mixed and path.suffix.lower() == _PNG:
            masks[_place(path)] = str(path)
        else:
            pictures.setdefault(_place(path), str(path))
    lonely = [name for place, name in masks.items() if place not in pictures]
    return {name: masks[place] for place, name in pictures.items() if place in masks}, lonely


def _mixed_folders(root: Path, names: Sequence[str]) -> Iterable[PurePosixPath]:
    """Folders in which half of the JPEGs or more have a PNG of their name, and the first of these is a mask."""
    jpegs: dict[PurePosixPath, set[str]] = defaultdict(set)
    pngs: dict[PurePosixPath, dict[str, str]] = defaultdict(dict)
    for path in map(PurePosixPath, names):
        if path.suffix.lower() in _JPEG:
            jpegs[path.parent].add(path.stem)
        elif path.suffix.lower() == _PNG:
            pngs[path.parent][path.stem] = str(path)
    for folder, stems in jpegs.items():
        both = sorted(stems & pngs[folder].keys())
        if both and 2 * len(both) >= len(stems) and _is_mask(root / pngs[folder][both[0]]):
            yield folder


def _is_mask(path: Path) -> bool:
    """Whether a picture is gray, and almost all of it black or white: else it is the same photograph once more."""
    try:
        pixels = read_image(path).astype(np.int16)
    except DataError:
        return False
    return not np.ptp(pixels, axis=2).any() and float(np.isin(pixels >> 4, (0, 15)).mean()) >= _PLAIN


def _place(path: PurePosixPath) -> str:
    return str(path.with_suffix(""))
