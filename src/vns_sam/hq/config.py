"""What defines an HQ-SAM: stored as ``config.json`` beside the weights."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from difflib import get_close_matches
from typing import Any, Literal, Self

from vns_sam.errors import CheckpointError, UsageError
from vns_sam.sam.config import MaskDecoderConfig, SamConfig, check_keys

MODEL_TYPE = "hq-sam"


@dataclass(frozen=True)
class HqSamConfig:
    """A frozen SAM with HQ-SAM's output token and feature fusion.

    Attributes:
        base: The SAM below, as ``vns_sam.sam.zoo.load_sam`` takes it: a name, a folder or a hub id.
        name: What users call the model.
        early_channels: Channels of SAM's first exported map.
        hq_token_only: Whether the mask is that of the HQ token alone, instead of its sum with SAM's own logits.
        mask_prompt: How coarse masks enter SAM's prompt encoder, see ``SamConfig``; None keeps what the SAM has.
        mask_decoder: SAM's decoder.
    """

    base: str
    name: str = "hq-sam"
    early_channels: int = 1024
    hq_token_only: bool = False
    mask_prompt: Literal["logits", "grey"] | None = None
    mask_decoder: MaskDecoderConfig = field(default_factory=MaskDecoderConfig)

    @classmethod
    def for_sam(cls, sam: SamConfig, **changes: Any) -> Self:
        """The configuration that fits a SAM; ``changes`` are further fields.

        Raises:
            UsageError: A field does not exist; the nearest one is named.
        """
        known = [entry.name for entry in fields(cls)]
        for name in changes:
            if name not in known:
                near = get_close_matches(name, known, 1)
                hint = f"did you mean '{near[0]}'?" if near else f"its fields are {', '.join(known)}"
                raise UsageError(f"HQ-SAM's configuration has no field '{name}'", hint=hint)
        fitting = {"early_channels": sam.level_channels[0], "mask_decoder": sam.mask_decoder}
        return cls(**{"base": sam.name, "name": f"hq-{sam.name}", **fitting, **changes})

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form with its ``model_type``."""
        return {"model_type": MODEL_TYPE, **asdict(self)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Reads :meth:`to_dict`'s form.

        Raises:
            CheckpointError: A key is unknown, or ``base`` is missing.
        """
        given = {key: value for key, value in values.items() if key != "model_type"}
        check_keys(cls, given, "config.json")
        if "base" not in given:
            raise CheckpointError("config.json must hold 'base', the SAM below")
        if "mask_decoder" in given:
            check_keys(MaskDecoderConfig, given["mask_decoder"], "'mask_decoder' of config.json")
            given["mask_decoder"] = MaskDecoderConfig(**given["mask_decoder"])
        return cls(**given)
