"""Small SAM 2 and SAM 3 of transformers with random weights."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from toy import toy_sam

from vns_sam.hq.decoder import HqMaskDecoder
from vns_sam.sam.architectures import HieraConfig, RopeVitConfig, TinyVitConfig
from vns_sam.sam.foundations import mobile, sam2, sam3
from vns_sam.sam.model import SamModel

DECODER = {"hidden_size": 64, "mlp_dim": 96, "num_attention_heads": 4, "iou_head_hidden_dim": 48}
FPN = {"fpn_hidden_size": 64, "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]]}


def shaken(model: nn.Module, seed: int = 3) -> nn.Module:
    """Gives every parameter a part of noise, so that none is 0 or 1 any more."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.05 * torch.randn(value.shape, generator=generator))
        for name, value in model.named_buffers():
            if "running_mean" in name:
                value.add_(0.1 * torch.randn(value.shape, generator=generator))
            elif "running_var" in name:
                value.mul_(0.5 + torch.rand(value.shape, generator=generator))
    return model.eval()


def hf_sam2(
    side: int = 128, decoder: dict[str, Any] = DECODER, fpn: dict[str, Any] = FPN, **backbone: Any
) -> nn.Module:
    """Transformers' ``Sam2Model``; ``backbone`` are fields of ``Sam2HieraDetConfig``."""
    from transformers.models.sam2.configuration_sam2 import Sam2Config
    from transformers.models.sam2.modeling_sam2 import Sam2Model

    grid = side // 16
    sizes = {"backbone_feature_sizes": [[4 * grid, 4 * grid], [2 * grid, 2 * grid], [grid, grid]]}
    hiera = {"model_type": "sam2_hiera_det_model", "image_size": [side, side], **backbone}
    if "embed_dim_per_stage" in backbone:
        fpn = {**fpn, "backbone_channel_list": backbone["embed_dim_per_stage"][::-1]}
        hiera["hidden_size"] = backbone["embed_dim_per_stage"][0]
    torch.manual_seed(0)
    config = Sam2Config(
        vision_config={"model_type": "sam2_vision_model", "backbone_config": hiera, **fpn, **sizes},
        prompt_encoder_config={"image_size": side, "hidden_size": decoder["hidden_size"]},
        mask_decoder_config=decoder,
    )
    return _one_embedding(shaken(Sam2Model(config)))


def hf_sam3(
    side: int = 112, levels: tuple[float, ...] = (4.0, 2.0, 1.0), decoder: dict[str, Any] = DECODER, **backbone: Any
) -> nn.Module:
    """Transformers' ``Sam3TrackerModel`` with a narrow ViT; three maps in the pyramid instead of the published four."""
    from transformers.models.sam3_tracker.configuration_sam3_tracker import Sam3TrackerConfig
    from transformers.models.sam3_tracker.modeling_sam3_tracker import Sam3TrackerModel

    vit = {
        "model_type": "sam3_vit_model",
        "hidden_size": 64,
        "num_hidden_layers": 8,
        "num_attention_heads": 2,
        "intermediate_size": 96,
        "image_size": side,
        "window_size": 4,
        "pretrain_image_size": 42,
        "global_attn_indexes": [1, 3, 5, 7],
        **backbone,
    }
    torch.manual_seed(0)
    grid = side // 14
    sizes = {"backbone_feature_sizes": [[4 * grid, 4 * grid], [2 * grid, 2 * grid], [grid, grid]]}
    vision = {"model_type": "sam3_vision_model", "backbone_config": vit, "scale_factors": [*levels]}
    hidden = decoder["hidden_size"]
    config = Sam3TrackerConfig(
        vision_config={**vision, "fpn_hidden_size": hidden, **sizes},
        prompt_encoder_config={"image_size": side, "hidden_size": hidden},
        mask_decoder_config=decoder,
    )
    return _one_embedding(shaken(Sam3TrackerModel(config)))


def _one_embedding(model: Any) -> nn.Module:
    """Published files hold the positional features twice, equal."""
    with torch.no_grad():
        own = model.prompt_encoder.shared_embedding.positional_embedding
        own.copy_(model.shared_image_embedding.positional_embedding)
    return model


def narrow_foundation(name: str) -> SamModel:
    """A narrow model of a foundation of ours, with the same random weights every time: "vit", "sam2", "sam3",
    "mobile-sam".
    """
    decoder = {"hidden_size": 32, "mlp_dim": 64, "num_attention_heads": 4, "iou_head_hidden_dim": 32}
    config = {
        "vit": toy_sam(64),
        "sam2": sam2.sam2_config("narrow", HieraConfig((8, 16, 32, 64), (1, 1, 2, 1), (1, 1, 2, 2), (2,)), 64),
        "sam3": sam3.sam3_config(RopeVitConfig(32, 8, 2, 48, (1, 3, 5, 7), 4, pretrained_grid=3), 112),
        "mobile-sam": mobile.mobile_config(
            TinyVitConfig((8, 12, 16, 24), (1, 1, 2, 1), (1, 2, 2, 3), (7, 3, 4, 3)), 64
        ),
    }[name]
    torch.manual_seed(0)
    model = SamModel(replace(config, mask_decoder=replace(config.mask_decoder, **decoder)))
    shaken(model)
    return model


def meta_name_of_sam2(hf: str) -> str:
    """What Meta's SAM 2.1 file calls a tensor of transformers' ``Sam2Model``, but for the table of points."""
    name = re.sub(r"\.layer_norm(_final_attn|\d)", lambda found: f".norm{found[1]}", hf)
    name = re.sub(r"(?<!mask_embed)\.o_proj", ".out_proj", name)
    name = re.sub(r"mlp\.proj_in", "mlp.layers.0", name)
    name = re.sub(r"mlp\.proj_out", "mlp.layers.1", name)
    heads = r"(output_hypernetworks_mlps\.\d|iou_prediction_head|pred_obj_score_head)\."
    for theirs, place in (("layers.0", 1), ("proj_in", 0), ("proj_out", 2)):
        name = re.sub(heads + re.escape(theirs), rf"\1.layers.{place}", name)
    places = {"conv1": 0, "norm1": 1, "conv2": 3, "norm2": 4, "conv3": 6}
    name = re.sub(r"mask_embed\.(\w+)\.", lambda found: f"mask_downscaling.{places[found[1]]}.", name)
    name = re.sub(r"neck\.convs\.(\d)\.", r"neck.convs.\1.conv.", name)
    for theirs, meta in (
        ("upscale_conv1", "output_upscaling.0"),
        ("upscale_layer_norm", "output_upscaling.1"),
        ("upscale_conv2", "output_upscaling.3"),
        ("patch_embed.projection", "patch_embed.proj"),
        ("vision_encoder.backbone", "image_encoder.trunk"),
        ("vision_encoder.neck", "image_encoder.neck"),
        ("shared_image_embedding.positional_embedding", "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"),
        ("no_memory_embedding", "no_mem_embed"),
    ):
        name = name.replace(theirs, meta)
    return re.sub(r"^(prompt_encoder|mask_decoder)", r"sam_\1", name)


def meta_sam2_state(theirs: nn.Module) -> dict[str, torch.Tensor]:
    """The weights of transformers' ``Sam2Model`` as Meta's file names them, with some of the memory's tensors."""
    state = {key: value for key, value in theirs.state_dict().items() if ".shared_embedding." not in key}
    table = state.pop("prompt_encoder.point_embed.weight")
    named = {meta_name_of_sam2(key): value.clone() for key, value in state.items()}
    named |= {f"sam_prompt_encoder.point_embeddings.{i}.weight": row[None].clone() for i, row in enumerate(table)}
    memory = ("maskmem_tpos_enc", "no_obj_ptr", "memory_encoder.fuser.layers.0.gamma", "obj_ptr_proj.layers.0.weight")
    return named | {key: torch.ones(3) for key in (*memory, "memory_attention.layers.0.self_attn.q_proj.weight")}


def meta_sam3_state(theirs: nn.Module) -> dict[str, torch.Tensor]:
    """The weights of transformers' ``Sam3TrackerModel`` as Meta's file names them, with some of the detector's."""
    vision, out = "detector.backbone.vision_backbone", dict[str, torch.Tensor]()
    for key, value in theirs.state_dict().items():
        if key.startswith("vision_encoder.backbone."):
            name = re.sub(r"layers\.(\d+)\.layer_norm", r"blocks.\1.norm", key.removeprefix("vision_encoder.backbone."))
            name = re.sub(r"layers\.(\d+)\.attention\.o_proj", r"blocks.\1.attn.proj", name)
            name = re.sub(r"layers\.(\d+)\.", r"blocks.\1.", name).replace("layer_norm", "ln_pre")
            name = name.replace("embeddings.patch_embeddings.projection", "patch_embed.proj")
            name = name.replace("embeddings.position_embeddings", "pos_embed")
            out[f"{vision}.trunk.{name}"] = value.clone()
        elif key.startswith("vision_encoder.neck."):
            name = key.removeprefix("vision_encoder.neck.fpn_layers.")
            name = name.replace("proj1", "conv_1x1").replace("proj2", "conv_3x3")
            name = name.replace("0.scale_layers.0", "0.dconv_2x2_0").replace("0.scale_layers.2", "0.dconv_2x2_1")
            out[f"{vision}.sam2_convs.{name.replace('1.scale_layers.0', '1.dconv_2x2')}"] = value.clone()
            out[f"{vision}.convs.{name.replace('1.scale_layers.0', '1.dconv_2x2')}"] = value + 1
    for block in {key.split("blocks.")[1].split(".")[0] for key in out if "blocks." in key}:
        for leaf in ("weight", "bias"):
            parts = [out.pop(f"{vision}.trunk.blocks.{block}.attention.{part}_proj.{leaf}") for part in "qkv"]
            out[f"{vision}.trunk.blocks.{block}.attn.qkv.{leaf}"] = torch.cat(parts)
    rest = {key: value for key, value in meta_sam2_state(theirs).items() if not key.startswith("image_encoder.")}
    out |= {f"tracker.{_of_sam3(key)}": value for key, value in rest.items()}
    return out | {"detector.transformer.encoder.layers.0.norm1.weight": torch.ones(3)}


def _of_sam3(name: str) -> str:
    """SAM 3's two-way blocks have SAM's names for their MLPs, and its memory stands elsewhere than SAM 2's."""
    name = re.sub(r"mlp\.layers\.([01])", lambda found: f"mlp.lin{int(found[1]) + 1}", name)
    return name.replace("memory_attention.", "transformer.encoder.").replace("memory_encoder.", "maskmem_backbone.")


def meta_sam31_state(theirs: nn.Module) -> dict[str, torch.Tensor]:
    """The weights of transformers' ``Sam3TrackerModel`` as that part of Meta's SAM 3.1 which is asked by clicks, beside
    one that is not: a tracker of 16 objects with a pyramid of its own.
    """
    vision, out = "detector.backbone.vision_backbone", dict[str, torch.Tensor]()
    for key, value in meta_sam3_state(theirs).items():
        if key.startswith(f"{vision}.sam2_convs."):
            out[key.replace("sam2_convs", "interactive_convs")] = value
            out[key] = value - 1
        elif key.startswith(("tracker.sam_", "tracker.no_mem_embed", "tracker.obj_ptr_proj")):
            name = key.removeprefix("tracker.").replace("no_mem_embed", "interactivity_no_mem_embed")
            out[f"tracker.model.{name if 'interactivity' in name else f'interactive_{name}'}"] = value
            out[f"tracker.model.{key.removeprefix('tracker.')}"] = value + 2
        else:
            out[key.replace("tracker.", "tracker.model.")] = value
    return out


def mobile_state(model: nn.Module) -> dict[str, torch.Tensor]:
    """The weights of our SAM on TinyViT as MobileSAM's authors name them, with the classifier that is in their file."""
    state = {}
    for key, value in model.state_dict().items():
        name = re.sub(r"\.layer_norm(_final_attn|\d)", lambda found: f".norm{found[1]}", key)
        if key.startswith("prompt_encoder.shared"):
            name = "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"
        elif not key.startswith("image_encoder."):
            name = meta_name_of_sam2(key).removeprefix("sam_").replace(".point_embed.", ".point_embeddings.")
        if key.startswith("image_encoder."):
            name = key
        state[name] = value.clone()
    head = {"head.weight": torch.ones(10, 320), "head.bias": torch.ones(10), "norm_head.weight": torch.ones(320)}
    return state | {f"image_encoder.{key}": value for key, value in head.items()}


def hq_parts(decoder: HqMaskDecoder, prefix: str = "mask_decoder.") -> dict[str, torch.Tensor]:
    """What HQ-SAM adds to a SAM as its authors name it, below their ``prefix`` of the mask decoder."""
    parts = {
        "token": "hf_token",
        "mask_mlp": "hf_mlp",
        "early_embedding": "compress_vit_feat",
        "image_embedding": "embedding_encoder",
        "mask_embedding": "embedding_maskfeature",
    }
    layers = {"proj_in": "layers.0", "layers.0": "layers.1", "proj_out": "layers.2"}
    out = {}
    for key, value in decoder.trainable_state_dict().items():
        part, rest = key.split(".", 1)
        if part == "mask_mlp":
            place, leaf = rest.rsplit(".", 1)
            rest = f"{layers[place]}.{leaf}"
        out[f"{prefix}{parts[part]}.{rest}"] = value.clone()
    return out
