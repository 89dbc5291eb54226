"""What defines a VNS-SAM: stored as ``config.json`` beside the weights, never in a recipe."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self

from vns_sam.errors import CheckpointError
from vns_sam.sam.config import MaskDecoderConfig, SamConfig, check_keys

MODEL_TYPE = "vns-sam"
Variant = Literal["official", "paper"]
LevelChannels = tuple[int, int, int, int]


@dataclass(frozen=True)
class Switches:
    """Where the authors' release and their paper part ways; docs/paper-to-code.md explains each.

    Attributes:
        token_readout: "official" reads the mask from SAM's fourth mask token and the edge from the first new
            token, the second one is only attended to; "paper" reads the mask from the first new token and the
            edge from the second.
        token_fusion: "readout" adds the edge token to the mask token where the mask is read; "feedback" is
            equation 2, a linear layer on their sum after each decoder layer, fed to the next one.
        level1_attention: Whether the tokens of level 1 attend to the image once more, with weights of its own.
        level1_fusion: Whether level 1 has the supplementary map and its fusion, as level 2 has.
        level2_maskfeature: What level 2 makes of the upscaled image: "gelu" only its last activation, "full" the
            convolutions of level 1.
        edge_with_image_embedding: Whether the edge feature is added to the image embedding of each level.
        fusion_convs: Convolutions of the fusion: three of 3x3, or a 3x3 and a 1x1.
    """

    token_readout: Variant
    token_fusion: Literal["readout", "feedback"]
    level1_attention: bool
    level1_fusion: bool
    level2_maskfeature: Literal["gelu", "full"]
    edge_with_image_embedding: bool
    fusion_convs: Literal[2, 3]


SWITCHES: dict[Variant, Switches] = {
    "official": Switches("official", "readout", True, False, "gelu", False, 3),
    "paper": Switches("paper", "feedback", False, True, "full", True, 2),
}
"""The two presets; an ablation is one of them with a switch replaced."""


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
    mask_prompt: Literal["logits", "grey"] | None = None
    mask_decoder: MaskDecoderConfig = field(default_factory=MaskDecoderConfig)

    @classmethod
    def for_sam(cls, sam: SamConfig, **changes: Any) -> Self:
        """The configuration that fits a SAM; ``changes`` are further fields."""
        given = {"base": sam.name, "name": f"vns-{sam.name}", **changes}
        return cls(level_channels=sam.level_channels, mask_decoder=sam.mask_decoder, **given)

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
        """Reads :meth:`to_dict`'s form.

        Raises:
            CheckpointError: A key is unknown or missing, or a variant does not exist.
        """
        given = {key: value for key, value in values.items() if key != "model_type"}
        if given.get("variant", "official") not in SWITCHES:
            raise CheckpointError(f"variant must be 'official' or 'paper', found '{given['variant']}'")
        check_keys(cls, given, "config.json")
        if given.get("switches") is not None:
            check_keys(Switches, given["switches"], "'switches' of config.json")
            given["switches"] = Switches(**given["switches"])
        if "mask_decoder" in given:
            check_keys(MaskDecoderConfig, given["mask_decoder"], "'mask_decoder' of config.json")
            given["mask_decoder"] = MaskDecoderConfig(**given["mask_decoder"])
        if "level_channels" in given:
            given["level_channels"] = tuple(given["level_channels"])
        try:
            return cls(**given)
        except TypeError as error:
            raise CheckpointError(f"config.json is incomplete: {error}") from None


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
