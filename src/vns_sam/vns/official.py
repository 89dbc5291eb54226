"""The authors' checkpoints: their tensor names in ours, and their three file formats.

The release writes a plain decoder state dict, the same with ``module.`` before every name (saved from several
GPUs), and SAM's whole file with the decoder's tensors added under ``mask_decoder.``.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from vns_sam.errors import CheckpointError
from vns_sam.sam.checkpoints import KeyReport, write_checkpoint
from vns_sam.sam.files import check_finite
from vns_sam.sam.keys import decoder_key_to_hf, decoder_key_to_meta, meta_key_to_own
from vns_sam.sam.meta import build_meta
from vns_sam.sam.model import SamModel
from vns_sam.sam.registry import Layout, is_at_hand, portable
from vns_sam.sam.zoo import load_sam
from vns_sam.vns.config import VIT_CHANNELS, VnsSamConfig, backbone_of, check_backbone
from vns_sam.vns.decoder import VnsMaskDecoder
from vns_sam.vns.model import VnsSamModel

logger = logging.getLogger(__name__)

_NECK, _HEAD = "neck.aggregator.", "neck.decouple_head."
_BLOCK = (
    ("conv.", "reduce."),
    ("ARB.RB.RB.", "residual."),
    ("ARB.AM.CA.conv.", "channel_attention.conv."),
    ("ARB.AM.SA.sa.", "spatial_attention."),
)
_PREFIXES = (
    ("hf_token.", "tokens."),
    ("hf_mlp.", "mask_mlp."),
    ("edge_mlp.", "edge_mlp."),
    ("transformer.internal_attn_token_to_image.", "level1_attention."),
    ("transformer.norm_internal_attn.", "level1_norm."),
    ("embedding_maskfeature.", "mask_embedding."),
    ("embedding_edgefeature.", "edge_embedding."),
    ("dense_pred_head.", "dense_head."),
    ("fusion_layer.", "fusion."),
    *((f"{_NECK}down_sample_layers.{i}.0.", f"nsfm.inputs.{i}.") for i in range(4)),
    *((f"{_NECK}MFF_LL.{theirs}", f"nsfm.low.{ours}") for theirs, ours in _BLOCK),
    *((f"{_NECK}MFF_HH.{theirs}", f"nsfm.high.{ours}") for theirs, ours in _BLOCK),
    (f"{_NECK}one_conv_f4_ll.", "nsfm.low_with_deep."),
    (f"{_NECK}one_conv_f1_hh.", "nsfm.high_with_shallow."),
    (f"{_NECK}one_conv_llhh.", "nsfm.merge."),
    (f"{_HEAD}edge_pred_head.0.", "nsfm.edge_head."),
    (f"{_HEAD}hqfeat_head.0.", "nsfm.mask_head."),
    (f"{_HEAD}up_sample_layers.", "nsfm.mask_upscale."),
)
_MLPS = ("mask_mlp.", "edge_mlp.")
_MERGED, _PARALLEL = "mask_decoder.", "module."


def key_to_own(key: str) -> str:
    """Renames a tensor of the authors' decoder as :class:`VnsMaskDecoder` calls it."""
    for theirs, ours in _PREFIXES:
        if key.startswith(theirs):
            renamed = ours + key.removeprefix(theirs)
            return decoder_key_to_hf(renamed) if renamed.startswith(_MLPS) else renamed
    return "sam." + decoder_key_to_hf(key)


def key_to_official(key: str) -> str:
    """Inverse of :func:`key_to_own`."""
    if key.startswith("sam."):
        return decoder_key_to_meta(key.removeprefix("sam."))
    name = decoder_key_to_meta(key) if key.startswith(_MLPS) else key
    theirs, ours = next(pair for pair in _PREFIXES if name.startswith(pair[1]))
    return theirs + name.removeprefix(ours)


def load_decoder(state_dict: Mapping[str, torch.Tensor]) -> VnsMaskDecoder:
    """Builds the decoder that an authors' state dict belongs to, in eval mode.

    Args:
        state_dict: Plain, ``module.``-prefixed, or merged into a SAM file.

    Raises:
        CheckpointError: Tensors are missing, or have shapes that no VNS-SAM decoder has.
    """
    decoder, report = match_decoder(state_dict, "the state dict")
    _require(report.missing, "the state dict")
    return decoder


def match_decoder(state_dict: Mapping[str, torch.Tensor], origin: str | Path) -> tuple[VnsMaskDecoder, KeyReport]:
    """:func:`load_decoder` that bears missing tensors, and what became of each, by the authors' names.

    The other tensors of a merged file (SAM's encoders) are not the decoder's and not in the report.
    """
    found = {key_to_own(name): state_dict[key] for name, key in _decoder_names(state_dict).items()}
    own = {key: value.float() if value.is_floating_point() else value for key, value in found.items()}
    with torch.device("meta"):
        decoder = VnsMaskDecoder(_detect_config(own, origin))
    expected = decoder.state_dict()
    for key in expected.keys() & own.keys():
        if expected[key].shape != own[key].shape:
            wanted, shape = tuple(expected[key].shape), tuple(own[key].shape)
            raise CheckpointError(f"{origin}: '{key_to_official(key)}' must have shape {wanted}, found {shape}")
    decoder.load_state_dict({key: own[key] for key in expected if key in own}, strict=False, assign=True)
    names = {key_to_own(name): name for name in _decoder_names(state_dict)}
    report = KeyReport(
        tuple(names[key] for key in expected if key in own),
        tuple(key_to_official(key) for key in expected if key not in own),
        tuple(name for key, name in names.items() if key not in expected),
    )
    return decoder.eval(), report


def load_model(state_dict: Mapping[str, torch.Tensor], path: Path) -> VnsSamModel:
    """The VNS-SAM of a file: on the SAM that is merged into it, else on the published one of its width.

    Raises:
        CheckpointError: Tensors are missing or left over, or belong to another SAM; or that SAM is not at hand.
    """
    decoder, _ = _match_whole(state_dict, path)
    config = decoder.config
    merged = {key: value for key, value in state_dict.items() if not key.startswith(_MERGED)}
    if any(map(_is_sam, merged)):
        sam, _ = build_meta(merged | _frozen(state_dict), path)
        config = replace(config, base=str(path))
    else:
        sam = load_sam(config.base)
        _check_frozen(state_dict, sam, path)
    return VnsSamModel.assemble(sam, config, decoder.trainable_state_dict(), path)


def convert_decoder(
    state_dict: Mapping[str, torch.Tensor], origin: str | Path, out: str | Path, base: str | None = None
) -> KeyReport:
    """Writes an authors' decoder as a folder that ``load_model`` reads.

    Args:
        state_dict: As :func:`load_decoder` takes it; SAM's frozen part is not needed, but compared where it is there.
        origin: What an error calls it.
        out: Folder to write; it holds VNS-SAM's own tensors and names the SAM they belong to.
        base: That SAM: "vit_b", "vit_l" or "vit_h", or a folder or file with its weights; found out by default.

    Returns:
        What became of the tensors.

    Raises:
        CheckpointError: A trained tensor is missing, or it was trained on another SAM than ``base``.
    """
    decoder, report = match_decoder(state_dict, origin)
    trained = decoder.trainable_state_dict()
    _require([key_to_official(key) for key, value in trained.items() if value.is_meta], origin)
    check_finite(trained, origin)
    config = decoder.config
    if base in VIT_CHANNELS:
        width = VIT_CHANNELS[base]
        check_backbone(config.level_channels, (width, width, width, width), str(origin))
    if base is not None:
        config = replace(config, base=portable(base))
    _compare_with_base(state_dict, config, origin)
    write_checkpoint(out, config.to_dict(), trained, torch.float32)
    return report


def holds_decoder(state_dict: Mapping[str, torch.Tensor]) -> bool:
    """Whether a state dict is VNS-SAM's, alone or merged into a SAM file."""
    return "fusion_layer.0.weight" in _decoder_names(state_dict)


def _match_whole(state_dict: Mapping[str, torch.Tensor], origin: str | Path) -> tuple[VnsMaskDecoder, KeyReport]:
    """:func:`match_decoder` for a file that is to answer as it stands: nothing is missing or left over."""
    decoder, report = match_decoder(state_dict, origin)
    _require([key_to_official(key) for key, value in decoder.trainable_state_dict().items() if value.is_meta], origin)
    if report.left_over:
        raise CheckpointError(
            f"{origin} holds {len(report.left_over)} tensors that VNS-SAM's decoder has no place for, the first is "
            f"'{report.left_over[0]}'"
        )
    return decoder, report


def _compare_with_base(state_dict: Mapping[str, torch.Tensor], config: VnsSamConfig, origin: str | Path) -> None:
    """Compares the frozen part of a file with the SAM that a converted folder will name, where that is at hand."""
    if not _frozen(state_dict):
        return
    if not is_at_hand(config.base):
        logger.warning("%s: its frozen part was not compared with %s, which is not here", origin, config.base)
        return
    sam = load_sam(config.base)
    check_backbone(config.level_channels, sam.config.level_channels, str(origin))
    _check_frozen(state_dict, sam, origin)


def _frozen(state_dict: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """SAM's own tensors of a decoder file, by the names of Meta's whole file."""
    names = _decoder_names(state_dict)
    return {_MERGED + name: state_dict[key] for name, key in names.items() if key_to_own(name).startswith("sam.")}


def _is_sam(key: str) -> bool:
    return key.startswith(("image_encoder.", "prompt_encoder."))


def _check_frozen(state_dict: Mapping[str, torch.Tensor], sam: SamModel, origin: str | Path) -> None:
    """Refuses a file whose frozen part is not that of the SAM below: its answers would be others.

    Raises:
        CheckpointError: A tensor differs; encoders are compared where the file holds them.
    """
    found = _frozen(state_dict) | {key: value for key, value in state_dict.items() if _is_sam(key)}
    below = sam.state_dict()
    for key, value in found.items():
        own = below.get(meta_key_to_own(key))
        if own is None or own.shape != value.shape or not torch.equal(own.to(value.dtype), value):
            raise CheckpointError(
                f"{origin}: its frozen part differs from the SAM '{sam.name}' below it, first in '{key}'",
                hint="name the SAM that it was trained on with --base, or use the file itself, if it holds one",
            )


def _require(missing: Sequence[str], origin: str | Path) -> None:
    if missing:
        raise CheckpointError(
            f"{origin} lacks {len(missing)} tensors of VNS-SAM's decoder, the first is '{missing[0]}'",
            hint="the file is truncated or of another model: download it again",
        )


def _decoder_names(state_dict: Mapping[str, torch.Tensor]) -> dict[str, str]:
    """The decoder's plain names to the names in the file."""
    names = {key.removeprefix(_PARALLEL): key for key in state_dict}
    if any(name.startswith(_MERGED) for name in names):
        return {name.removeprefix(_MERGED): key for name, key in names.items() if name.startswith(_MERGED)}
    return names


def _detect_config(state: Mapping[str, torch.Tensor], origin: str | Path) -> VnsSamConfig:
    widths = [state.get(f"nsfm.inputs.{i}.conv.weight") for i in range(4)]
    fusion = state.get("fusion.0.weight")
    if fusion is None or any(weight is None for weight in widths):
        raise CheckpointError(
            f"{origin} holds no VNS-SAM decoder (no feature mining or fusion tensors)",
            hint="expected the authors' epoch_N.pth or sam_hq_epoch_N.pth",
        )
    c1, c2, c3, c4 = (weight.shape[1] for weight in widths if weight is not None)
    base = backbone_of((c1, c2, c3, c4)) or "unknown"
    return VnsSamConfig(
        base,
        name=f"vns-{base}",
        level_channels=(c1, c2, c3, c4),
        head_channels=fusion.shape[0],
        mask_prompt="grey",
    )


LAYOUT = Layout("VNS-SAM's epoch_*.pth", holds_decoder, load_model)
