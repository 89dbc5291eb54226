"""What defines an HQ-SAM: stored as ``config.json`` beside the weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self

from vns_sam.sam.config import MaskDecoderConfig, SamConfig
from vns_sam.sam.model_config import ModelConfig, Width


@dataclass(frozen=True)
class HqSamConfig(ModelConfig):
    """A frozen SAM with HQ-SAM's output token and feature fusion.

    Attributes:
        base: The SAM below, as ``vns_sam.sam.zoo.load_sam`` takes it: a name, a folder or a hub id.
        name: What users call the model.
        early_channels: Channels of SAM's first exported map.
        hq_token_only: Whether the mask is that of the HQ token alone, instead of its sum with SAM's own logits.
        mask_prompt: How coarse masks enter SAM's prompt encoder, see ``SamConfig``; None keeps what the SAM has.
        mask_decoder: SAM's decoder.
    """

    model_type: ClassVar[str] = "hq-sam"
    title: ClassVar[str] = "HQ-SAM"

    base: str
    name: str = "hq-sam"
    early_channels: Width = 1024
    hq_token_only: bool = False
    mask_prompt: Literal["logits", "grey"] | None = None
    mask_decoder: MaskDecoderConfig = field(default_factory=MaskDecoderConfig)

    @classmethod
    def for_sam(cls, sam: SamConfig, **changes: Any) -> Self:
        """The configuration that fits a SAM; ``changes`` are further fields.

        Raises:
            UsageError: A field does not exist, the nearest one is named; or a value is not allowed.
        """
        fitting = {"early_channels": sam.level_channels[0], "mask_decoder": sam.mask_decoder}
        return cls.make(**{"base": sam.name, "name": f"hq-{sam.name}", **fitting, **changes})
