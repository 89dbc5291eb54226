"""Bright and dark pictures that need not show the same: what a CycleGAN learns darkness from.

Samples are a pure function of seed and position, so that a run resumes where it stopped.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
from PIL import Image
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch.utils.data import Dataset

from vns_sam.data.pairs import picture_folder
from vns_sam.errors import DataError
from vns_sam.images.find import find_images
from vns_sam.images.read import read_image
from vns_sam.lowlight.luminance import measure

DARK_FOLDERS = frozenset({"low"})
BRIGHT_FOLDERS = frozenset({"high", "normal"})
"""Names of the folders of LOL and LOL-v2, in any case."""

TESTS = ("eval", "test")
"""Folders whose names begin so are kept out of training: ``eval15`` of LOL, ``Test`` of LOL-v2."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid", allow_inf_nan=False))
class UnpairedData:
    """What a CycleGAN trains on.

    Attributes:
        bright: Folders of daylight pictures: LOL itself, or a part of it with ``high/`` or ``normal/``; a set with
            ``images/``; or any folder of pictures.
        dark: Folders of dark pictures, likewise, with ``low/``.
        dark_below: Of the dark pictures only those with a lower mean luminance (0 to 255) are taken.
        load: Side of the square to which pictures are resized, in pixels.
        crop: Side of the crops from it.
    """

    bright: tuple[Path, ...]
    dark: tuple[Path, ...]
    dark_below: Annotated[float, Field(ge=0, le=255)] = 255.0
    load: Annotated[int, Field(ge=32, le=16384)] = 286
    crop: Annotated[int, Field(ge=32, le=16384)] = 256

    def __post_init__(self) -> None:
        if not self.bright or not self.dark:
            raise ValueError("bright and dark need a folder each")
        if self.crop % 4 or not 32 <= self.crop <= self.load:
            raise ValueError(f"crop must be a multiple of 4 from 32 to load ({self.load}), got {self.crop}")


def find_domain(folder: Path, names: frozenset[str]) -> list[Path]:
    """Pictures of one domain.

    Where folders called one of ``names`` are found, their pictures are taken and no other, those of tests left out;
    else those of a set, else all.

    Raises:
        DataError: There is no such folder, or no picture in it.
    """
    if not folder.is_dir():
        raise DataError(f"expected a folder of pictures at {folder}, found none", hint="see docs/low-light.md")
    inside = sorted(path for path in folder.rglob("*") if path.is_dir() and path.name.lower() in names)
    kept = [path for path in inside if not _is_test(path.relative_to(folder))]
    places = kept or inside or [picture_folder(folder)]
    return [place / name for place in places for name in find_images(place)]


def _is_test(path: Path) -> bool:
    return any(part.lower().startswith(TESTS) for part in path.parts)


class UnpairedSet(Dataset[dict[str, np.ndarray]]):
    """Crops of both domains by position.

    An epoch is as long as the larger domain. It goes through the bright pictures in a new order; the dark ones are
    drawn at random, so that no two keep company.

    Args:
        data: What to train on.
        seed: Of the run.

    Raises:
        DataError: A folder is missing or empty, or no picture is dark enough.
    """

    def __init__(self, data: UnpairedData, seed: int) -> None:
        self.data, self.seed = data, seed
        self.bright = [path for folder in data.bright for path in find_domain(folder, BRIGHT_FOLDERS)]
        found = [path for folder in data.dark for path in find_domain(folder, DARK_FOLDERS)]
        limited = data.dark_below < 255
        self.dark = [p for p in found if measure(read_image(p)).mean < data.dark_below] if limited else found
        if not self.dark:
            raise DataError(f"expected dark pictures below a mean luminance of {data.dark_below:g}, found none")

    def __len__(self) -> int:
        """Number of samples in an epoch."""
        return max(len(self.bright), len(self.dark))

    def __getitem__(self, position: int) -> dict[str, np.ndarray]:
        """``bright`` and ``dark``, each (3, crop, crop) uint8; ``position`` counts on through the epochs."""
        epoch, index = divmod(position, len(self))
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self))
        rng = np.random.default_rng([self.seed, epoch, index])
        bright = self.bright[int(order[index]) % len(self.bright)]
        dark = self.dark[int(rng.integers(len(self.dark)))]
        return {"bright": self._crop(bright, rng), "dark": self._crop(dark, rng)}

    def _crop(self, path: Path, rng: np.random.Generator) -> np.ndarray:
        """A random crop of a picture squeezed into a square, mirrored half of the time."""
        size = (self.data.load, self.data.load)
        image = np.asarray(Image.fromarray(read_image(path)).resize(size, Image.Resampling.BICUBIC))
        top, left = rng.integers(0, self.data.load - self.data.crop + 1, 2)
        crop = image[top : top + self.data.crop, left : left + self.data.crop]
        return np.ascontiguousarray((crop[:, ::-1] if rng.random() < 0.5 else crop).transpose(2, 0, 1))


def collate_unpaired(samples: list[dict[str, np.ndarray]]) -> dict[str, Any]:
    """Stacks samples into tensors (B, 3, crop, crop) float32 in [-1, 1]."""
    import torch

    return {k: torch.from_numpy(np.stack([s[k] for s in samples])).float() / 127.5 - 1 for k in samples[0]}
