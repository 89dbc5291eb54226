"""What every task is, and how a batch becomes prompts and targets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from vns_sam.sam.promptable import PromptableNetwork
from vns_sam.training.recipe import Recipe
from vns_sam.types import PromptBatch


class Task(nn.Module):
    """Base of the tasks.

    Attributes:
        model: What is validated and saved.
    """

    model: PromptableNetwork

    def groups(self, recipe: Recipe) -> list[dict[str, Any]]:
        """Parameter groups, each with its ``peak`` learning rate."""
        raise NotImplementedError

    def trained_state(self) -> dict[str, torch.Tensor]:
        """Every tensor that training changes, and no other."""
        raise NotImplementedError

    def export(self, folder: Path) -> None:
        """Writes the model as users load it."""
        raise NotImplementedError


def prompt_slots(batch: dict[str, torch.Tensor]) -> Iterator[tuple[PromptBatch, torch.Tensor]]:
    """Each prompt slot of a batch of pictures: one prompt for each picture, and targets (I, S, S) bool."""
    index = torch.arange(len(batch["image"]), device=batch["image"].device)
    for k in range(sum(key.endswith(".target") for key in batch)):
        mask = batch.get(f"{k}.mask")
        prompts = PromptBatch(
            index,
            batch.get(f"{k}.box"),
            batch.get(f"{k}.points"),
            batch.get(f"{k}.labels"),
            None if mask is None else mask[:, None],
        )
        yield prompts, batch[f"{k}.target"]


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
