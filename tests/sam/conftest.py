"""A toy SAM of transformers with random weights, and the same weights under the names of Meta's files."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch
import transformers

SIDE = 96
BLOCKS = 8
EMBEDDINGS = re.compile(r"(_embed|_tokens?|point_embed\.\d)\.weight$|pos_embed$|rel_pos_[hw]$|positional_embedding$")


@pytest.fixture(scope="session")
def hf_sam() -> transformers.SamModel:
    """Width 32, 8 blocks, grid 6: windows of 3 divide it; the two-way blocks have Meta's eps."""
    vision = {
        "hidden_size": 32,
        "num_hidden_layers": BLOCKS,
        "num_attention_heads": 2,
        "global_attn_indexes": [1, 3, 5, 7],
        "window_size": 3,
        "image_size": SIDE,
    }
    config = transformers.SamConfig(
        vision_config=vision,
        prompt_encoder_config={"image_size": SIDE},
        mask_decoder_config={"layer_norm_eps": 1e-5},
    )
    model = transformers.SamModel(config).eval()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, value in model.named_parameters():
            noise = torch.randn(value.shape, generator=generator)
            if "layer_norm" in name and name.endswith("weight"):
                value.copy_(1 + 0.2 * noise)
            elif value.ndim == 1:
                value.copy_(0.1 * noise)
            elif EMBEDDINGS.search(name):
                value.copy_(0.7 * noise)
            else:
                value.copy_(1.2 * noise / value[0].numel() ** 0.5)
        shared = model.shared_image_embedding.positional_embedding
        model.prompt_encoder.shared_embedding.positional_embedding.copy_(shared)
    return model


@pytest.fixture(scope="session")
def meta_state(hf_sam: transformers.SamModel) -> dict[str, torch.Tensor]:
    """The weights of ``hf_sam`` as Meta's file would name them."""
    hf = hf_sam.state_dict()
    return {meta: hf[name].clone() for meta, name in _meta_names(BLOCKS).items()}


@pytest.fixture(scope="session")
def meta_names() -> Callable[[int], dict[str, str]]:
    """Meta's name and transformers' name of each tensor of a SAM with so many blocks."""
    return _meta_names


def _meta_names(blocks: int) -> dict[str, str]:
    modules = {"image_encoder.patch_embed.proj": "vision_encoder.patch_embed.projection"}
    for i in range(blocks):
        meta, hf = f"image_encoder.blocks.{i}", f"vision_encoder.layers.{i}"
        modules |= {f"{meta}.norm1": f"{hf}.layer_norm1", f"{meta}.norm2": f"{hf}.layer_norm2"}
        modules |= {f"{meta}.{part}": f"{hf}.{part}" for part in ("attn.qkv", "attn.proj", "mlp.lin1", "mlp.lin2")}
    modules |= {"image_encoder.neck.1": "vision_encoder.neck.layer_norm1"}
    modules |= {"image_encoder.neck.3": "vision_encoder.neck.layer_norm2"}
    places = {0: "conv1", 1: "layer_norm1", 3: "conv2", 4: "layer_norm2", 6: "conv3"}
    modules |= {f"prompt_encoder.mask_downscaling.{i}": f"prompt_encoder.mask_embed.{n}" for i, n in places.items()}
    two_way = "mask_decoder.transformer"
    attentions = [(f"{two_way}.final_attn_token_to_image",) * 2]
    for i in range(2):
        block = f"{two_way}.layers.{i}"
        kinds = ("self_attn", "cross_attn_token_to_image", "cross_attn_image_to_token")
        attentions += [(f"{block}.{kind}", f"{block}.{kind}") for kind in kinds]
        modules |= {f"{block}.norm{n}": f"{block}.layer_norm{n}" for n in (1, 2, 3, 4)}
        modules |= {f"{block}.mlp.lin{n}": f"{block}.mlp.lin{n}" for n in (1, 2)}
    modules[f"{two_way}.norm_final_attn"] = f"{two_way}.layer_norm_final_attn"
    projections = ("q_proj", "k_proj", "v_proj", "out_proj")
    modules |= {f"{meta}.{p}": f"{hf}.{p}" for meta, hf in attentions for p in projections}
    upscaling = {0: "upscale_conv1", 1: "upscale_layer_norm", 3: "upscale_conv2"}
    modules |= {f"mask_decoder.output_upscaling.{i}": f"mask_decoder.{n}" for i, n in upscaling.items()}
    heads = ["iou_prediction_head", *(f"output_hypernetworks_mlps.{i}" for i in range(4))]
    for head in heads:
        for i, part in enumerate(("proj_in", "layers.0", "proj_out")):
            modules[f"mask_decoder.{head}.layers.{i}"] = f"mask_decoder.{head}.{part}"
    names = {f"{m}.{leaf}": f"{h}.{leaf}" for m, h in modules.items() for leaf in ("weight", "bias")}

    names["image_encoder.pos_embed"] = "vision_encoder.pos_embed"
    names |= {
        f"image_encoder.neck.{i}.weight": f"vision_encoder.neck.{n}.weight" for i, n in ((0, "conv1"), (2, "conv2"))
    }
    for i in range(blocks):
        for axis in "hw":
            rel = f"attn.rel_pos_{axis}"
            names[f"image_encoder.blocks.{i}.{rel}"] = f"vision_encoder.layers.{i}.{rel}"
    names["prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"] = "shared_image_embedding.positional_embedding"
    names |= {f"prompt_encoder.point_embeddings.{i}.weight": f"prompt_encoder.point_embed.{i}.weight" for i in range(4)}
    same = ("prompt_encoder.not_a_point_embed", "prompt_encoder.no_mask_embed")
    same += ("mask_decoder.iou_token", "mask_decoder.mask_tokens")
    return names | {f"{name}.weight": f"{name}.weight" for name in same}
