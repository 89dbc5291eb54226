"""What defines a SAM: stored as ``config.json`` beside the weights, never in a recipe."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from difflib import get_close_matches
from typing import Any, Literal, Self

from vns_sam.errors import CheckpointError


@dataclass(frozen=True)
class MaskDecoderConfig:
    """SAM's two-way mask decoder (Kirillov et al. 2023, appendix A); field names as in transformers.

    Attributes:
        layer_norm_eps: Of the two-way blocks. Meta's SAM has 1e-5; transformers' default of 1e-6 is off by 1e-4
            on the logits.
    """

    hidden_size: int = 256
    mlp_dim: int = 2048
    num_hidden_layers: int = 2
    num_attention_heads: int = 8
    attention_downsample_rate: int = 2
    num_multimask_outputs: int = 3
    iou_head_hidden_dim: int = 256
    layer_norm_eps: float = 1e-5


@dataclass(frozen=True)
class SamConfig:
    """A segment-anything model.

    Attributes:
        name: What users call it.
        backbone: "tiny" (EfficientNet-Lite0) or a ViT by SAM's own names.
        image_size: Side of the square input in pixels, a multiple of 32.
        level_channels: Channels of the four exported maps, shallow to deep.
        mask_prompt: How a coarse mask in [0, 1] enters the mask encoder: "logits" as SAM's own low-resolution
            logits (-10 .. 10), "grey" as 0 .. 255 like the authors of VNS-SAM train.
        mixer_blocks: Blocks that mix the drawn prompt with the image before the decoder; 0 is SAM itself.
    """

    name: str
    backbone: Literal["tiny", "vit_b", "vit_l", "vit_h", "vit_test"]
    image_size: int = 1024
    level_channels: tuple[int, int, int, int] = (1024, 1024, 1024, 1024)
    mask_prompt: Literal["logits", "grey"] = "logits"
    mixer_blocks: int = 0
    mask_decoder: MaskDecoderConfig = MaskDecoderConfig()

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form with its ``model_type``."""
        return {"model_type": "sam", **asdict(self)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Reads :meth:`to_dict`'s form.

        Raises:
            CheckpointError: A key is unknown or missing.
        """
        given = {key: value for key, value in values.items() if key != "model_type"}
        check_keys(cls, given, "config.json")
        check_keys(MaskDecoderConfig, given.get("mask_decoder", {}), "'mask_decoder' of config.json")
        if not {"name", "backbone"} <= set(given):
            raise CheckpointError("config.json must hold 'name' and 'backbone'")
        decoder = MaskDecoderConfig(**given.pop("mask_decoder", {}))
        if "level_channels" in given:
            given["level_channels"] = tuple(given["level_channels"])
        return cls(**given, mask_decoder=decoder)


def check_keys(kind: type[Any], values: dict[str, Any], where: str) -> None:
    """Compares keys with the fields of a dataclass.

    Raises:
        CheckpointError: A key is unknown; ``where`` it was found and the nearest field are told.
    """
    known = [field.name for field in fields(kind)]
    for key in values:
        if key not in known:
            near = get_close_matches(key, known, 1)
            hint = f"did you mean '{near[0]}'?" if near else ""
            raise CheckpointError(f"{where} has the unknown key '{key}'", hint=hint)


TINY = SamConfig(name="sam-tiny", backbone="tiny", image_size=512, level_channels=(384, 160, 112, 320), mixer_blocks=3)
"""The bundled model's architecture."""
