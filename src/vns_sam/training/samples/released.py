"""Samples as VNS-SAM's authors make them: every picture once an epoch, jittered in scale, with soft labels."""

from __future__ import annotations

from operator import attrgetter

import numpy as np
import torch
from torch.utils.data import Dataset

from vns_sam.data.pairs import Pair, check_same_size, read_mask
from vns_sam.errors import DataError
from vns_sam.images.read import read_image
from vns_sam.training.samples.augment import LargeScaleJitter
from vns_sam.training.samples.edges import edge_target, own_edge
from vns_sam.training.samples.memory import Memory
from vns_sam.training.samples.sampler import train_pairs
from vns_sam.training.samples.settings import TrainingData


class ReleasedSet(Dataset[dict[str, np.ndarray]]):
    """Samples by position, at the pictures' own resolution. Weights of sets and memory for pictures play no part. As
    the authors do, it shows all pictures of the train splits, those that validation scores, too.

    Args:
        data: What to train on; its views have one side.
        length: Number of samples of the whole run.
        seed: Of the run.

    Attributes:
        pairs: Every picture with the name that the recipe has for its set.

    Raises:
        DataError: A set is missing, or all are empty.
    """

    def __init__(self, data: TrainingData, *, length: int, seed: int) -> None:
        self.data, self.length, self.seed = data, length, seed
        self.pairs = [(name, pair) for name in data.sets for pair in train_pairs(data.root, name)]
        if not self.pairs:
            raise DataError("the recipe names no training picture", hint="give data.sets, a weight for each set")
        self.jitter = LargeScaleJitter(data.sizes[0])
        self._orders: Memory[int, np.ndarray] = Memory(self._draw_order, attrgetter("nbytes"), 0)

    def __len__(self) -> int:
        """Number of samples."""
        return self.length

    def __getitem__(self, position: int) -> dict[str, np.ndarray]:
        """One sample: ``image`` (3, S, S) uint8; ``label`` and ``edge`` (S, S) float32 in [0, 1], soft; ``seed`` of the
        prompts. The label may come out empty, as in the authors' code.
        """
        epoch, place = divmod(position, len(self.pairs))
        name, pair = self.pairs[int(self._orders[epoch][place])]
        image, mask = read_image(pair.image), read_mask(pair.mask)
        check_same_size(pair, image, mask)
        drawn = np.random.SeedSequence([self.seed, position]).generate_state(2, np.uint64)
        generator = torch.Generator().manual_seed(int(drawn[0] >> 1))
        edge = self._edge(name, pair, mask)
        truth, outline = (torch.from_numpy(one.astype(np.float32))[None] for one in (mask * np.uint8(255), edge))
        pixels = torch.from_numpy(image.transpose(2, 0, 1).copy())
        picture, label, line = self.jitter(pixels, truth, outline, generator)
        seed = np.array(int(drawn[1] >> 1))
        return {"image": picture.numpy(), "label": label[0].numpy() / 255, "edge": line[0].numpy(), "seed": seed}

    def _edge(self, name: str, pair: Pair, mask: np.ndarray) -> np.ndarray:
        """What the edge branch learns of a picture of a set, (H, W) bool."""
        asked = self.data.edges.get(name, self.data.edge)
        return own_edge(self.data.root / name, pair, mask) if asked == "own" else edge_target(mask, thickness=asked)

    def _draw_order(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self.seed, epoch]).permutation(len(self.pairs))
