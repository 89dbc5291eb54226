"""HQ-SAM's published weights: transformers' ``SamHQModel`` folders and the authors' files, ``sam_hq_vit_*.pth`` on a
ViT or, light, on MobileSAM's encoder, and ``sam2.1_hq_hiera_*.pt`` on SAM 2.1.

All hold a whole SAM, unchanged by HQ-SAM's training, and the tensors of HQ-SAM among those of its mask decoder.

Transformers' own ``SamHQModel``, up to 5.23 at least, reads masks from the image as it was before the two-way
transformer, with its axes exchanged. The authors read them from the attended image, as SAM does, and so does this one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from vns_sam.hq.config import Early, HqSamConfig
from vns_sam.hq.model import HqSamModel
from vns_sam.sam.checkpoints import read_state
from vns_sam.sam.foundations import mobile, sam2
from vns_sam.sam.keys import decoder_key_to_hf, hf_key_to_own, meta_key_to_own
from vns_sam.sam.meta import build_vit_sam
from vns_sam.sam.model import SamModel
from vns_sam.sam.registry import Layout
from vns_sam.sam.transformers_folder import as_processed

_DECODER, _DECODER_2 = "mask_decoder.", "sam_mask_decoder."
_PARTS = {
    # ours: (transformers', the authors')
    "token": ("hq_token", "hf_token"),
    "mask_mlp": ("hq_mask_mlp", "hf_mlp"),
    "early_embedding.0": ("compress_vit_conv1", "compress_vit_feat.0"),
    "early_embedding.1": ("compress_vit_norm", "compress_vit_feat.1"),
    "early_embedding.3": ("compress_vit_conv2", "compress_vit_feat.3"),
    "image_embedding.0": ("encoder_conv1", "embedding_encoder.0"),
    "image_embedding.1": ("encoder_norm", "embedding_encoder.1"),
    "image_embedding.3": ("encoder_conv2", "embedding_encoder.3"),
    "mask_embedding.0": ("mask_conv1", "embedding_maskfeature.0"),
    "mask_embedding.1": ("mask_norm", "embedding_maskfeature.1"),
    "mask_embedding.3": ("mask_conv2", "embedding_maskfeature.3"),
}
"""Names of HQ-SAM's modules below the mask decoder."""


def load_hf(folder: str | Path, base: str) -> HqSamModel:
    """Loads a folder written by transformers' ``SamHQModel``.

    Args:
        folder: The folder.
        base: What names the SAM inside it when the model is saved again; ``load_sam`` must take it.

    Raises:
        CheckpointError: The folder is damaged, or holds another model or size.
    """
    state = read_state(folder)
    trained = _pick(state, _DECODER, 0)
    sam, _ = build_vit_sam({hf_key_to_own(key): state[key] for key in state if key not in trained}, folder)
    return _build(trained, as_processed(sam, folder), state, folder, base)


def holds_hq(state: Mapping[str, torch.Tensor]) -> bool:
    """Whether a file's tensors are those of the authors' HQ-SAM, on whichever SAM."""
    return f"{_DECODER}compress_vit_feat.0.weight" in state or holds_hq2(state)


def holds_hq2(state: Mapping[str, torch.Tensor]) -> bool:
    """Whether a file's tensors are those of the authors' HQ-SAM 2."""
    return f"{_DECODER_2}embedding_maskfeature.0.weight" in state


def load_authors(state: Mapping[str, torch.Tensor], path: str | Path) -> HqSamModel:
    """Builds the model from the tensors of an authors' file, ``path``.

    Raises:
        CheckpointError: Tensors are missing or of another size.
    """
    picked = _pick(state, _DECODER_2 if holds_hq2(state) else _DECODER, 1)
    trained = {key: decoder_key_to_hf(own) for key, own in picked.items()}
    rest = {key: value for key, value in state.items() if key not in trained}
    early: Early = "level"
    if holds_hq2(state):
        (sam, _), early = sam2.build_sam2(rest, path, sam2.meta_to_own), "none"
    elif mobile.holds_mobile(rest):
        (sam, _), early = mobile.build_mobile(rest, path), "entry"
    else:
        sam, _ = build_vit_sam({meta_key_to_own(key): value for key, value in rest.items()}, path)
    return _build(trained, sam, state, path, str(path), early)


def describe(state: Mapping[str, torch.Tensor]) -> str:
    """Which HQ-SAM a file is."""
    if holds_hq2(state):
        return f"an HQ-SAM on {sam2.describe(state).removeprefix('a ')}"
    return "an HQ-SAM light" if mobile.holds_mobile(state) else "an HQ-SAM"


def _pick(state: Mapping[str, torch.Tensor], decoder: str, column: int) -> dict[str, str]:
    """HQ-SAM's tensors of a file to their names in our decoder."""
    ours = {f"{decoder}{names[column]}": part for part, names in _PARTS.items()}
    found = {}
    for key in state:
        module = next((name for name in ours if key.startswith(f"{name}.")), None)
        if module is not None:
            found[key] = ours[module] + key.removeprefix(module)
    return found


def _build(
    trained: Mapping[str, str],
    sam: SamModel,
    state: Mapping[str, torch.Tensor],
    origin: str | Path,
    base: str,
    early: Early = "level",
) -> HqSamModel:
    config = HqSamConfig.for_sam(sam.config, base=base, name=f"hq_{sam.name}", early=early)
    return HqSamModel.assemble(sam, config, {own: state[key].float() for key, own in trained.items()}, origin)


LAYOUT = Layout("HQ-SAM's sam_hq_vit_*.pth", holds_hq, load_authors, describe)
