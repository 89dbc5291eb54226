"""What defines a SAM: stored as ``config.json`` beside the weights, never in a recipe."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any, ClassVar, Literal

from vns_sam.errors import UsageError
from vns_sam.sam.architectures import LITES, EncoderConfig, Lite
from vns_sam.sam.model_config import Between, Checked, Count, ModelConfig, Width
from vns_sam.sam.preprocessing import Fit

LevelChannels = tuple[Width, Width, Width, Width]
"""Channels of the four exported maps, shallow to deep."""


@dataclass(frozen=True)
class MaskDecoderConfig(Checked):
    """SAM's two-way mask decoder (Kirillov et al. 2023, appendix A); field names as in transformers.

    Attributes:
        layer_norm_eps: Of the two-way blocks. Meta's SAM has 1e-5; transformers' default of 1e-6 is off by 1e-4
            on the logits.
        object_token: Whether a token before all others tells if the object is there at all (SAM 2).
        finer_maps: Whether the encoder's finer maps are added when the image is upscaled (SAM 2).
        sigmoid_scores: Whether predicted IoU is squeezed into 0 .. 1 (SAM 2).
        stability: Where the single mask is not stable, the best of the three takes its place (SAM 2). Stable is a mask
            whose area above ``stability_delta`` is at least this share of that above ``-stability_delta``; 0 keeps it
            always.
    """

    hidden_size: Annotated[int, Between(8, 8192, 8)] = 256
    mlp_dim: Width = 2048
    num_hidden_layers: Count = 2
    num_attention_heads: Count = 8
    attention_downsample_rate: Count = 2
    num_multimask_outputs: Count = 3
    iou_head_hidden_dim: Width = 256
    layer_norm_eps: Annotated[float, Between(0, 1)] = 1e-5
    object_token: bool = False
    finer_maps: bool = False
    sigmoid_scores: bool = False
    stability: Annotated[float, Between(0, 1)] = 0.0
    stability_delta: Annotated[float, Between(0, 100)] = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hidden_size % (self.num_attention_heads * self.attention_downsample_rate):
            raise UsageError(
                f"hidden_size must be a multiple of num_attention_heads x attention_downsample_rate "
                f"({self.num_attention_heads} x {self.attention_downsample_rate}), found {self.hidden_size}"
            )


@dataclass(frozen=True)
class VitConfig(EncoderConfig):
    """Widths and depths of a SAM ViT (Li et al. 2022, Kirillov et al. 2023); field names as in transformers.

    Attributes:
        global_attn_indexes: Blocks that attend over the whole grid; their outputs are the four levels.
        window_size: Side of the windows that all other blocks attend in, in grid cells.
        mlp_ratio: Width of the blocks' MLPs as a multiple of ``hidden_size``.
    """

    hidden_size: Width
    num_hidden_layers: Count
    num_attention_heads: Count
    global_attn_indexes: tuple[
        Annotated[int, Between(0, 1023)],
        Annotated[int, Between(0, 1023)],
        Annotated[int, Between(0, 1023)],
        Annotated[int, Between(0, 1023)],
    ]
    window_size: Count = 14
    mlp_ratio: Annotated[float, Between(0.01, 64)] = 4.0
    kind: Literal["vit"] = "vit"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hidden_size % self.num_attention_heads:
            raise UsageError(
                f"hidden_size must be a multiple of num_attention_heads ({self.num_attention_heads}), found "
                f"{self.hidden_size}"
            )
        places = self.global_attn_indexes
        if list(places) != sorted(set(places)) or places[-1] >= self.num_hidden_layers:
            raise UsageError(
                f"global_attn_indexes must rise and lie below num_hidden_layers ({self.num_hidden_layers}), found "
                f"{list(places)}"
            )

    @property
    def level_channels(self) -> tuple[int, int, int, int]:
        """All levels are as wide as the ViT."""
        return (self.hidden_size, self.hidden_size, self.hidden_size, self.hidden_size)


VITS: dict[str, VitConfig] = {
    "vit_b": VitConfig(768, 12, 12, (2, 5, 8, 11)),
    "vit_l": VitConfig(1024, 24, 16, (5, 11, 17, 23)),
    "vit_h": VitConfig(1280, 32, 16, (7, 15, 23, 31)),
}
"""The published ones by SAM's own names."""
NAMED: dict[str, EncoderConfig] = {"tiny": LITES["efficientnet-lite0"], **LITES, **VITS}
"""Encoders by the names that a file may give."""

TINY_TRUST = {"least_score": 0.3, "least_stability": 0.5}
"""Chosen on train splits with ``benchmarks/automatic_thresholds.py``, see docs/benchmarks.md."""

Rgb = tuple[Annotated[float, Between(0, 255)], Annotated[float, Between(0, 255)], Annotated[float, Between(0, 255)]]


@dataclass(frozen=True)
class SamConfig(ModelConfig):
    """A segment-anything model.

    Attributes:
        name: What users call it.
        backbone: The numbers of an EfficientNet-Lite, a ViT, MobileSAM's TinyViT, SAM 2's Hiera or SAM 3's ViT; a file
            may give a name in :data:`NAMED`.
        image_size: Longer side of the input in pixels, a multiple of twice the stride.
        level_channels: Channels of the four exported maps, shallow to deep.
        mask_prompt: How a coarse mask in [0, 1] enters the mask encoder: "logits" as SAM's own low-resolution
            logits (-10 .. 10), "grey" as 0 .. 255 like the authors of VNS-SAM train.
        mixer_blocks: Blocks that mix the drawn prompt with the image before the decoder; 0 is SAM itself.
        stride: Of the embedding's grid in pixels.
        fit: Whether a picture is padded to the square, stretched over it (SAM 2 and 3), or "tight": padded only as far
            as strides want, which the tiny encoder alone can take.
        mean, std: Of the input per RGB channel on the 0..255 scale.
        closed_prompts: Whether "not a point" follows boxes too, and stands twice where there is a mask alone (SAM 2).
    """

    model_type: ClassVar[str] = "sam"
    title: ClassVar[str] = "SAM"

    name: str
    backbone: EncoderConfig
    image_size: Annotated[int, Between(28, 16384, 2)] = 1024
    level_channels: LevelChannels = (1024, 1024, 1024, 1024)
    mask_prompt: Literal["logits", "grey"] = "logits"
    mixer_blocks: Annotated[int, Between(0, 64)] = 0
    mask_decoder: MaskDecoderConfig = MaskDecoderConfig()
    stride: Annotated[int, Between(4, 64)] = 16
    fit: Fit = "pad"
    mean: Rgb = (123.675, 116.28, 103.53)
    std: Rgb = (58.395, 57.12, 57.375)
    closed_prompts: bool = False

    @property
    def trust(self) -> dict[str, float]:
        """``least_score`` and ``least_stability`` of ``ModelInfo``, for it and what stands on it: SAM's, or what was
        found for the tiny encoder, whose scores are lower and whose edges are softer.
        """
        return TINY_TRUST if self.small else {}

    @property
    def small(self) -> bool:
        """Whether it stands on an EfficientNet-Lite, which takes inputs of any sides."""
        return self.backbone.kind == "lite"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.image_size % (2 * self.stride):
            raise UsageError(f"image_size must be a multiple of {2 * self.stride}, found {self.image_size}")
        if self.fit == "tight" and not self.small:
            raise UsageError(f"fit cannot be 'tight' where positions are bound to the square, as in '{self.name}'")
        expected = self.backbone.level_channels
        if self.level_channels != expected:
            raise UsageError(f"level_channels must be {list(expected)}, found {list(self.level_channels)}")

    @classmethod
    def prepare(cls, values: dict[str, Any]) -> dict[str, Any]:
        """A published encoder's name becomes its numbers."""
        backbone = values.get("backbone")
        if not isinstance(backbone, str):
            return values
        if backbone not in NAMED:
            raise UsageError(f"backbone must be one of {', '.join(NAMED)} or an encoder's numbers, found '{backbone}'")
        found = NAMED[backbone]
        return {"level_channels": found.level_channels, **values, "backbone": asdict(found)}


def vit_config(backbone: str | VitConfig, *, image_size: int = 1024) -> SamConfig:
    """The configuration of a SAM on a ViT.

    Args:
        backbone: A name in :data:`VITS`, or the numbers of another one.
        image_size: Side of the square input in pixels; 1024 in all published weights.
    """
    vit = VITS[backbone] if isinstance(backbone, str) else backbone
    width = vit.hidden_size
    name = next((name for name, known in VITS.items() if known == vit), f"vit_{width}x{vit.num_hidden_layers}")
    return SamConfig(name=name, backbone=vit, image_size=image_size, level_channels=(width, width, width, width))


def tiny_config(backbone: Lite = "efficientnet-lite0") -> SamConfig:
    """The architecture of the bundled model, on an encoder by its name in :data:`LITES`."""
    lite = LITES[backbone]
    return SamConfig("sam-tiny", lite, image_size=512, level_channels=lite.level_channels, mixer_blocks=3, fit="tight")
