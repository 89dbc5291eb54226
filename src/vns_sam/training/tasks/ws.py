"""The task "ws-sam": a segmenter that needs no prompt, from sparse labels, pseudo-labels or masks."""

from __future__ import annotations

from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from typing_extensions import override

from vns_sam.errors import UsageError
from vns_sam.inference.load import load_network, model_type
from vns_sam.sam.architectures import LITES
from vns_sam.sam.checkpoints import load_weights
from vns_sam.sam.model import SamModel
from vns_sam.training.samples.weak import WeakSet, segment_iou
from vns_sam.training.settings import STRICT, Recipe
from vns_sam.training.tasks.base import Task, Validate
from vns_sam.training.tasks.scratch import imagenet_weights
from vns_sam.training.validation import Validator
from vns_sam.training.ws_settings import Ws
from vns_sam.ws.backbones import LiteBackbone
from vns_sam.ws.config import SETTINGS, WsSamConfig
from vns_sam.ws.losses import PRESETS, ws_loss
from vns_sam.ws.model import WsSamModel


@dataclass(frozen=True, kw_only=True, config=STRICT)
class WsRecipe(Recipe):
    """Trains WS-SAM's segmenter, which needs no prompt."""

    task: Literal["ws-sam"]
    """`init` is "efficientnet-lite0" or "efficientnet-lite2" for its ImageNet weights, a tiny SAM
    for its encoder's, another backbone's folder or hub id, or a WS-SAM's folder to go on from; fresh weights without
    it."""
    batch_size: Annotated[int, Field(ge=2, le=65536)] = 4
    """Pictures in each process at a time; they are compared, so at least 2."""
    ws: Ws = field(default_factory=Ws)

    @property
    @override
    def reads_masks(self) -> bool:
        return self.ws.supervision == "full"


class WsTask(Task):
    """Trains WS-SAM's segmenter, backbone and head."""

    model: WsSamModel

    def __init__(self, recipe: WsRecipe) -> None:
        super().__init__()
        self.ws = recipe.ws
        self.loss = PRESETS[self.ws.preset]
        self.model = begin(recipe.init, self.ws.model).train()
        _freeze(self.model, self.ws.frozen)

    def samples(self, recipe: Recipe, *, length: int, step_size: int) -> WeakSet:
        """Pictures with what is known of them."""
        return WeakSet(
            recipe.data,
            self.ws,
            length=length,
            step_size=step_size,
            seed=recipe.seed,
            by_epoch=self.loss.ramp == "epoch",
        )

    def validator(self, recipe: Recipe) -> Validate:
        """IoU with the true masks of held-out pictures."""
        return Validator(recipe.data, recipe.validation, segment_iou)

    def batch_seed(self, batch: dict[str, torch.Tensor]) -> int:
        """That of the batch's first sample."""
        return int(batch["seed"][0])

    def groups(self, recipe: Recipe) -> list[dict[str, Any]]:
        """The head apart from the backbone."""
        head, backbone = (
            [p for p in part.parameters() if p.requires_grad] for part in (self.model.head, self.model.backbone)
        )
        return [{"params": head, "peak": recipe.optim.lr}, {"params": backbone, "peak": recipe.optim.backbone_lr}]

    def forward(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Terms of :func:`vns_sam.ws.losses.ws_loss`."""
        output = self.model(self.model.preprocessing.normalise(batch["image"].float()))
        return ws_loss(
            output.logits,
            batch["codes"],
            batch["target"].float() / 255,
            batch["weight"].float() / 255,
            batch["keep"],
            progress=float(batch["progress"][0]),
            config=self.loss,
        )

    def trained_state(self) -> dict[str, torch.Tensor]:
        """The whole model, the statistics of its norms included."""
        return self.model.state_dict()

    def export(self, folder: Path) -> None:
        """Writes a folder for ``load_model``, in half precision."""
        self.model.save_pretrained(folder, dtype=torch.float16)


def begin(init: str | None, fields: dict[str, Any]) -> WsSamModel:
    """A segmenter to train.

    Args:
        init: The name of an EfficientNet-Lite for its ImageNet weights, a tiny SAM for its encoder's, a WS-SAM's
            folder to continue, a folder or hub id of another backbone, or None for fresh weights.
        fields: Of :class:`WsSamConfig`.

    Raises:
        UsageError: A field does not exist or has a value that is not allowed, or ``init`` does not fit the backbone.
        CheckpointError: Weights cannot be read or are of another shape.
    """
    if init is None:
        return WsSamModel(WsSamConfig.make(**fields))
    if init in LITES:
        model, backbone = _on_lite(init, init, fields)
        backbone.load_imagenet(imagenet_weights(init))
        return model
    kind = model_type(init)
    given = load_network(init) if kind == WsSamConfig.model_type else None
    if isinstance(given, WsSamModel):
        model = WsSamModel(WsSamConfig.make(**{**vars(given.config), **fields}))
        load_weights(model, given.state_dict(), init)
        return model
    if kind is not None and kind not in SETTINGS:
        return _on_sam(init, fields)
    return WsSamModel.from_backbone(init, **{name: value for name, value in fields.items() if name != "backbone"})


def _on_sam(init: str, fields: dict[str, Any]) -> WsSamModel:
    """A fresh head on the encoder of a tiny SAM."""
    sam = load_network(init)
    lite = sam.config.backbone if isinstance(sam, SamModel) else None
    name = next((name for name, known in LITES.items() if known == lite), None)
    if not isinstance(sam, SamModel) or name is None:
        raise UsageError(f"expected a tiny SAM as 'init', '{init}' is none", hint=f"sam-tiny, {' or '.join(LITES)}")
    model, backbone = _on_lite(init, name, fields)
    found = sam.image_encoder.state_dict()
    backbone.encoder.load_state_dict({name: found[name] for name in backbone.encoder.state_dict()})
    return model


def _on_lite(init: str, name: str, fields: dict[str, Any]) -> tuple[WsSamModel, LiteBackbone]:
    """A fresh head on a fresh EfficientNet-Lite of that name, and its backbone."""
    model = WsSamModel(WsSamConfig.make(**{"backbone": name, **fields}))
    if not isinstance(model.backbone, LiteBackbone) or model.config.backbone.kind != name:
        raise UsageError(f"'{init}' fits the backbone {name}, found {model.config.backbone.kind}", hint="ws.model")
    return model, model.backbone


def _freeze(model: WsSamModel, stages: int) -> None:
    """Keeps the first stages of an EfficientNet-Lite as they are."""
    if not stages:
        return
    if not isinstance(model.backbone, LiteBackbone) or stages > len(model.backbone.encoder.stages):
        raise UsageError(
            f"'ws.frozen' takes up to 7 stages of an EfficientNet-Lite, found {stages}", hint="ws.frozen: 0"
        )
    encoder = model.backbone.encoder
    for part in (encoder.stem, *encoder.stages[:stages]):
        part.requires_grad_(False)
