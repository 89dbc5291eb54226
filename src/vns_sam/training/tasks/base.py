"""What every task is, and how a batch becomes prompts and targets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import Dataset

from vns_sam.dis.isnet import GtEncoder
from vns_sam.prompts.clicks import Click, next_click
from vns_sam.prompts.simulate import sample_official_prompts, sample_paper_prompts
from vns_sam.sam.promptable import PromptableNetwork
from vns_sam.training.samples.prompted import TrainingSet
from vns_sam.training.samples.released import ReleasedSet
from vns_sam.training.samples.settings import TrainingData
from vns_sam.training.settings import Recipe
from vns_sam.training.validation import Validator
from vns_sam.types import ImageFeatures, PromptBatch


class Validate(Protocol):
    """Scores a model by set, with their ``mean``; ``limit`` pictures of each set at most."""

    def __call__(self, model: Any, limit: int | None = None) -> dict[str, float]:
        """Runs the validation."""


class Task(nn.Module):
    """Base of the tasks.

    Attributes:
        model: What is validated and saved.
        edges: Whether its samples have edges.
        official: Whether prompts are drawn as the authors' code does, see ``data.samples``.
        step: Optimiser steps done.
    """

    official = True
    step: int = 0

    model: PromptableNetwork | GtEncoder

    edges: ClassVar[bool] = False

    def samples(self, recipe: Any, *, length: int, step_size: int) -> Dataset[dict[str, np.ndarray]]:
        """The run's samples by position.

        Raises:
            DataError: A set is missing or empty.
        """
        data: TrainingData = recipe.data
        if data.samples != "house":
            self.official = data.samples == "released"
            return ReleasedSet(data, length=length, seed=recipe.seed)
        return TrainingSet(data, length=length, step_size=step_size, seed=recipe.seed, edges=self.edges)

    def batch_seed(self, batch: dict[str, torch.Tensor]) -> int | None:
        """The seed that a batch brings along for what the network draws; None leaves it to the loop."""
        return None

    def validator(self, recipe: Recipe) -> Validate:
        """What scores the model on held-out pictures."""
        return Validator(recipe.data, recipe.validation)

    def groups(self, recipe: Recipe) -> list[dict[str, Any]]:
        """Parameter groups, each with its ``peak`` learning rate."""
        raise NotImplementedError

    def trained_state(self) -> dict[str, torch.Tensor]:
        """Every tensor that training changes, and no other."""
        raise NotImplementedError

    def export(self, folder: Path) -> None:
        """Writes the model as users load it."""
        raise NotImplementedError


def prompt_slots(
    batch: dict[str, torch.Tensor], model: PromptableNetwork, features: ImageFeatures, *, official: bool = True
) -> Iterator[tuple[PromptBatch, torch.Tensor]]:
    """Each prompt slot of a batch of pictures: one prompt for each picture, and targets (I, S, S) bool.

    Of samples as the authors make them, the prompts of each kind, P of them, and their soft targets (P, S, S) in
    [0, 1]; where the text would have no prompt at all, those of the code are taken.

    Where the batch asks for corrections, clicks follow each prompt, one after the other, each in the middle of the
    largest region that the model still gets wrong.
    """
    if "label" in batch:
        labels = batch["label"][:, None] * 255
        generator = torch.Generator(labels.device).manual_seed(int(batch["seed"][0]))
        drawn = [] if official else sample_paper_prompts(labels, generator)
        for prompts in drawn or sample_official_prompts(labels, generator):
            yield prompts, batch["label"][prompts.image_index]
        return
    index = torch.arange(len(batch["image"]), device=batch["image"].device)
    for k in range(sum(key.endswith(".target") for key in batch)):
        mask, target = batch.get(f"{k}.mask"), batch[f"{k}.target"]
        prompts = PromptBatch(
            index,
            batch.get(f"{k}.box"),
            batch.get(f"{k}.points"),
            batch.get(f"{k}.labels"),
            None if mask is None else _on_grid(mask, features),
        )
        for _ in range(int(batch[f"{k}.corrections"][0]) if f"{k}.corrections" in batch else 0):
            with no_grad_apart(target.device):
                logits = model.decode_batch(features, prompts).mask_logits
            prompts = add_correction(prompts, enlarge(logits, target)[:, 0] > 0, target)
        yield prompts, target


@contextmanager
def no_grad_apart(device: torch.device) -> Iterator[None]:
    """No gradients, and weights that mixed precision casts here are not kept: some versions of torch would take them
    again where gradients are wanted, and they have none (pytorch #158232).
    """
    mixed = torch.is_autocast_enabled(device.type)
    with torch.no_grad(), torch.autocast(device.type, enabled=mixed, cache_enabled=False):
        yield


def _on_grid(mask: torch.Tensor, features: ImageFeatures) -> torch.Tensor:
    """Coarse masks (I, S / 4, S / 4) at four times the embedding's grid, (I, 1, 4g, 4g'); it is another size where the
    grid's stride is not 16.
    """
    height, width = features.embedding.shape[-2:]
    size = (4 * height, 4 * width)
    return mask[:, None] if mask.shape[-2:] == size else F.interpolate(mask[:, None], size, mode="bilinear")


def add_correction(prompts: PromptBatch, found: torch.Tensor, target: torch.Tensor) -> PromptBatch:
    """Adds to each prompt a click where the mask found (P, S, S) differs most from the target (P, S, S); where nothing
    is wrong, one in the middle of the object.
    """
    clicks = []
    for mask, truth in zip(found.cpu().numpy(), target.cpu().numpy(), strict=True):
        click = next_click(mask, truth) or next_click(np.zeros_like(truth), truth)
        clicks.append(click or Click(0, 0, 0))
    points = torch.tensor([[[c.x, c.y]] for c in clicks], dtype=torch.float32, device=target.device)
    labels = torch.tensor([[c.label] for c in clicks], device=target.device)
    if prompts.points is not None and prompts.labels is not None:
        points, labels = torch.cat([prompts.points, points], 1), torch.cat([prompts.labels, labels], 1)
    return replace(prompts, points=points, labels=labels)


def quarter(target: torch.Tensor) -> torch.Tensor:
    """Area-averages targets (P, S, S) bool to the decoder's (P, S / 4, S / 4) in [0, 1]."""
    return F.avg_pool2d(target[:, None].float(), 4)[:, 0]


def half(target: torch.Tensor) -> torch.Tensor:
    """Where VNS-SAM and its rivals are trained: area-averages maps (P, S, S) bool to (P, 1, S / 2, S / 2) in [0, 1].

    Soft ones, as the authors make them, stay at full size, (P, 1, S, S), as in their code.
    """
    return target[:, None] if target.is_floating_point() else F.avg_pool2d(target[:, None].float(), 2)


def enlarge(logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """Brings logits (P, 1, h, w) to the label's size."""
    return F.interpolate(logits, (label.shape[-2], label.shape[-1]), mode="bilinear", align_corners=False)


def mean_terms(slots: list[dict[str, torch.Tensor]], counts: Sequence[int] = ()) -> dict[str, torch.Tensor]:
    """The mean of each loss over the prompt slots; ``counts`` are the prompts of each, alike without them."""
    if len(set(counts)) < 2:
        return {key: torch.stack([slot[key] for slot in slots]).mean() for key in slots[0]}
    shares = [count / sum(counts) for count in counts]
    return {key: torch.stack([s * slot[key] for s, slot in zip(shares, slots, strict=True)]).sum() for key in slots[0]}
