"""What defines a VNS-SAM: stored as ``config.json`` beside the weights, never in a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal, Self

from vns_sam.errors import CheckpointError, UsageError
from vns_sam.sam.config import VITS, LevelChannels, MaskDecoderConfig, SamConfig
from vns_sam.sam.foundations.names import CONFIGS
from vns_sam.sam.model_config import Between, ModelConfig, nearest
from vns_sam.vns.ablations import ablation_switches
from vns_sam.vns.switches import SWITCHES, Switches, Variant, change_switches


@dataclass(frozen=True)
class VnsSamConfig(ModelConfig):
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
        own_scores: Whether a head of its own predicts the IoU of every mask that is offered; else the score is SAM's,
            of SAM's mask, as in the release.
        mask_prompt: How coarse masks enter SAM's prompt encoder, see ``SamConfig``; the authors train with
            "grey". None keeps what the SAM has.
        mask_decoder: SAM's decoder.
        base_edition: Which weights a bundled ``base`` had, see :mod:`vns_sam.sam.editions`; written when it is saved.
    """

    model_type: ClassVar[str] = "vns-sam"
    title: ClassVar[str] = "VNS-SAM"

    base: str
    name: str = "vns-sam"
    variant: Variant = "official"
    switches: Switches | None = None
    level_channels: LevelChannels = (1024, 1024, 1024, 1024)
    inner_channels: Annotated[int, Between(4, 8192, 4)] = 96
    head_channels: Annotated[int, Between(1, 8192)] = 256
    sum_with_sam: bool = False
    mask_threshold: Annotated[float, Between(-100, 100)] = 0.0
    adapter: bool = False
    own_scores: bool = False
    mask_prompt: Literal["logits", "grey"] | None = None
    mask_decoder: MaskDecoderConfig = field(default_factory=MaskDecoderConfig)
    base_edition: str | None = None

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
        given = {"base": sam.name, "name": f"vns-{sam.name}", "level_channels": sam.level_channels, **changes}
        switches = given.get("switches")
        if isinstance(switches, Switches) and ablation is not None:
            raise UsageError("give an ablation or whole switches, not both", hint="switches may be a mapping")
        if ablation is not None:
            given["switches"] = {**ablation_switches(ablation), **(switches or {})}
        return cls.make(**{"mask_decoder": sam.mask_decoder, **given})

    @classmethod
    def prepare(cls, values: dict[str, Any]) -> dict[str, Any]:
        """``switches`` as a mapping may give those alone that differ from the variant's preset."""
        variant, switches = _variant(values.get("variant", "official")), values.get("switches")
        if switches is None or isinstance(switches, Switches):
            return values
        if not isinstance(switches, Mapping):
            raise UsageError(f"switches must be a mapping of switches, found {switches!r:.60}")
        return {**values, "switches": change_switches(variant, switches)}

    @property
    def method(self) -> Switches:
        """The switches in force."""
        return self.switches or SWITCHES[self.variant]

    @property
    def mask_channels(self) -> int:
        """Channels of a map that a mask is read from: those of SAM's upscaled image."""
        return self.mask_decoder.hidden_size // 8


def _variant(name: str) -> Variant:
    for variant in SWITCHES:
        if variant == name:
            return variant
    raise UsageError(f"variant must be 'official' or 'paper', found '{name}'", hint=nearest(str(name), [*SWITCHES]))


VIT_CHANNELS = {name: vit.hidden_size for name, vit in VITS.items()}
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
    named = [name for name, config in CONFIGS.items() if config().level_channels == tuple(channels)]
    kind = " or ".join(named) or "an encoder"
    return f"{kind} with {'/'.join(map(str, channels))} channels"
