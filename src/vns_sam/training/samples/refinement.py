"""Samples of DIS-SAM's training, and the score that chooses its best checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vns_sam.data.ignored import read_ignored
from vns_sam.data.pairs import Pair, find_pairs, read_mask
from vns_sam.data.synthesis.scenes import Scene, recolour
from vns_sam.dis.channels import box_channel, released_sample, squash
from vns_sam.dis.isnet import GtEncoder
from vns_sam.dis.windows import surroundings
from vns_sam.errors import DataError
from vns_sam.images.windows import Window, extent, whole
from vns_sam.metrics.iou import boundary_iou, iou
from vns_sam.training.dis_settings import Dis
from vns_sam.training.samples.coarse import CoarseCache
from vns_sam.training.samples.memory import Memory
from vns_sam.training.samples.sampler import (
    ATTEMPTS,
    SMALLEST,
    SetSampler,
    divide_pairs,
    held_pairs,
    read_scene,
    reduce_mask,
    split_pairs,
    weighted,
)
from vns_sam.training.samples.settings import SetData

THIN = "thin"
"""Name of the synthetic set."""
MOST_OBJECTS = 8
"""Of one picture."""
MARGINS = (0.05, 1.0)
"""Of views around an object, as shares of its longer side."""
ZOOMED = 0.25
"""Share of views around an object that show a part of it only, as a second look does."""


@dataclass(frozen=True)
class RefinementScene:
    """A picture whose masks are refined.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        truth: The true masks of its objects, (K, H, W) bool.
        coarse: For each first stage its masks of them, (K, H, W) bool.
    """

    image: np.ndarray
    truth: np.ndarray
    coarse: tuple[np.ndarray, ...] = ()

    @property
    def nbytes(self) -> int:
        """Bytes of all maps."""
        return self.image.nbytes + self.truth.nbytes + sum(masks.nbytes for masks in self.coarse)


class RefinementSet(SetSampler[SetData, Pair]):
    """Samples by position: picture, coarse mask and box of one object, and its true mask.

    Args:
        data: What to train on.
        dis: How.
        cache: The coarse masks; None for samples without, for the ground-truth encoder.
        thin: Folder that holds the synthetic set, or None.
        length: Number of samples of the whole run.
        step_size: Samples of one optimiser step over all processes.
        seed: Of the run.
    """

    def __init__(
        self,
        data: SetData,
        dis: Dis,
        cache: CoarseCache | None,
        thin: Path | None,
        *,
        length: int,
        step_size: int,
        seed: int,
    ) -> None:
        drawn = weighted(data, split_pairs)
        if thin is not None:
            drawn[THIN] = thin_pairs(thin, dis.thin)[0], dis.thin_weight
        super().__init__(data, drawn, length=length, step_size=step_size, seed=seed)
        self.dis, self.cache = dis, cache
        self._scenes: Memory[Pair, RefinementScene] = Memory(
            self.read_scene, attrgetter("nbytes"), data.cache_mib * 2**20
        )

    @property
    def side(self) -> int | None:
        """Longer side that pictures are reduced to; None leaves them as they are, as the authors' loader does."""
        return None if self.dis.loader == "released" else self.data.kept_side

    def __getitem__(self, position: int) -> dict[str, np.ndarray]:
        """One sample of uint8: ``input`` (5, S, S) of colours, coarse mask and box, ``label`` (1, S, S)."""
        step, step_rng = self.step_of(position)
        side, rng = self.side_of(step_rng), self.generator(step, position)
        image, coarse, truth = self._sample_view(rng)
        if rng.random() < self.dis.colour:
            image = recolour(image, rng)
        if rng.random() < self.dis.drop:
            coarse = np.zeros_like(coarse)
        stacked = np.concatenate([image, coarse[..., None] * np.uint8(255), truth[..., None] * np.uint8(255)], axis=2)
        stacked = flip(stacked, self.dis, rng)
        if self.dis.loader == "released":
            return released(stacked, side)
        values = torch.from_numpy(np.ascontiguousarray(stacked.transpose(2, 0, 1)))[None].float()
        resized = squash(values, side, antialias=self.dis.model.get("antialias", False))[0].trunc().byte().numpy()
        box = extent(stacked[..., 4] > 0)
        if box is None:
            raise DataError("expected an object in the view, found none")
        drawn = box_channel(box, stacked.shape[0], stacked.shape[1], side).byte().numpy() * np.uint8(255)
        return {"input": np.concatenate([resized[:4], drawn]), "label": resized[4:]}

    def _sample_view(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Picture (h, w, 3) uint8, coarse and true mask (h, w) bool of a view with an object in it."""
        for _ in range(ATTEMPTS):
            scene = self._scenes[self.draw_pair(rng)[1]]
            target = int(rng.integers(len(scene.truth)))
            truth = scene.truth[target]
            if truth.sum() < SMALLEST:
                continue
            coarse = scene.coarse[int(rng.integers(len(scene.coarse)))][target] if scene.coarse else truth
            at = self._window(truth, rng).index
            if truth[at].sum() >= SMALLEST:
                return scene.image[at], coarse[at], truth[at]
        raise DataError(
            f"found no object to train on in {ATTEMPTS} views of {', '.join(self.names)}",
            hint="masks are empty or tiny; check the files with: vns-sam data check DIR",
        )

    def _window(self, truth: np.ndarray, rng: np.random.Generator) -> Window:
        height, width = truth.shape
        box = extent(truth)
        if self.dis.views == "whole" or box is None:
            return whole(height, width)
        view = surroundings(box, float(rng.uniform(*MARGINS)), height, width)
        if rng.random() >= ZOOMED:
            return view
        share = rng.uniform(0.3, 0.7)
        h, w = (max(16, int(length * share)) for length in view.shape)
        rows, columns = np.nonzero(truth)
        pick = int(rng.integers(len(rows)))
        top = int(np.clip(rows[pick] - h // 2, 0, max(0, height - h)))
        left = int(np.clip(columns[pick] - w // 2, 0, max(0, width - w)))
        return Window(top, min(height, top + h), left, min(width, left + w))

    def read_scene(self, pair: Pair) -> RefinementScene:
        """The picture's objects with the first stages' masks of them."""
        scene = self.read_plain(pair)
        if self.cache is None:
            return RefinementScene(scene.image, scene.masks)
        coarse = tuple(self.cache.read(pair, number) for number in range(len(self.cache.prints)))
        return RefinementScene(scene.image, scene.masks, coarse)

    def read_plain(self, pair: Pair) -> Scene:
        """The picture's first objects alone, as the first stages are asked about them."""
        scene = read_scene(pair, self.side)
        return Scene(scene.image, scene.masks[:MOST_OBJECTS])


def released(stacked: np.ndarray, side: int) -> dict[str, np.ndarray]:
    """A sample of picture, coarse and true mask (H, W, 5) uint8 as the authors' loader makes it."""
    channels, label = released_sample(stacked[..., :3], stacked[..., 4], stacked[..., 3], side)
    shift = torch.tensor([0.5, 0.5, 0.5, 0, 0])[:, None, None]
    grey = ((channels + shift) * 255).round().byte().numpy()
    return {"input": grey, "label": (label * 255).round().byte().numpy()}


def flip(values: np.ndarray, dis: Dis, rng: np.random.Generator) -> np.ndarray:
    """Mirrors (H, W, C): left to right half of the time in the paper; each way, both and neither in the release."""
    draw = rng.random()
    if dis.preset == "paper":
        return values[:, ::-1] if draw < 0.5 else values
    if draw <= 0.25:
        return values[:, ::-1]
    if draw <= 0.5:
        return values[::-1]
    return values[::-1, ::-1] if draw <= 0.75 else values


class RefinementValidator:
    """Mean of IoU and boundary IoU of refined masks on held-out pictures, from cached coarse masks.

    Args:
        samples: The training set; of its sets the pairs that training leaves out are used.
        held: These pairs by set.
        limit: Pictures of each set at most.

    Raises:
        DataError: What a set says of pixels that do not count cannot be used.
    """

    def __init__(self, samples: RefinementSet, held: dict[str, list[Pair]], limit: int) -> None:
        self.samples, self.held, self.limit = samples, held, limit
        for pair in (pair for pairs in held.values() for pair in pairs[:limit] if pair.ignore is not None):
            read_ignored(pair, read_mask(pair.mask).shape)

    def __call__(self, model: torch.nn.Module, limit: int | None = None) -> dict[str, float]:
        """The score by set and the ``mean`` over the sets; empty where nothing is held out."""
        training = model.training
        model.eval()
        scores = {}
        for name, pairs in self.held.items():
            each = [self._score(model, pair) for pair in pairs[: min(self.limit, limit or self.limit)]]
            found = [score for score in each if score is not None]
            if found:
                scores[name] = float(np.mean(found))
        model.train(training)
        return {**scores, "mean": float(np.mean(list(scores.values())))} if scores else {}

    def _score(self, model: Any, pair: Pair) -> float | None:
        scene = self.samples.read_scene(pair)
        counted = read_counted(pair, scene.truth[0].shape)
        truth = scene.truth[0] & counted
        box = extent(truth)
        if box is None:
            return None
        if not isinstance(model, GtEncoder):
            coarse = scene.coarse[0][0] if scene.coarse else np.zeros_like(truth)
            matte = model.refine(scene.image, coarse, box)
            found = matte.alpha > matte.threshold
        else:
            found = encoded(model, truth, self.samples.data.sizes[0])
        found &= counted
        return (iou(found, truth) + boundary_iou(found, truth)) / 2


def read_counted(pair: Pair, shape: tuple[int, ...]) -> np.ndarray | bool:
    """Pixels that count in a picture reduced to ``shape`` (H, W): bool, True where all do."""
    ignored = None if pair.ignore is None else read_ignored(pair, read_mask(pair.mask).shape)
    return True if ignored is None else ~reduce_mask(ignored, (shape[1], shape[0]))


@torch.inference_mode()
def encoded(model: torch.nn.Module, mask: np.ndarray, size: int) -> np.ndarray:
    """A mask (H, W) bool as a ground-truth encoder gives it back."""
    values = torch.from_numpy(mask)[None, None].float().to(next(model.parameters()).device)
    side = model(squash(values, size))[0][0]
    back = torch.nn.functional.interpolate(side, mask.shape, mode="bilinear", align_corners=False)
    found: np.ndarray = (back[0, 0] > 0.5).cpu().numpy()
    return found


def held_out(data: SetData, dis: Dis, thin: Path | None) -> dict[str, list[Pair]]:
    """The pairs of each set that training leaves out."""
    held = {name: held_pairs(data.root, name) for name in data.sets}
    return held if thin is None else {**held, THIN: thin_pairs(thin, dis.thin)[1]}


def thin_pairs(folder: Path, count: int) -> tuple[list[Pair], list[Pair]]:
    """The first ``count`` synthetic pictures below a folder as (training, held out); a cache that runs share may hold
    more, of a run that asked for more.

    Raises:
        DataError: The set is missing.
    """
    found = find_pairs(folder / THIN)
    first = {pair.stem for pair in sorted(found, key=lambda pair: (len(pair.stem), pair.stem))[:count]}
    return divide_pairs([pair for pair in found if pair.stem in first], None)


def all_pairs(samples: RefinementSet, held: dict[str, list[Pair]]) -> Sequence[Pair]:
    """Every pair that training or validation reads."""
    return [pair for pairs in (*samples.pairs.values(), *held.values()) for pair in pairs]
