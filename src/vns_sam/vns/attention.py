"""What a model looks at: its tokens' attention to the picture, and the features that masks and edges are read from.

VNS-SAM, section V-E and Fig. 9. The maps are taken by hooks on the modules while a picture is predicted, so the
models do nothing for them at other times. Shapes: P prompts, g x g' grid of the square input, padding included.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from vns_sam.errors import UsageError
from vns_sam.images.geometry import maps_to_original
from vns_sam.images.tiles import CELL, TRUTH, Tile, View, check_size, grid
from vns_sam.sam.attention import Attention
from vns_sam.sam.mask_decoder import SamMaskDecoder, TwoWayBlock, Upscaled
from vns_sam.sam.model import SamModel
from vns_sam.sam.promptable import batch_prompts
from vns_sam.types import Geometry, ImageFeatures, PromptableModel, PromptBatch, Prompts
from vns_sam.vns.model import VnsSamModel

UPSCALING = 4
"""Period of the pattern that two transposed convolutions leave in a feature of the size 4g."""

_Records = dict[str, tuple[tuple[torch.Tensor, ...], torch.Tensor]]


def token_attention(model: PromptableModel, image: np.ndarray, prompts: Prompts) -> dict[str, np.ndarray]:
    """Looks up what the tokens attend to in the last attention from tokens to image of each level.

    For level 2 that is SAM's last attention, for level 1 the level's own one, or else that of the decoder's first
    layer. The heads are averaged.

    Args:
        model: A SAM or a VNS-SAM.
        image: (H, W, 3) uint8 RGB.
        prompts: P prompts in pixels of the picture.

    Returns:
        Maps (P, g, g') float32, each of which sums to 1, named by token and level: "SAM mask token, level 2", and of a
        VNS-SAM also "mask token, level 2", "edge token, level 2" where it has one, and all of level 1. SAM's token in a
        VNS-SAM is beside the new ones and differs from that of a plain SAM.

    Raises:
        UsageError: The model is neither.
        PromptError: A prompt holds no point, box or mask.
    """
    known = _known(model)
    features = known.encode([image])
    found = [_attention(known, features, batch) for batch in _singles(known, features, prompts)]
    return {name: torch.cat([maps[name] for maps in found]).float().cpu().numpy() for name in found[0]}


def feature_maps(model: PromptableModel, image: np.ndarray) -> dict[str, np.ndarray]:
    """Takes the maps that do not depend on a prompt: SAM's levels, and what NSFM makes of them.

    Args:
        model: A SAM or a VNS-SAM.
        image: (H, W, 3) uint8 RGB.

    Returns:
        Maps (h, w) float32 at the size of the picture in the model's input: "SAM: shallow level", "SAM: deep level",
        and of a VNS-SAM, as far as it has them, "NSFM: low bands" ("NSFM: merged levels" without wavelets),
        "NSFM: high bands", "NSFM: mask feature" and "NSFM: edge feature". A map is the mean absolute value over the
        channels, stretched to [0, 1] from its first to its 99th percentile; that of the mask feature is averaged
        over 4 x 4 pixels, the period of its upscaling.

    Raises:
        UsageError: The model is neither.
    """
    known = _known(model)
    features, maps = _encode(known, image)
    return {name: _normalised(values, features.geometry[0]) for name, values in maps.items()}


def inside(model: PromptableModel, image: np.ndarray, prompts: Prompts, truth: np.ndarray) -> tuple[str, np.ndarray]:
    """The figure of a SAM's or VNS-SAM's inside, see :func:`attention_figure`, after its kind."""
    return "attention", attention_figure(model, image, prompts, truth)


def attention_figure(model: PromptableModel, image: np.ndarray, prompts: Prompts, truth: np.ndarray) -> np.ndarray:
    """Draws Fig. 9 and more: a row for each prompt, then one with the features of the picture; truth outlined in green.

    A row has the picture, the feature that the mask is read from, and the attention of the last layer. For a VNS-SAM
    the SAM that it stands on is shown beside it, as it works alone; a coarse mask enters both in one way.

    Args:
        model: A SAM or a VNS-SAM.
        image: (H, W, 3) uint8 RGB.
        prompts: One or more prompts in pixels of the picture.
        truth: (H, W) bool.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        UsageError: The model is neither.
        DataError: The truth has another size than the picture.
    """
    known = _known(model)
    check_size(image, truth, "the true mask")
    features, image_maps = _encode(known, image)
    view, geometry = View(image), features.geometry[0]
    models: dict[str, SamModel | VnsSamModel] = {"SAM": known}
    if isinstance(known, VnsSamModel):
        models = {"SAM": known.sam, "VNS-SAM": known}
    rows = []
    for row, batch in enumerate(_singles(known, features, prompts)):
        picture = view.image.copy()
        view.draw_outline(picture, truth, TRUTH)
        view.draw_prompts(picture, prompts.single(row))
        maps = {f"{name}: mask feature": _smooth(_mask_feature(m, features, batch)) for name, m in models.items()}
        for name, one in models.items():
            own = {"SAM": ("SAM mask",), "VNS-SAM": ("mask", "edge")}[name]
            attention = _attention(one, features, batch)
            keys = {f"{name}: {token.split()[-1]} token attention": f"{token} token, level 2" for token in own}
            maps |= {title: attention[key][:, None] for title, key in keys.items() if key in attention}
        rows.append([Tile(picture, "picture, prompt, truth"), *_heat_tiles(view, maps, geometry, truth)])
    rows.append(_heat_tiles(view, image_maps, geometry, truth))
    return grid(rows, cell=CELL)


def attention_weights(attention: Attention, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    """The weights with which an attention from (P, T, C) to (P, S, C) mixes its values: (P, heads, T, S)."""
    q, k = (
        x.unflatten(-1, (attention.heads, -1)).transpose(1, 2) for x in (attention.q_proj(query), attention.k_proj(key))
    )
    return (q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5).softmax(dim=-1)


def _known(model: PromptableModel) -> SamModel | VnsSamModel:
    if not isinstance(model, SamModel | VnsSamModel):
        raise UsageError(
            f"attention and feature maps are drawn for SAM and VNS-SAM, found {type(model).__name__}",
            hint="leave the other models out of this figure",
        )
    return model


def _sam_decoder(model: SamModel | VnsSamModel) -> SamMaskDecoder:
    return model.sam.mask_decoder if isinstance(model, VnsSamModel) else model.mask_decoder


@contextmanager
def _recorded(modules: Mapping[str, nn.Module | None]) -> Iterator[_Records]:
    """Keeps input and output of the last call of each module while the block runs; None is passed over."""
    records: _Records = {}

    def keeper(name: str) -> Callable[[nn.Module, tuple[torch.Tensor, ...], torch.Tensor], None]:
        def keep(module: nn.Module, given: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            records[name] = (given, output)

        return keep

    handles = [module.register_forward_hook(keeper(name)) for name, module in modules.items() if module is not None]
    try:
        yield records
    finally:
        for handle in handles:
            handle.remove()


def _singles(model: SamModel | VnsSamModel, features: ImageFeatures, prompts: Prompts) -> Iterator[PromptBatch]:
    """Each prompt as a batch of one."""
    for row in range(len(prompts)):
        for _, batch in batch_prompts([prompts.single(row)], [0], features.geometry, model.preprocessing):
            yield batch.to(model.device)


@torch.inference_mode()
def _attention(model: SamModel | VnsSamModel, features: ImageFeatures, batch: PromptBatch) -> dict[str, torch.Tensor]:
    """Attention (P, g, g') of each token to the image, by token and level."""
    transformer = _sam_decoder(model).transformer
    first: Attention = cast(TwoWayBlock, transformer.layers[0]).cross_attn_token_to_image
    tokens = {"SAM mask": _sam_decoder(model).iou_index + 1}
    if isinstance(model, VnsSamModel):
        decoder = model.decoder
        first = decoder.level1_attention or first
        tokens |= {"mask": decoder.mask_index}
        if decoder.edge_mlp is not None:
            tokens |= {"edge": decoder.edge_index}
    attentions = {1: first, 2: transformer.final_attn_token_to_image}
    with _recorded({f"level {level}": module for level, module in attentions.items()}) as records:
        _ = (
            model.decode_levels(features, batch)
            if isinstance(model, VnsSamModel)
            else model.decode_all(features, batch)
        )
    maps: dict[str, torch.Tensor] = {}
    for level, module in attentions.items():
        query, key, _ = records[f"level {level}"][0]
        weights = attention_weights(module, query, key).mean(dim=1).unflatten(-1, features.embedding.shape[-2:])
        maps |= {f"{name} token, level {level}": weights[:, place] for name, place in tokens.items()}
    return maps


@torch.inference_mode()
def _mask_feature(model: SamModel | VnsSamModel, features: ImageFeatures, batch: PromptBatch) -> torch.Tensor:
    """What the final mask is read from by a dot product, (P, C, 4g, 4g')."""
    with _recorded({"upscaled": _sam_decoder(model).upscale_conv2}) as records:
        model.decode_batch(features, batch)
    grid = (features.embedding.shape[2], features.embedding.shape[3])
    finer = features.finer[0][batch.image_index] if features.finer else 0.0
    upscaled = F.gelu(Upscaled(records["upscaled"][1], grid).as_maps() + finer)
    if not isinstance(model, VnsSamModel) or not features.mined:
        return upscaled
    decoder = model.decoder
    full = decoder.mask_embedding if decoder.switches.level2_maskfeature == "full" else None
    return (F.gelu(upscaled) if full is None else full(upscaled)) + features.mined[0][batch.image_index]


@torch.inference_mode()
def _encode(model: SamModel | VnsSamModel, image: np.ndarray) -> tuple[ImageFeatures, dict[str, torch.Tensor]]:
    """Encodes a picture; features and their strengths (1, 1, h, w) by name."""
    nsfm = model.decoder.nsfm if isinstance(model, VnsSamModel) else None
    bands: dict[str, nn.Module | None] = {}
    if nsfm is not None:
        bands = {"merged levels" if nsfm.wavelets == "none" else "low bands": nsfm.low, "high bands": nsfm.high}
    pixels, geometry = model.preprocessing(image, model.device)
    with _recorded(bands) as records:
        features = replace(model.encode_pixels(pixels[None].to(model.dtype)), geometry=(geometry,))
    levels = {"SAM: shallow level": features.levels[0], "SAM: deep level": features.levels[-1]}
    maps = {name: _strength(level.permute(0, 3, 1, 2)) for name, level in levels.items()}
    maps |= {f"NSFM: {name}": _strength(output) for name, (_, output) in records.items()}
    for name, reduce, mined in zip(("mask", "edge"), (_smooth, _strength), features.mined, strict=False):
        maps[f"NSFM: {name} feature"] = reduce(mined)
    return features, maps


def _strength(feature: torch.Tensor) -> torch.Tensor:
    """Mean absolute value over the channels: (I, C, h, w) to (I, 1, h, w)."""
    return feature.float().abs().mean(dim=1, keepdim=True)


def _smooth(feature: torch.Tensor) -> torch.Tensor:
    """Strength of an upscaled feature, averaged over one period of the upscaling's pattern, which hides the rest."""
    before = UPSCALING // 2
    padded = F.pad(_strength(feature), (before, UPSCALING - 1 - before) * 2, mode="replicate")
    return F.avg_pool2d(padded, UPSCALING, stride=1)


def _normalised(maps: torch.Tensor, geometry: Geometry) -> np.ndarray:
    """A map (1, 1, h, w) of the square input without its padding, from 0 at its percentile 1 to 1 at its 99."""
    fitted = replace(geometry, height=geometry.fitted_height, width=geometry.fitted_width)
    values = maps_to_original(maps, fitted)[0].cpu().numpy()
    low, high = np.percentile(values, (1, 99))
    return ((values - low) / max(high - low, 1e-12)).clip(0, 1).astype(np.float32)


def _heat_tiles(view: View, maps: Mapping[str, torch.Tensor], geometry: Geometry, truth: np.ndarray) -> list[Tile]:
    tiles = []
    for title, values in maps.items():
        picture = view.heat(_normalised(values, geometry))
        view.draw_outline(picture, truth, TRUTH, width=1.7)
        tiles.append(Tile(picture, title))
    return tiles
