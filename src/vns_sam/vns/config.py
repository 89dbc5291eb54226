"""What defines a VNS-SAM: stored as ``config.json`` beside the weights, never in a recipe."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, Self

from vns_sam.errors import CheckpointError, UsageError
from vns_sam.sam.config import MaskDecoderConfig, SamConfig, check_keys
from vns_sam.vns.ablations import ablation_switches
from vns_sam.vns.switches import SWITCHES, Switches, Variant, change_switches, nearest

MODEL_TYPE = "vns-sam"
LevelChannels = tuple[int, int, int, int]


@dataclass(frozen=True)
class VnsSamConfig:
    """A frozen SAM with VNS-SAM's modules.

    Attributes:
        base: The SAM below, as ``vns_sam.sam.zoo.load_sam`` takes it: a name, a folder or a hub id.
        name: What users call the model.
        variant: "official" loads the authors' checkpoints, "paper" follows the text.
        switches: The variant's single differences; None takes those of ``variant``.
        level_channels: Channels of SAM's four exported maps, shallow to deep.
        inner_channels: Width of NSFM, a multiple of 4.
        head_channels: Width of the supplementary head and of the fusion. 256 in the release; a small model
            takes less, since a 3x3 convolution of that width on the 4g grid is most of a CPU's work.
        sum_with_sam: Whether inference adds SAM's own mask logits to the fused ones, the paper's optional last step.
        mask_threshold: Logit above which a pixel is object. It is taken off the logits, so that they are cut at 0 like
            any other model's.
        adapter: Whether SAM's encoder has a trainable adapter (Table V, "+Encoder Adapter").
        mask_prompt: How coarse masks enter SAM's prompt encoder, see ``SamConfig``; the authors train with
            "grey". None keeps what the SAM has.
        mask_decoder: SAM's decoder.
    """

    base: str
    name: str = "vns-sam"
    variant: Variant = "official"
    switches: Switches | None = None
    level_channels: LevelChannels = (1024, 1024, 1024, 1024)
    inner_channels: int = 96
    head_channels: int = 256
    sum_with_sam: bool = False
    mask_threshold: float = 0.0
    adapter: bool = False
    mask_prompt: Literal["logits", "grey"] | None = None
    mask_decoder: MaskDecoderConfig = field(default_factory=MaskDecoderConfig)

    @classmethod
    def for_sam(cls, sam: SamConfig, *, ablation: str | None = None, **changes: Any) -> Self:
        """The configuration that fits a SAM.

        Args:
            sam: The SAM below.
            ablation: A name in :data:`vns_sam.vns.ablations.ABLATIONS`, applied to the variant's preset.
            changes: Further fields. ``switches`` may be a mapping with those switches alone that differ from the
                variant's preset, or from the ablation.

        Raises:
            UsageError: A field, an ablation, a switch or its value does not exist; the nearest one is named.
        """
        known = [entry.name for entry in fields(cls)]
        for name in changes:
            if name not in known:
                raise UsageError(f"VNS-SAM's configuration has no field '{name}'", hint=nearest(name, known))
        given = {"base": sam.name, "name": f"vns-{sam.name}", "level_channels": sam.level_channels, **changes}
        variant, switches = _variant(given.get("variant", "official")), given.get("switches")
        if isinstance(switches, Switches) and ablation is not None:
            raise UsageError("give an ablation or whole switches, not both", hint="switches may be a mapping")
        if not isinstance(switches, Switches) and (ablation is not None or switches is not None):
            given["switches"] = change_switches(variant, {**ablation_switches(ablation or "full"), **(switches or {})})
        return cls(**{"mask_decoder": sam.mask_decoder, **given})

    @property
    def method(self) -> Switches:
        """The switches in force."""
        return self.switches or SWITCHES[self.variant]

    @property
    def mask_channels(self) -> int:
        """Channels of a map that a mask is read from: those of SAM's upscaled image."""
        return self.mask_decoder.hidden_size // 8

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form with its ``model_type``."""
        return {"model_type": MODEL_TYPE, **asdict(self)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Reads :meth:`to_dict`'s form; ``switches`` that are not given are those of the variant.

        Raises:
            CheckpointError: A key is unknown or missing, or a variant or a switch's value does not exist.
        """
        given = {key: value for key, value in values.items() if key != "model_type"}
        check_keys(cls, given, "config.json")
        try:
            variant = _variant(given.get("variant", "official"))
            if given.get("switches") is not None:
                given["switches"] = change_switches(variant, given["switches"])
        except UsageError as error:
            raise CheckpointError(f"config.json: {error.message}", hint=error.hint) from None
        if "mask_decoder" in given:
            check_keys(MaskDecoderConfig, given["mask_decoder"], "'mask_decoder' of config.json")
            given["mask_decoder"] = MaskDecoderConfig(**given["mask_decoder"])
        if "level_channels" in given:
            given["level_channels"] = tuple(given["level_channels"])
        try:
            return cls(**given)
        except TypeError as error:
            raise CheckpointError(f"config.json is incomplete: {error}") from None


def _variant(name: str) -> Variant:
    for variant in SWITCHES:
        if variant == name:
            return variant
    raise UsageError(f"variant must be 'official' or 'paper', found '{name}'", hint=nearest(str(name), [*SWITCHES]))


VIT_CHANNELS = {"vit_b": 768, "vit_l": 1024, "vit_h": 1280}
"""Width of SAM's encoders, which their four exported maps share."""


def backbone_of(channels: LevelChannels) -> str | None:
    """The ViT whose maps have these channels ("vit_b", "vit_l", "vit_h"), None for any other encoder."""
    return next((name for name, width in VIT_CHANNELS.items() if set(channels) == {width}), None)


def check_backbone(found: LevelChannels, expected: LevelChannels, origin: str) -> None:
    """Refuses weights that were made for another encoder.

    Raises:
        CheckpointError: The channels differ.
    """
    if tuple(found) != tuple(expected):
        raise CheckpointError(
            f"{origin}: these weights are for {_describe(found)}, the model is {_describe(expected)}",
            hint=f"load them on {backbone_of(found) or 'the SAM they were trained on'}",
        )


def _describe(channels: LevelChannels) -> str:
    vit = backbone_of(channels)
    if vit is not None:
        return f"ViT-{vit[-1].upper()} ({channels[0]} channels)"
    return f"an encoder with {'/'.join(map(str, channels))} channels"
