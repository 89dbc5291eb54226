"""What defines a SAM: stored as ``config.json`` beside the weights, never in a recipe."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any, ClassVar, Literal

from vns_sam.errors import UsageError
from vns_sam.sam.model_config import Between, Checked, Count, ModelConfig, Width

LevelChannels = tuple[Width, Width, Width, Width]
"""Channels of the four exported maps, shallow to deep."""


@dataclass(frozen=True)
class MaskDecoderConfig(Checked):
    """SAM's two-way mask decoder (Kirillov et al. 2023, appendix A); field names as in transformers.

    Attributes:
        layer_norm_eps: Of the two-way blocks. Meta's SAM has 1e-5; transformers' default of 1e-6 is off by 1e-4
            on the logits.
    """

    hidden_size: Annotated[int, Between(8, 8192, 8)] = 256
    mlp_dim: Width = 2048
    num_hidden_layers: Count = 2
    num_attention_heads: Count = 8
    attention_downsample_rate: Count = 2
    num_multimask_outputs: Count = 3
    iou_head_hidden_dim: Width = 256
    layer_norm_eps: Annotated[float, Between(0, 1)] = 1e-5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hidden_size % (self.num_attention_heads * self.attention_downsample_rate):
            raise UsageError(
                f"hidden_size must be a multiple of num_attention_heads x attention_downsample_rate "
                f"({self.num_attention_heads} x {self.attention_downsample_rate}), found {self.hidden_size}"
            )


@dataclass(frozen=True)
class VitConfig(Checked):
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


VITS: dict[str, VitConfig] = {
    "vit_b": VitConfig(768, 12, 12, (2, 5, 8, 11)),
    "vit_l": VitConfig(1024, 24, 16, (5, 11, 17, 23)),
    "vit_h": VitConfig(1280, 32, 16, (7, 15, 23, 31)),
}
"""The published ones by SAM's own names."""


@dataclass(frozen=True)
class SamConfig(ModelConfig):
    """A segment-anything model.

    Attributes:
        name: What users call it.
        backbone: "tiny" (EfficientNet-Lite0), or the numbers of a ViT; a file may give a name in :data:`VITS`.
        image_size: Side of the square input in pixels, a multiple of 32.
        level_channels: Channels of the four exported maps, shallow to deep.
        mask_prompt: How a coarse mask in [0, 1] enters the mask encoder: "logits" as SAM's own low-resolution
            logits (-10 .. 10), "grey" as 0 .. 255 like the authors of VNS-SAM train.
        mixer_blocks: Blocks that mix the drawn prompt with the image before the decoder; 0 is SAM itself.
    """

    model_type: ClassVar[str] = "sam"
    title: ClassVar[str] = "SAM"

    name: str
    backbone: Literal["tiny"] | VitConfig
    image_size: Annotated[int, Between(32, 16384, 32)] = 1024
    level_channels: LevelChannels = (1024, 1024, 1024, 1024)
    mask_prompt: Literal["logits", "grey"] = "logits"
    mixer_blocks: Annotated[int, Between(0, 64)] = 0
    mask_decoder: MaskDecoderConfig = MaskDecoderConfig()

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.backbone, VitConfig) and set(self.level_channels) != {self.backbone.hidden_size}:
            width = self.backbone.hidden_size
            raise UsageError(f"level_channels must be four times {width}, the ViT's, found {list(self.level_channels)}")

    @classmethod
    def prepare(cls, values: dict[str, Any]) -> dict[str, Any]:
        """A published ViT's name becomes its numbers."""
        backbone = values.get("backbone")
        if isinstance(backbone, str) and backbone in VITS:
            return {**values, "backbone": asdict(VITS[backbone])}
        if isinstance(backbone, str) and backbone != "tiny":
            known = ", ".join(["tiny", *VITS])
            raise UsageError(f"backbone must be one of {known} or a ViT's numbers, found '{backbone}'")
        return values


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


TINY = SamConfig(name="sam-tiny", backbone="tiny", image_size=512, level_channels=(384, 160, 112, 320), mixer_blocks=3)
"""The bundled model's architecture."""
