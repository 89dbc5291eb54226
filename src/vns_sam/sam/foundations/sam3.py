"""The promptable part of SAM 3, its tracker: Meta's ``sam3.pt`` and transformers' folders.

Its prompt encoder and decoder are SAM 2's. What finds objects by words is left where it is.

Transformers' ``Sam3TrackerModel``, up to 5.24 at least, adds the mark of a picture without a past to the coarsest map
of the published pyramid, which its decoder never reads. Meta adds it to the embedding, and so does this one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from vns_sam.errors import CheckpointError
from vns_sam.sam.architectures import RopeVitArchitecture
from vns_sam.sam.checkpoints import KeyReport
from vns_sam.sam.config import MaskDecoderConfig, SamConfig
from vns_sam.sam.foundations import sam2
from vns_sam.sam.foundations.translate import rename, translator
from vns_sam.sam.keys import PROMPT_ENCODER
from vns_sam.sam.model import SamModel

NAME = "sam3"
HF_MODEL_TYPES = ("sam3_tracker", "sam3_tracker_video", "sam3_video")
"""Of transformers' folders; the published one is "sam3_video" and holds all of SAM 3."""

_META_VISION = "detector.backbone.vision_backbone."
_META_PYRAMID = (
    ("*.dconv_2x2", "*.up.0"),
    ("*.dconv_2x2_0", "*.up.0"),
    ("*.dconv_2x2_1", "*.up.1"),
    ("*.conv_1x1", "*.proj1"),
    ("*.conv_3x3", "*.proj2"),
)
_HF_TRUNK = (
    ("embeddings.position_embeddings", "pos_embed"),
    ("embeddings.patch_embeddings.projection", "patch_embed"),
    ("layers.*.layer_norm*", "blocks.*.norm*"),
    ("layers.*.attention.q_proj", "blocks.*.attn.q"),
    ("layers.*.attention.k_proj", "blocks.*.attn.k"),
    ("layers.*.attention.v_proj", "blocks.*.attn.v"),
    ("layers.*.attention.o_proj", "blocks.*.attn.proj"),
    ("layers.*.mlp.fc*", "blocks.*.mlp.fc*"),
    ("layer_norm", "norm"),
)
_HF_PYRAMID = (("*.scale_layers.0", "*.up.0"), ("*.scale_layers.2", "*.up.1"))

meta_to_own = translator(
    (
        (f"{_META_VISION}trunk.", "image_encoder.", (("patch_embed.proj", "patch_embed"), ("ln_pre", "norm"))),
        (f"{_META_VISION}sam2_convs.", "image_encoder.pyramid.", _META_PYRAMID),
        ("tracker.no_mem_embed", "image_encoder.no_memory", ()),
        ("tracker.sam_prompt_encoder.", "prompt_encoder.", PROMPT_ENCODER),
        *((f"tracker.sam_mask_decoder.{theirs}", ours, ()) for theirs, ours in sam2.FINER),
        ("tracker.sam_mask_decoder.", "mask_decoder.", sam2.DECODER_ROWS),
    )
)
"""Renames a tensor of Meta's file; None for what is not the tracker's."""

_tracker = translator(
    (
        ("vision_encoder.backbone.", "image_encoder.", _HF_TRUNK),
        ("vision_encoder.neck.fpn_layers.", "image_encoder.pyramid.", _HF_PYRAMID),
        ("no_memory_embedding", "image_encoder.no_memory", ()),
        ("shared_image_embedding.", "prompt_encoder.shared_embedding.", ()),
        ("prompt_encoder.", "prompt_encoder.", ()),
        *((f"mask_decoder.{theirs}", ours, ()) for theirs, ours in sam2.FINER),
        ("mask_decoder.", "mask_decoder.", sam2.HF_DECODER_ROWS),
    )
)


def hf_to_own(key: str) -> str | None:
    """Renames a tensor of transformers' ``Sam3TrackerModel`` or of a whole ``Sam3VideoModel``; None for what is not the
    tracker's.
    """
    whole = "tracker_model." in key or key.startswith(("detector_model.", "tracker_neck."))
    key = key.removeprefix("tracker_model.")
    if key.startswith("tracker_neck."):
        return _tracker(f"vision_encoder.neck.{key.removeprefix('tracker_neck.')}")
    if key.startswith("detector_model."):
        trunk = "detector_model.vision_encoder.backbone."
        return _tracker(f"vision_encoder.backbone.{key.removeprefix(trunk)}") if key.startswith(trunk) else None
    return None if whole and key.startswith("vision_encoder.") else _tracker(key)


def sam3_config(
    architecture: RopeVitArchitecture | None = None,
    image_size: int = 1008,
    mask_decoder: MaskDecoderConfig = sam2.DECODER_CONFIG,
) -> SamConfig:
    """The configuration of SAM 3's tracker; its pixels are scaled to -1 .. 1."""
    architecture = architecture or RopeVitArchitecture()
    return SamConfig(
        name=NAME,
        backbone="rope_vit",
        image_size=image_size,
        level_channels=architecture.level_channels,
        mask_decoder=mask_decoder,
        architecture=architecture,
        stride=architecture.patch,
        fit="stretch",
        mean=(127.5, 127.5, 127.5),
        std=(127.5, 127.5, 127.5),
        closed_prompts=True,
    )


def holds_sam3(state: Mapping[str, torch.Tensor]) -> bool:
    """Whether a file's tensors are those of Meta's SAM 3."""
    return f"{_META_VISION}trunk.patch_embed.proj.weight" in state


def build_meta_sam3(state: Mapping[str, torch.Tensor], origin: str | Path) -> tuple[SamModel, KeyReport]:
    """Builds the tracker of Meta's file.

    Raises:
        CheckpointError: Tensors are missing, as in a file without the tracker, or of another shape.
    """
    own = {key: value for key, value in rename(state, meta_to_own).items() if not key.endswith("freqs_cis")}
    return sam2.build(sam3_config(), _tidy(own), origin)


def build_hf_sam3(values: Mapping[str, Any], state: Mapping[str, torch.Tensor], origin: str | Path) -> SamModel:
    """Builds the tracker of a folder of transformers.

    Args:
        values: Its ``config.json``; what is missing there has transformers' default, which is the published SAM 3.
        state: Its tensors.
        origin: What an error calls it.

    Raises:
        CheckpointError: Tensors are missing or of another shape.
    """
    tracker = values.get("tracker_config") or values
    vision = tracker.get("vision_config") or {}
    numbers = vision.get("backbone_config") or {}
    default = RopeVitArchitecture()
    patch = numbers.get("patch_size", default.patch)
    architecture = RopeVitArchitecture(
        width=numbers.get("hidden_size", default.width),
        depth=numbers.get("num_hidden_layers", default.depth),
        heads=numbers.get("num_attention_heads", default.heads),
        mlp=numbers.get("intermediate_size", default.mlp),
        global_blocks=_four(numbers.get("global_attn_indexes") or default.global_blocks),
        window=numbers.get("window_size", default.window),
        patch=patch,
        pretrained_grid=numbers.get("pretrain_image_size", default.pretrained_grid * patch) // patch,
        theta=(numbers.get("rope_parameters") or {}).get("rope_theta", default.theta),
    )
    config = sam3_config(architecture, numbers.get("image_size", 1008), sam2.decoder_config(tracker))
    return sam2.build(config, _tidy(sam2.split_points(rename(state, hf_to_own))), origin)[0]


def _tidy(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Puts transformers' three projections of each block together, and leaves out the pyramid's coarsest map, which no
    image decoder reads, and the position of a class token.
    """
    tidy = {key: value for key, value in state.items() if not key.startswith("image_encoder.pyramid.3.")}
    for key in [key for key in tidy if ".attn.q." in key]:
        parts = [tidy.pop(key.replace(".attn.q.", f".attn.{part}."), None) for part in "qkv"]
        tidy[key.replace(".attn.q.", ".attn.qkv.")] = torch.cat([part for part in parts if part is not None])
    places = tidy.get("image_encoder.pos_embed")
    if places is not None and math.isqrt(places.shape[1]) ** 2 != places.shape[1]:
        tidy["image_encoder.pos_embed"] = places[:, 1:]
    return tidy


def _four(values: Any) -> tuple[int, int, int, int]:
    if len(values) != 4:
        raise CheckpointError(f"four levels need four blocks that attend over the whole grid, found {len(values)}")
    first, second, third, fourth = values
    return first, second, third, fourth
