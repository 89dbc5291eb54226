"""A SAM on a ViT as the folder that transformers' ``SamModel.from_pretrained`` reads."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from vns_sam.errors import CheckpointError, UsageError
from vns_sam.images.bounded import read_bounded
from vns_sam.images.write import write_json
from vns_sam.sam.checkpoints import KeyReport, write_checkpoint
from vns_sam.sam.config import SamConfig, VitConfig
from vns_sam.sam.folder import PROCESSOR, PROCESSORS
from vns_sam.sam.keys import SHARED_POSITIONS, own_key_to_hf
from vns_sam.sam.model import SamModel


def write_transformers(model: SamModel, folder: str | Path, *, dtype: torch.dtype = torch.float32) -> KeyReport:
    """Writes ``config.json``, ``model.safetensors`` and ``preprocessor_config.json``.

    Args:
        model: A SAM on a ViT; published, fine-tuned, or the foundation of a method.
        folder: Where they go.
        dtype: Of the floating tensors on disk.

    Returns:
        The tensors in the folder, by transformers' names.

    Raises:
        UsageError: The SAM stands on another encoder, for which transformers' ``SamModel`` has no place, or stretches
            pictures, which its processor cannot.
    """
    if not isinstance(model.config.backbone, VitConfig) or model.config.mixer_blocks:
        raise UsageError(
            f"'{model.name}' cannot be a SamModel of transformers, which stands on a ViT", hint="a SAM ViT-B, -L or -H"
        )
    if model.config.fit != "pad":
        raise UsageError(
            f"expected a SAM that pads pictures to its square, '{model.name}' has fit '{model.config.fit}', for which "
            "transformers' SamImageProcessor has no setting",
            hint="a folder of this package keeps it: vns-sam models convert without --to",
        )
    state = {own_key_to_hf(key): value for key, value in model.state_dict().items()}
    state |= {SHARED_POSITIONS: model.prompt_encoder.shared_embedding.positional_embedding}
    write_checkpoint(folder, _config(model.config, model.config.backbone), state, dtype)
    write_json(Path(folder) / PROCESSOR, _processor(model.config))
    return KeyReport(tuple(state), (), ())


def as_processed(model: SamModel, folder: str | Path) -> SamModel:
    """A SAM of a folder of transformers whose pixels enter as its image processor's file says, where there is one.

    Raises:
        CheckpointError: It is no readable JSON, or its numbers are none that pixels can be normalised by.
    """
    for name in PROCESSORS:
        path = Path(folder) / name
        if not path.exists():
            continue
        try:
            values = json.loads(read_bounded(path))
            values = values if name == PROCESSOR else values.get("image_processor")
            if values is not None:
                return model.with_config(_normalised(model.config, values))
        except (OSError, ValueError, TypeError, AttributeError, ArithmeticError, RecursionError, UsageError) as error:
            reason = getattr(error, "message", " ".join(str(error).split()))
            raise CheckpointError(
                f"{path} does not say how pixels are normalised ({reason})", hint="copy or download the whole folder"
            ) from None
    return model


def _normalised(config: SamConfig, values: dict[str, Any]) -> SamConfig:
    """The configuration with the mean and deviation of an image processor, which are for pixels times a factor."""
    unit = values.get("rescale_factor", 1 / 255) if values.get("do_rescale", True) else 1
    known = {"mean": [x / 255 for x in config.mean], "std": [x / 255 for x in config.std]}
    plain = {"mean": [0.0] * 3, "std": [1.0] * 3}
    given = {name: values.get(f"image_{name}", known[name]) for name in plain}
    used = given if values.get("do_normalize", True) else plain
    rgb: Any = {name: tuple(round(x / unit, 6) for x in numbers) for name, numbers in used.items()}
    return replace(config, **rgb)


def _config(config: SamConfig, vit: VitConfig) -> dict[str, object]:
    """``config.json``; what is not said is as in every published SAM."""
    decoder, hidden = config.mask_decoder, config.mask_decoder.hidden_size
    return {
        "model_type": "sam",
        "architectures": ["SamModel"],
        "vision_config": {
            "model_type": "sam_vision_model",
            "hidden_size": vit.hidden_size,
            "num_hidden_layers": vit.num_hidden_layers,
            "num_attention_heads": vit.num_attention_heads,
            "global_attn_indexes": list(vit.global_attn_indexes),
            "window_size": vit.window_size,
            "mlp_ratio": vit.mlp_ratio,
            "mlp_dim": round(vit.hidden_size * vit.mlp_ratio),
            "image_size": config.image_size,
            "patch_size": config.stride,
            "output_channels": hidden,
            "num_pos_feats": hidden // 2,
        },
        "prompt_encoder_config": {
            "model_type": "sam_prompt_encoder",
            "hidden_size": hidden,
            "image_size": config.image_size,
            "patch_size": config.stride,
            "image_embedding_size": config.image_size // config.stride,
        },
        "mask_decoder_config": {
            "model_type": "sam_mask_decoder",
            "hidden_size": hidden,
            "mlp_dim": decoder.mlp_dim,
            "num_hidden_layers": decoder.num_hidden_layers,
            "num_attention_heads": decoder.num_attention_heads,
            "attention_downsample_rate": decoder.attention_downsample_rate,
            "num_multimask_outputs": decoder.num_multimask_outputs,
            "iou_head_hidden_dim": decoder.iou_head_hidden_dim,
            "layer_norm_eps": decoder.layer_norm_eps,
        },
    }


def _processor(config: SamConfig) -> dict[str, object]:
    """How ``SamImageProcessor`` brings pictures in: as :class:`vns_sam.sam.preprocessing.Preprocessing`."""
    cells = 4 * config.image_size // config.stride
    return {
        "image_processor_type": "SamImageProcessor",
        "processor_class": "SamProcessor",
        "size": {"longest_edge": config.image_size},
        "pad_size": {"height": config.image_size, "width": config.image_size},
        "mask_size": {"longest_edge": cells},
        "mask_pad_size": {"height": cells, "width": cells},
        "do_resize": True,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [value / 255 for value in config.mean],
        "image_std": [value / 255 for value in config.std],
        "do_pad": True,
        "do_convert_rgb": True,
    }
