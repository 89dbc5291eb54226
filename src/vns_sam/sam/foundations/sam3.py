"""The promptable part of SAM 3, its tracker: Meta's ``sam3.pt``, ``sam3.1_multiplex.pt`` and transformers' folders.

Its prompt encoder and decoder are SAM 2's. What finds objects by words is left where it is. SAM 3.1 follows many
objects of a video at once and keeps beside that, under names of its own, a tracker of SAM 3's build for clicks.

Transformers' ``Sam3TrackerModel``, up to 5.24 at least, adds the mark of a picture without a past to the coarsest map
of the published pyramid, which its decoder never reads. Meta adds it to the embedding, and so does this one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

from vns_sam.sam.architectures import RopeVitConfig
from vns_sam.sam.checkpoints import KeyReport, read_state
from vns_sam.sam.config import MaskDecoderConfig, SamConfig
from vns_sam.sam.folder import read_config
from vns_sam.sam.foundations import sam2
from vns_sam.sam.foundations.translate import Translate, build, join_projections, rename, split_points, translator
from vns_sam.sam.keys import PROMPT_ENCODER
from vns_sam.sam.model import SamModel
from vns_sam.sam.registry import Layout
from vns_sam.sam.transformers_folder import as_processed

NAME, NAME_3_1 = "sam3", "sam3.1"

_MEMORY = tuple(f"tracker.{part}" for part in (*sam2.MEMORY, "transformer.", "maskmem_backbone."))
_ASKED = "tracker.model.interactive_"
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


def _of_meta(pyramid: str, no_memory: str, tracker: str, skipped: tuple[str, ...]) -> Translate:
    return translator(
        (
            (f"{_META_VISION}trunk.", "image_encoder.", (("patch_embed.proj", "patch_embed"), ("ln_pre", "norm"))),
            (f"{_META_VISION}{pyramid}.", "image_encoder.pyramid.", _META_PYRAMID),
            (no_memory, "image_encoder.no_memory", ()),
            (f"{tracker}sam_prompt_encoder.", "prompt_encoder.", PROMPT_ENCODER),
            *((f"{tracker}sam_mask_decoder.{theirs}", ours, ()) for theirs, ours in sam2.FINER),
            (f"{tracker}sam_mask_decoder.", "mask_decoder.", sam2.DECODER_ROWS),
        ),
        ("detector.", *skipped),
    )


meta_to_own = _of_meta("sam2_convs", "tracker.no_mem_embed", "tracker.", _MEMORY)
"""Renames a tensor of Meta's file; None for what is not the tracker's."""
multiplex_to_own = _of_meta("interactive_convs", "tracker.model.interactivity_no_mem_embed", _ASKED, ("tracker.",))
"""The same for SAM 3.1."""

_tracker_to_own = translator(
    (
        ("vision_encoder.backbone.", "image_encoder.", _HF_TRUNK),
        ("detector_model.vision_encoder.backbone.", "image_encoder.", _HF_TRUNK),
        ("vision_encoder.neck.fpn_layers.", "image_encoder.pyramid.", _HF_PYRAMID),
        ("tracker_neck.fpn_layers.", "image_encoder.pyramid.", _HF_PYRAMID),
        ("no_memory_embedding", "image_encoder.no_memory", ()),
        ("shared_image_embedding.", "prompt_encoder.shared_embedding.", ()),
        *((f"mask_decoder.{theirs}", ours, ()) for theirs, ours in sam2.FINER),
        ("mask_decoder.", "mask_decoder.", sam2.HF_DECODER_ROWS),
    ),
    ("detector_model.", *sam2.HF_MEMORY),
)


def hf_to_own(key: str) -> str | None:
    """Renames a tensor of transformers' ``Sam3TrackerModel``, or of a whole ``Sam3VideoModel``, whose ViT is the
    detector's and whose pyramid is the tracker's; None for what is not needed.
    """
    return _tracker_to_own(key.removeprefix("tracker_model."))


def sam3_config(
    backbone: RopeVitConfig | None = None,
    image_size: int = 1008,
    mask_decoder: MaskDecoderConfig = sam2.DECODER_CONFIG,
    name: str = NAME,
) -> SamConfig:
    """The configuration of SAM 3's tracker; its pixels are scaled to -1 .. 1."""
    backbone = backbone or RopeVitConfig()
    return SamConfig(
        name=name,
        backbone=backbone,
        image_size=image_size,
        level_channels=backbone.level_channels,
        mask_decoder=mask_decoder,
        stride=backbone.patch,
        fit="stretch",
        mean=(127.5, 127.5, 127.5),
        std=(127.5, 127.5, 127.5),
        closed_prompts=True,
    )


def build_sam3(
    state: Mapping[str, torch.Tensor], origin: str | Path, translate: Translate
) -> tuple[SamModel, KeyReport]:
    """Builds the tracker of a file of the published size.

    Args:
        state: Its tensors.
        origin: What an error calls it.
        translate: :func:`meta_to_own`, :func:`multiplex_to_own` or :func:`hf_to_own`.

    Raises:
        CheckpointError: Tensors are missing, as in a file without the tracker, left over or of another shape.
    """
    config = partial(sam3_config, name=NAME_3_1) if translate is multiplex_to_own else sam3_config
    return build(config, _tidy(rename(state, translate)), origin)


def build_hf_sam3(values: Mapping[str, Any], state: Mapping[str, torch.Tensor], origin: str | Path) -> SamModel:
    """Builds the tracker of a folder of transformers.

    Args:
        values: Its ``config.json``; what is missing there has transformers' default, which is the published SAM 3.
        state: Its tensors.
        origin: What an error calls it.

    Raises:
        CheckpointError: A number is none that a model can have; tensors are missing, left over or of another shape.
    """
    return build(partial(_read_hf, values), _tidy(rename(state, hf_to_own)), origin)[0]


def _read_hf(values: Mapping[str, Any]) -> SamConfig:
    tracker = values.get("tracker_config") or values
    numbers = (tracker.get("vision_config") or {}).get("backbone_config") or {}
    default = RopeVitConfig()
    patch = numbers.get("patch_size", default.patch)
    backbone = RopeVitConfig(
        width=numbers.get("hidden_size", default.width),
        depth=numbers.get("num_hidden_layers", default.depth),
        heads=numbers.get("num_attention_heads", default.heads),
        mlp=numbers.get("intermediate_size", default.mlp),
        global_blocks=numbers.get("global_attn_indexes") or default.global_blocks,
        window=numbers.get("window_size", default.window),
        patch=patch,
        pretrained_grid=numbers.get("pretrain_image_size", default.pretrained_grid * patch) // patch,
        theta=(numbers.get("rope_parameters") or {}).get("rope_theta", default.theta),
    )
    return sam3_config(backbone, numbers.get("image_size", 1008), sam2.decoder_config(tracker))


def _tidy(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Puts transformers' three projections of each block together, and leaves out what is never read: the pyramid's
    coarsest map, and the position of a class token.
    """
    tidy = join_projections({key: state[key] for key in state if not key.startswith("image_encoder.pyramid.3.")})
    places = tidy.get("image_encoder.pos_embed")
    if places is not None and math.isqrt(places.shape[1]) ** 2 != places.shape[1]:
        tidy["image_encoder.pos_embed"] = places[:, 1:]
    return split_points(tidy)


def load_folder(folder: str | Path, origin: str = "") -> SamModel:
    """Loads a folder of transformers' ``Sam3TrackerModel`` or ``Sam3VideoModel``; ``origin`` is not needed.

    Raises:
        CheckpointError: The folder is damaged, or of another architecture.
    """
    return as_processed(build_hf_sam3(read_config(folder), read_state(folder), folder), folder)


def holds_sam3(state: Mapping[str, torch.Tensor]) -> bool:
    """Whether a file's tensors are those of Meta's SAM 3."""
    return f"{_META_VISION}trunk.patch_embed.proj.weight" in state


def holds_hf_sam3(state: Mapping[str, torch.Tensor]) -> bool:
    """Whether a file's tensors are those of transformers' SAM 3, whole or its tracker alone."""
    return any(key.endswith("vision_encoder.backbone.embeddings.patch_embeddings.projection.weight") for key in state)


def holds_multiplex(state: Mapping[str, torch.Tensor]) -> bool:
    """Whether a file's tensors are those of Meta's SAM 3.1."""
    return holds_sam3(state) and any(key.startswith(_ASKED) for key in state)


MULTIPLEX_LAYOUT = Layout(
    "SAM 3.1's sam3.1_multiplex.pt",
    holds_multiplex,
    lambda state, path: build_sam3(state, path, multiplex_to_own)[0],
    lambda _: "a SAM 3.1",
)
LAYOUT = Layout(
    "SAM 3's sam3.pt", holds_sam3, lambda state, path: build_sam3(state, path, meta_to_own)[0], lambda _: "a SAM 3"
)
HF_LAYOUT = Layout(
    "SAM 3's weights in transformers' form",
    holds_hf_sam3,
    lambda state, path: build_sam3(state, path, hf_to_own)[0],
    lambda _: "a SAM 3",
)
