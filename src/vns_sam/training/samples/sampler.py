"""What all streams of training samples share: pictures of sets, drawn by weight."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any, Generic, TypeVar
from zlib import crc32

import cv2
import numpy as np
from torch.utils.data import Dataset

from vns_sam.data.pairs import Pair, Picture, check_same_size, picture_stem, read_instances, read_mask
from vns_sam.data.splits import Each, training_pairs, training_pictures
from vns_sam.data.synthesis.scenes import Scene
from vns_sam.errors import DataError
from vns_sam.images.read import read_image
from vns_sam.training.samples.settings import SetData

HELD_OUT = 20
"""One pair in so many is kept out of training, to choose the best checkpoint by."""
ATTEMPTS = 1000
"""Views drawn for one sample before the sets are given up as having nothing to train on."""
SMALLEST = 24
"""Pixels of an object that is trained on."""

Data = TypeVar("Data", bound=SetData)


class SetSampler(Dataset[dict[str, np.ndarray]], Generic[Data, Each]):
    """Samples by position, a pure function of (seed, position), so that a run resumes where it stopped.

    Args:
        data: What to train on.
        drawn: Pictures and weight of each set, see :func:`weighted`.
        length: Number of samples of the whole run.
        step_size: Samples of one optimiser step over all processes.
        seed: Of the run.

    Raises:
        DataError: A set is missing, or has nothing to train on.
    """

    def __init__(
        self,
        data: Data,
        drawn: Mapping[str, tuple[Sequence[Each], float]],
        *,
        length: int,
        step_size: int,
        seed: int,
    ) -> None:
        if not data.sets:
            raise DataError("the recipe names no training set", hint="give data.sets, a weight for each set")
        self.data, self.length, self.step_size, self.seed = data, length, step_size, seed
        self.names = list(drawn)
        self.pairs = {name: pairs for name, (pairs, _) in drawn.items()}
        weights = np.array([weight for _, weight in drawn.values()], dtype=float)
        self.weights = weights / weights.sum()

    def __len__(self) -> int:
        """Number of samples."""
        return self.length

    def step_of(self, position: int) -> tuple[int, np.random.Generator]:
        """The step that a sample belongs to, and a generator that all samples of it share."""
        step = position // self.step_size
        return step, np.random.default_rng([self.seed, step])

    def side_of(self, step_rng: np.random.Generator) -> int:
        """Side of the views of a step, the first that its generator draws."""
        return int(step_rng.choice(self.data.sizes))

    def generator(self, step: int, position: int) -> np.random.Generator:
        """The generator of one sample."""
        return np.random.default_rng([self.seed, step, position])

    def draw_pair(self, rng: np.random.Generator) -> tuple[str, Each]:
        """A random picture of a random set."""
        name = self.names[int(rng.choice(len(self.names), p=self.weights))]
        pairs = self.pairs[name]
        return name, pairs[int(rng.integers(len(pairs)))]


def weighted(
    data: SetData, find: Callable[[Path, str], tuple[Sequence[Each], Any]]
) -> dict[str, tuple[Sequence[Each], float]]:
    """What is drawn of each set, with its weight; ``find`` is :func:`split_pairs` or :func:`split_without_masks`.

    Raises:
        DataError: See :func:`split_pairs`.
    """
    return {name: (find(data.root, name)[0], weight) for name, weight in data.sets.items()}


def train_pairs(root: Path, name: str) -> list[Pair]:
    """The whole train split of one set, but what its list ``val`` names.

    Raises:
        DataError: The set is missing.
    """
    pairs, held = training_pairs(root / name)
    return pairs if held is not None else sorted(pairs, key=attrgetter("stem"))


def held_pairs(root: Path, name: str) -> list[Pair]:
    """What training leaves out of one set to choose the best checkpoint by; there may be none.

    Raises:
        DataError: The set is missing.
    """
    return divide_pairs(*training_pictures(root / name))[1]


def split_pairs(root: Path, name: str) -> tuple[list[Pair], list[Pair]]:
    """The train split of one set as (training, held out), see :func:`divide_pairs`.

    Raises:
        DataError: The set is missing, or nothing of it is left to train on.
    """
    return _split(root / name, training_pairs)


def split_without_masks(root: Path, name: str) -> tuple[list[Picture], list[Pair]]:
    """The same where pictures are learnt from without their masks.

    Raises:
        DataError: See :func:`split_pairs`.
    """
    return _split(root / name, training_pictures)


def _split(folder: Path, find: Callable[[Path], tuple[list[Each], list[Pair] | None]]) -> tuple[list[Each], list[Pair]]:
    pairs, listed = find(folder)
    training, held = divide_pairs(pairs, listed)
    if not training:
        why = "its lists 'val' and 'test' name all" if not pairs else f"all {len(pairs)} are held out by their stems"
        raise DataError(
            f"expected pictures to train on in {folder}, found none: {why}",
            hint="list pictures in train.txt that val.txt and test.txt do not name, see docs/data.md",
        )
    return training, held


def divide_pairs(pairs: list[Each], held: list[Pair] | None) -> tuple[list[Each], list[Pair]]:
    """Pairs as (training, held out): ``held`` where it is given, else by a hash of the stem of their picture; what has
    no mask cannot be held out.
    """
    if held is not None:
        return pairs, held
    training: list[Each] = []
    found: list[Pair] = []
    for pair in pairs:
        if isinstance(pair, Pair) and crc32(picture_stem(pair.stem).encode()) % HELD_OUT == 0:
            found.append(pair)
        else:
            training.append(pair)
    return training, found


def read_scene(pair: Pair, longest: int | None) -> Scene:
    """Reads a pair, its longer side reduced to ``longest`` where that is given; objects too small to train on are left
    out.

    Raises:
        DataError: A file is damaged, or picture and masks differ in size.
    """
    image = read_image(pair.image)
    masks = read_instances(pair.instances) if pair.instances else []
    masks = masks or [read_mask(pair.mask)]
    check_same_size(pair, image, masks[0])
    scale = 1.0 if longest is None else min(1.0, longest / max(image.shape[:2]))
    size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
    small = [reduce_mask(mask, size) for mask in masks]
    large = [m for m in small if m.sum() >= SMALLEST] or [max(small, key=np.sum)]
    return Scene(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.stack(large[:64]))


def reduce_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A mask (H, W) bool at a smaller ``size``, (width, height)."""
    reduced: np.ndarray = cv2.resize(mask.astype(np.uint8) * 255, size, interpolation=cv2.INTER_AREA) > 127
    return reduced
