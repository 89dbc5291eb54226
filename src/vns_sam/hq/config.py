"""What defines an HQ-SAM: stored as ``config.json`` beside the weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self

from vns_sam.errors import UsageError
from vns_sam.sam.architectures import TinyVitConfig
from vns_sam.sam.config import MaskDecoderConfig, SamConfig
from vns_sam.sam.model_config import ModelConfig, Width

Early = Literal["level", "entry", "none"]


@dataclass(frozen=True)
class HqSamConfig(ModelConfig):
    """A frozen SAM with HQ-SAM's output token and feature fusion.

    Attributes:
        base: The SAM below, as ``vns_sam.sam.zoo.load_sam`` takes it: a name, a folder or a hub id.
        name: What users call the model.
        early: What is fused with the attended image: "level" the encoder's first exported map and its embedding, as in
            the paper; "entry" what enters the third stage of a TinyViT instead of the first map, as in HQ-SAM light;
            "none" nothing, as in HQ-SAM 2.
        early_channels: Channels of the early map.
        hq_token_only: Whether the mask is that of the HQ token alone, instead of its sum with SAM's own logits.
        mask_prompt: How coarse masks enter SAM's prompt encoder, see ``SamConfig``; None keeps what the SAM has.
        mask_decoder: SAM's decoder.
        base_edition: Which weights a bundled ``base`` had, see :mod:`vns_sam.sam.editions`; written when it is saved.
    """

    model_type: ClassVar[str] = "hq-sam"
    title: ClassVar[str] = "HQ-SAM"

    base: str
    name: str = "hq-sam"
    early: Early = "level"
    early_channels: Width = 1024
    hq_token_only: bool = False
    mask_prompt: Literal["logits", "grey"] | None = None
    mask_decoder: MaskDecoderConfig = field(default_factory=MaskDecoderConfig)
    base_edition: str | None = None

    @classmethod
    def for_sam(cls, sam: SamConfig, **changes: Any) -> Self:
        """The configuration that fits a SAM; ``changes`` are further fields.

        Raises:
            UsageError: A field does not exist, the nearest one is named; or a value is not allowed.
        """
        given = {"base": sam.name, "name": f"hq-{sam.name}", "mask_decoder": sam.mask_decoder, **changes}
        return cls.make(**{"early_channels": early_channels(sam, given.get("early", "level")), **given})


def early_channels(sam: SamConfig, early: Early) -> int:
    """Channels of the early map that a SAM's encoder gives.

    Raises:
        UsageError: Only a TinyViT has an "entry".
    """
    if early != "entry":
        return sam.level_channels[0]
    if not isinstance(sam.backbone, TinyVitConfig):
        raise UsageError(f"early 'entry' is a TinyViT's, {sam.name} has another encoder", hint="early: level")
    return sam.backbone.widths[2]
