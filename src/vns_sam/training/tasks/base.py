"""What every task is, and how a batch becomes prompts and targets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from vns_sam.dis.isnet import GtEncoder
from vns_sam.prompts.clicks import Click, next_click
from vns_sam.sam.promptable import PromptableNetwork
from vns_sam.training.samples.prompted import TrainingSet
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
    """

    model: PromptableNetwork | GtEncoder

    def samples(self, recipe: Recipe, *, length: int, step_size: int) -> TrainingSet:
        """The run's samples by position.

        Raises:
            DataError: A set is missing or empty.
        """
        data = recipe.data
        assert isinstance(data, TrainingData)
        return TrainingSet(data, length=length, step_size=step_size, seed=recipe.seed)

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
    batch: dict[str, torch.Tensor], model: PromptableNetwork, features: ImageFeatures
) -> Iterator[tuple[PromptBatch, torch.Tensor]]:
    """Each prompt slot of a batch of pictures: one prompt for each picture, and targets (I, S, S) bool.

    Where the batch asks for corrections, clicks follow each prompt, one after the other, each in the middle of the
    largest region that the model still gets wrong.
    """
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
            with torch.no_grad():
                logits = model.decode_batch(features, prompts).mask_logits
            prompts = add_correction(prompts, enlarge(logits, target)[:, 0] > 0, target)
        yield prompts, target


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
    """Area-averages maps (P, S, S) bool to (P, 1, S / 2, S / 2) in [0, 1]: where VNS-SAM and its rivals are trained."""
    return F.avg_pool2d(target[:, None].float(), 2)


def enlarge(logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """Brings logits (P, 1, h, w) to the label's size."""
    return F.interpolate(logits, (label.shape[-2], label.shape[-1]), mode="bilinear", align_corners=False)


def mean_terms(slots: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """The mean of each loss over the prompt slots."""
    return {key: torch.stack([slot[key] for slot in slots]).mean() for key in slots[0]}
