"""The tasks "vns-sam" and "hq-sam": a method's own modules on a frozen SAM, fresh ones or trained ones."""

from __future__ import annotations

from dataclasses import field, fields
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass

from vns_sam.errors import UsageError
from vns_sam.hq.config import HqSamConfig
from vns_sam.hq.model import HqSamModel
from vns_sam.inference.load import load_network
from vns_sam.sam.checkpoints import load_weights
from vns_sam.sam.encoders.adapter import weaken
from vns_sam.sam.losses import score_loss
from vns_sam.sam.model import SamModel
from vns_sam.training.features import KeptFeatures
from vns_sam.training.samples.settings import TrainingData
from vns_sam.training.settings import STRICT, Recipe, fields_of
from vns_sam.training.tasks.base import Task, enlarge, half, mean_terms, prompt_slots
from vns_sam.types import ImageFeatures
from vns_sam.vns.ablations import ablation_switches
from vns_sam.vns.config import VnsSamConfig
from vns_sam.vns.losses import structure_loss, vns_loss
from vns_sam.vns.model import VnsSamModel

Bce = Literal["mean", "weighted"]
ADAPTER = ("adapter_share", "adapter_rate", "adapter_after")
"""Fields of a recipe that say how an adapter learns."""
MAY_BE_NEW = ("adapter.", "decoder.mask_scores.")
"""Parts that a trained model may lack and a recipe add: until they are trained they change no mask."""
Method = TypeVar("Method", VnsSamModel, HqSamModel)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class FrozenRecipe(Recipe):
    """What recipes of a method on a frozen SAM have.

    Attributes:
        FREE: See ``RunRecipe``.
    """

    FREE: ClassVar[tuple[str, ...]] = (*Recipe.FREE, "features")

    data: TrainingData
    features: Path | None = None
    """Folder in which what the frozen encoder makes of each view is kept: an epoch after the first, and any later run
    on the same pictures, encodes nothing. It wants views that stay the same, `data.views: whole` and a `data.mix` of
    zeros, and has room for 71 MB a view on ViT-L, less on others. The weights are those of a run without it."""

    def __post_init__(self) -> None:
        data = self.data
        if self.features and (data.samples != "house" or data.views != "whole" or any(vars(data.mix).values())):
            raise ValueError("features are kept of views that stay the same: data.views: whole, data.mix: all zeros")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class VnsRecipe(FrozenRecipe):
    """Trains VNS-SAM's modules on a frozen SAM."""

    task: Literal["vns-sam"]
    """`init` is a SAM, for fresh ones on it, or a VNS-SAM, whose modules go on from their weights;
    sam-tiny without it."""
    vns: fields_of(VnsSamConfig, ablation=ablation_switches) = field(  # type: ignore[valid-type]
        default_factory=dict
    )
    """Fields of `VnsSamConfig`, and `ablation`, a row of the paper's tables; the rest follows what the run starts
    from."""
    bce: Bce = "weighted"
    """Cross-entropy: "weighted" is the paper's, "mean" what the authors ran."""
    tune: Literal["all", "scores"] = "all"
    """"all" trains everything that VNS-SAM adds, "scores" what judges its masks alone, which changes none of them; it
    needs `vns.own_scores`."""
    adapter_share: Annotated[float, Field(ge=0, le=1)] = 1.0
    """What a trained adapter that the run starts from keeps of its effect on the encoder, folded into its weights. Less
    of it keeps more of what SAM knew of kinds that the adapter was not made for, see docs/experiments/022."""
    adapter_rate: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Learning rate of the adapter, as a share of `optim.lr`; with 0 it stays as it is, and steps are faster."""
    adapter_after: Annotated[int, Field(ge=0)] = 0
    """Optimiser steps until which the adapter stays as it is. The wavelet bands learn to carry something only while it
    does not do their work, see docs/experiments/033; and steps are faster."""

    def __post_init__(self) -> None:
        super().__post_init__()
        idle = self.told(*ADAPTER, "bce")
        if self.tune == "scores" and idle:
            raise ValueError(f"{', '.join(idle)}: without effect, tune: scores trains what judges the masks alone")

    def told(self, *names: str) -> list[str]:
        """Those of these fields that have another value than their default."""
        return [each.name for each in fields(self) if each.name in names and getattr(self, each.name) != each.default]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class HqRecipe(FrozenRecipe):
    """Trains HQ-SAM's modules on a frozen SAM."""

    task: Literal["hq-sam"]
    """`init` is a SAM, for fresh ones on it, or an HQ-SAM such as hq_vit_l, whose modules go on;
    sam-tiny without it."""
    hq: fields_of(HqSamConfig) = field(default_factory=dict)  # type: ignore[valid-type]
    """Fields of `HqSamConfig`; the rest follows what the run starts from."""
    bce: Bce = "weighted"
    """Cross-entropy: "weighted" is the paper's, "mean" what the authors ran."""


class FrozenSamTask(Task):
    """Base of the tasks whose model keeps its SAM and trains the rest."""

    model: VnsSamModel | HqSamModel
    kept: KeptFeatures | None = None
    adapter_after: int = 0

    def keep(self, folder: Path | None) -> None:
        """Has the frozen encoder's features kept in a folder, or not.

        Raises:
            UsageError: A part of the encoder learns.
        """
        self.kept = None if folder is None else KeptFeatures(folder, self.model)

    def encode(self, batch: dict[str, torch.Tensor]) -> ImageFeatures:
        """Features of a batch's pictures."""
        pixels = self.model.preprocessing.normalise(batch["image"].float())
        encode = self.kept or self.model.encode_frozen
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.step >= self.adapter_after):
            features = encode(pixels)
        return self.model.mine(features)

    def groups(self, recipe: Recipe) -> list[dict[str, Any]]:
        """One group: everything that is not SAM's."""
        return [{"params": self.model.trainable_parameters(), "peak": recipe.optim.lr}]

    def trained_state(self) -> dict[str, torch.Tensor]:
        """Everything that is not SAM's."""
        return self.model.trainable_state_dict()

    def export(self, folder: Path) -> None:
        """Writes a folder for ``load_model``, in half precision; it names the SAM below."""
        self.model.save_pretrained(folder, dtype=torch.float16)


class VnsTask(FrozenSamTask):
    """Trains VNS-SAM's modules."""

    model: VnsSamModel
    edges = True

    def __init__(self, recipe: VnsRecipe) -> None:
        super().__init__()
        self.model = _begin(VnsSamModel, VnsSamConfig, recipe.init or "sam-tiny", recipe.vns)
        self.bce = recipe.bce
        self.adapter_after = recipe.adapter_after
        told = recipe.told(*ADAPTER)
        if told and self.model.adapter is None:
            verb = "is" if len(told) == 1 else "are"
            raise UsageError(f"{', '.join(told)} {verb} told, and there is no adapter", hint="add vns.adapter: true")
        self.judges = self.model.decoder.mask_scores
        self.only_scores = recipe.tune == "scores"
        if self.only_scores:
            if self.judges is None:
                raise UsageError("tune: scores needs a head that judges", hint="add vns.own_scores: true")
            self.model.requires_grad_(False)
            self.judges.requires_grad_(True)
            self.model.train()
        elif self.model.adapter is not None:
            weaken(self.model.adapter, recipe.adapter_share)
            self.model.adapter.requires_grad_(recipe.adapter_rate > 0)
        self.keep(recipe.features)

    def groups(self, recipe: Recipe) -> list[dict[str, Any]]:
        """One group, or two where the adapter has a rate of its own."""
        assert isinstance(recipe, VnsRecipe)
        rate = recipe.adapter_rate
        learnt = {name: value for name, value in self.model.named_parameters() if value.requires_grad}
        adapter = [value for name, value in learnt.items() if name.startswith("adapter.")]
        if not adapter or rate == 1:
            return super().groups(recipe)
        rest = [value for name, value in learnt.items() if not name.startswith("adapter.")]
        return [{"params": rest, "peak": recipe.optim.lr}, {"params": adapter, "peak": rate * recipe.optim.lr}]

    def forward(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Means over the prompt slots of the terms of :func:`vns_sam.vns.losses.vns_loss`, at half the view's size, and
        of ``score`` where the model judges its masks.
        """
        features = self.encode(batch)
        slots, counts = [], []
        for k, (prompts, target) in enumerate(prompt_slots(batch, self.model, features, official=self.official)):
            label = half(target)
            if self.only_scores:
                found = self.model.decode_batch(features, prompts, candidates=True)
                assert found.candidate_scores is not None
                assert found.candidate_logits is not None
                masks = enlarge(found.candidate_logits, label)
                slots.append({"score": score_loss(found.candidate_scores, masks, label)})
            else:
                maps = self.model.decode_levels(features, prompts)
                edge = batch[f"{k}.edge"] if f"{k}.edge" in batch else batch["edge"][prompts.image_index]
                terms = vns_loss(maps, label, half(edge), self.bce)
                if self.judges:
                    terms["score"] = score_loss(maps.scores, enlarge(maps.offered.detach(), label), label)
                slots.append(terms)
            counts.append(len(prompts))
        return mean_terms(slots, counts)


class HqTask(FrozenSamTask):
    """Trains HQ-SAM's modules with VNS-SAM's mask loss, so that the two differ in their architecture alone."""

    model: HqSamModel

    def __init__(self, recipe: HqRecipe) -> None:
        super().__init__()
        self.model = _begin(HqSamModel, HqSamConfig, recipe.init or "sam-tiny", recipe.hq)
        self.bce = recipe.bce
        self.keep(recipe.features)

    def forward(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Mean over the prompt slots of the structure loss of the HQ token's mask, at half the view's size."""
        features = self.encode(batch)
        slots, counts = [], []
        for prompts, target in prompt_slots(batch, self.model, features, official=self.official):
            label = half(target)
            logits = enlarge(self.model.decode_maps(features, prompts).hq_mask_logits, label)
            slots.append({"mask": structure_loss(logits, label, self.bce)})
            counts.append(len(prompts))
        return mean_terms(slots, counts)


def _begin(kind: type[Method], config: Any, init: str, changes: dict[str, Any]) -> Method:
    """A model to train: fresh modules on the SAM that ``init`` names, or the trained model that it names.

    Args:
        kind: The model's class.
        config: Its configuration's class.
        init: Name, folder, file or hub id.
        changes: Fields of the configuration that differ from the default, or from the trained model's.

    Raises:
        UsageError: ``init`` names no model or one of another kind, or a field does not exist.
        CheckpointError: Weights cannot be read, or the changed fields ask for other tensors than the trained ones.
    """
    given = load_network(init)
    if isinstance(given, SamModel):
        model = kind.from_sam(given, config.for_sam(given.config, **{"base": init, **changes}))
    elif isinstance(given, kind):
        trained = given.state_dict()
        model = kind.from_sam(given.sam, config.for_sam(given.sam.config, **{**vars(given.config), **changes}))
        fresh = {key: value for key, value in model.state_dict().items() if key.startswith(MAY_BE_NEW)}
        load_weights(model, {**fresh, **trained}, init)
    else:
        raise UsageError(
            f"expected a SAM or a trained {kind.__name__} as 'init', '{init}' is a {type(given).__name__}",
            hint="name the SAM below it",
        )
    return model.train()
