"""The task "sam-tune": a SAM whose own weights are trained further, the plain alternative to every added module."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic.dataclasses import dataclass
from torch import nn

from vns_sam.errors import UsageError
from vns_sam.inference.load import load_network
from vns_sam.sam.model import SamModel
from vns_sam.training.samples.settings import TrainingData
from vns_sam.training.settings import STRICT, Recipe
from vns_sam.training.tasks.base import Task, enlarge, half, mean_terms, prompt_slots
from vns_sam.vns.losses import structure_loss

Tune = Literal["token", "decoder", "all"]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TuneRecipe(Recipe):
    """Trains a part of a SAM further."""

    task: Literal["sam-tune"]
    """`init` is that SAM; sam-tiny without it."""
    data: TrainingData
    tune: Tune = "decoder"
    """"token" trains the MLPs of the mask tokens, "decoder" the mask decoder, "all" the image encoder too."""
    bce: Literal["mean", "weighted"] = "weighted"
    """Cross-entropy: "weighted" is the paper's, "mean" what the authors ran."""


class SamTuneTask(Task):
    """Trains a part of a SAM with VNS-SAM's mask loss (Table XI: FT-Token, FT-Decoder, FT-Encoder&Decoder)."""

    model: SamModel

    def __init__(self, recipe: TuneRecipe) -> None:
        super().__init__()
        init = recipe.init or "sam-tiny"
        model = load_network(init)
        if not isinstance(model, SamModel):
            raise UsageError(
                f"the task 'sam-tune' trains a plain SAM, '{init}' is a {type(model).__name__}",
                hint="tune the SAM below it, or continue it with its own task",
            )
        self.model = model.requires_grad_(False)
        self.model.config = replace(model.config, name=f"{model.name}-ft-{recipe.tune}")
        self.model.name = self.model.config.name
        for part in tuned_parts(model, recipe.tune):
            part.requires_grad_(True)
        model.mask_decoder.iou_prediction_head.requires_grad_(False)
        self.model.train()
        self.bce = recipe.bce

    def groups(self, recipe: Recipe) -> list[dict[str, Any]]:
        """The image encoder, where it is trained, apart from the decoder."""
        named = self._trained()
        encoder = [p for name, p in named.items() if name.startswith("image_encoder.")]
        decoder = [p for name, p in named.items() if not name.startswith("image_encoder.")]
        groups = [{"params": decoder, "peak": recipe.optim.lr}]
        return [*groups, {"params": encoder, "peak": recipe.optim.backbone_lr}] if encoder else groups

    def forward(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Mean over the prompt slots of the structure loss of SAM's single mask, at half the view's size."""
        features = self.model.encode_pixels(self.model.preprocessing.normalise(batch["image"].float()))
        slots, counts = [], []
        for prompts, target in prompt_slots(batch, self.model, features, official=self.official):
            label = half(target)
            logits = enlarge(self.model.decode_batch(features, prompts).mask_logits, label)
            slots.append({"mask": structure_loss(logits, label, self.bce)})
            counts.append(len(prompts))
        return mean_terms(slots, counts)

    def trained_state(self) -> dict[str, torch.Tensor]:
        """The tuned parameters; batch norms keep their statistics."""
        return {name: value.detach() for name, value in self._trained().items()}

    def export(self, folder: Path) -> None:
        """Writes a whole SAM for ``load_model``, in half precision."""
        self.model.save_pretrained(folder, dtype=torch.float16)

    def _trained(self) -> dict[str, nn.Parameter]:
        return {name: value for name, value in self.model.named_parameters() if value.requires_grad}


def tuned_parts(model: SamModel, tune: Tune) -> list[nn.Module]:
    """The modules that are trained; of the mask decoder all but the head that predicts the IoU.

    "token" is the mask tokens' hyper-MLPs, 559,232 parameters, and "decoder" 3,925,728 of them: the paper's 2.1 and
    15.0 "M", which are MiB.
    """
    if tune == "token":
        return [model.mask_decoder.output_hypernetworks_mlps]
    return [model.mask_decoder] if tune == "decoder" else [model.image_encoder, model.mask_decoder]
