"""Samples of training with prompts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vns_sam.data.pairs import Pair
from vns_sam.data.synthesis.defects import crack, scar
from vns_sam.data.synthesis.scenes import Scene, camouflage, paste, patchwork, recolour, view, whole
from vns_sam.errors import DataError
from vns_sam.lowlight.sketch import sketch_night
from vns_sam.prompts.slots import PROMPT_SLOTS, Slot, draw_prompt, plan_slots
from vns_sam.training.samples.edges import edge_target
from vns_sam.training.samples.memory import Memory
from vns_sam.training.samples.sampler import ATTEMPTS, SMALLEST, SetSampler, read_scene, split_pairs, weighted
from vns_sam.training.samples.settings import TrainingData


class TrainingSet(SetSampler[TrainingData, Pair]):
    """Samples by position; every position of one step shares its view size and the kinds of its prompts.

    Args:
        data: What to train on.
        length: Number of samples of the whole run.
        step_size: Samples of one optimiser step over all processes.
        seed: Of the run.
        edges: Also give ``k.edge`` (S, S) bool, the target's contour, see ``data.edge``.

    Raises:
        DataError: A set is missing or empty.
    """

    def __init__(self, data: TrainingData, *, length: int, step_size: int, seed: int, edges: bool = False) -> None:
        super().__init__(data, weighted(data, split_pairs), length=length, step_size=step_size, seed=seed)
        self.edges = edges
        self._scenes: Memory[Pair, Scene] = Memory(self._read_scene, _size, data.cache_mib * 2**20)

    def __getitem__(self, position: int) -> dict[str, np.ndarray]:
        """One sample: ``image`` (3, S, S) uint8 and for each prompt slot k ``k.target`` (S, S) bool and prompts, and
        ``k.corrections``, the number of clicks that are to follow.
        """
        step, step_rng = self.step_of(position)
        side = self.side_of(step_rng)
        prompts, alone = plan_slots(step_rng, self.data.prompts), self.data.clicks
        slots = (*prompts, *alone * (Slot(points=1),))
        corrections = (*self._plan_corrections(step)[: len(prompts)], *alone * (0,))
        rng = self.generator(step, position)
        scene = self._sample_scene(side, rng)
        sample: dict[str, np.ndarray] = {"image": np.ascontiguousarray(scene.image.transpose(2, 0, 1))}
        areas = scene.masks.sum(axis=(1, 2))
        usable = np.flatnonzero(areas >= 16)
        for k, slot in enumerate(slots):
            target = 0 if k == 0 else int(rng.choice(usable))
            mask = scene.masks[target]
            sample[f"{k}.target"] = mask
            if self.edges:
                sample[f"{k}.edge"] = edge_target(mask, thickness=self.data.edge)
            sample |= {f"{k}.{key}": value for key, value in draw_prompt(mask, slot, rng).items()}
            if corrections[k]:
                sample[f"{k}.corrections"] = np.array(corrections[k])
        return sample

    def _plan_corrections(self, step: int) -> list[int]:
        """Clicks that follow the prompt of each slot, the same for all samples of a step."""
        rng = np.random.default_rng([self.seed, step, self.length])  # of its own: other streams stay as they are
        return [int(rng.integers(1, 5)) if rng.random() < self.data.corrections else 0 for _ in range(PROMPT_SLOTS)]

    def _sample_scene(self, side: int, rng: np.random.Generator) -> Scene:
        """A recoloured view whose object 0 is in sight and large enough to prompt."""
        for _ in range(ATTEMPTS):
            scene, name = self._draw(side, rng)
            if scene.masks[0].sum() < SMALLEST or scene.masks[0].mean() > 0.9:
                continue
            if rng.random() < self.data.mix.composite:
                donor, _ = self._draw(side, rng)
                if donor.masks[0].sum() >= 64:
                    scene = paste(scene, donor, 0, rng)
            if name not in self.data.plain:
                if self.data.mix.crack and rng.random() < self.data.mix.crack:
                    scene = crack(scene.image, rng) or scene
                elif rng.random() < self.data.mix.defect:
                    scene = scar(scene.image, rng) or scene
                elif rng.random() < self.data.mix.camouflage:
                    scene = camouflage(scene, 0, rng)
                elif self.data.mix.patchwork and rng.random() < self.data.mix.patchwork:
                    scene = patchwork(scene, 0, self._draw(side, rng)[0], rng)
                if rng.random() < self.data.mix.dark:
                    return Scene(sketch_night(scene.image, rng), scene.masks)
            return scene if self.data.views == "whole" else Scene(recolour(scene.image, rng), scene.masks)
        raise DataError(
            f"found no object to train on in {ATTEMPTS} views of {', '.join(self.names)}",
            hint="masks are empty, tiny or fill their picture; check the files with docs/data.md",
        )

    def _draw(self, side: int, rng: np.random.Generator) -> tuple[Scene, str]:
        """A view of a random picture with its random object first."""
        name, pair = self.draw_pair(rng)
        scene = self._scenes[pair]
        target = int(rng.integers(len(scene.masks)))
        others = rng.permutation(len(scene.masks))[:4]
        order = [target, *(int(i) for i in others if i != target)]
        drawn = Scene(scene.image, scene.masks[order])
        return whole(drawn, side) if self.data.views == "whole" else view(drawn, 0, side, rng), name

    def _read_scene(self, pair: Pair) -> Scene:
        return read_scene(pair, self.data.kept_side)


def _size(scene: Scene) -> int:
    return scene.image.nbytes + scene.masks.nbytes


def collate(samples: Sequence[dict[str, np.ndarray]]) -> dict[str, Any]:
    """Stacks the samples of one process into tensors."""
    import torch

    keys = samples[0].keys()
    return {key: torch.from_numpy(np.stack([sample[key] for sample in samples])) for key in keys}
