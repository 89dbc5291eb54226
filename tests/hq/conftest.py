"""A toy SAM-HQ of transformers with random weights, and a narrow HQ-SAM of ours."""

from __future__ import annotations

import pytest
import torch
import transformers
from workshop import narrow_sam

from vns_sam.hq.model import HqSamModel

SIDE = 96


@pytest.fixture(scope="session")
def hf_hq() -> transformers.SamHQModel:
    """Width 32, 8 blocks, grid 6; the two-way blocks have the authors' eps."""
    vision = {
        "hidden_size": 32,
        "num_hidden_layers": 8,
        "num_attention_heads": 2,
        "global_attn_indexes": [1, 3, 5, 7],
        "window_size": 3,
        "image_size": SIDE,
    }
    config = transformers.SamHQConfig(
        vision_config=vision,
        prompt_encoder_config={"image_size": SIDE},
        mask_decoder_config={"layer_norm_eps": 1e-5, "vit_dim": 32},
    )
    model = transformers.SamHQModel(config).eval()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, value in model.named_parameters():
            noise = torch.randn(value.shape, generator=generator)
            if value.ndim == 1:
                value.copy_(0.2 * noise + (1 if "norm" in name and name.endswith("weight") else 0))
            else:
                table = name.endswith(("_embed.weight", "_token.weight", "_tokens.weight", "pos_embed"))
                value.copy_(0.7 * noise if table else 1.2 * noise / value[0].numel() ** 0.5)
        shared = model.shared_image_embedding.positional_embedding
        model.prompt_encoder.shared_embedding.positional_embedding.copy_(shared)
    model.mask_decoder.transformer.register_forward_hook(_mend, with_kwargs=True)
    return model


def _mend(module: object, args: object, kwargs: dict[str, torch.Tensor], output: tuple[torch.Tensor, ...]) -> None:
    """Gives transformers' decoder the attended image back.

    Up to 5.23 it upscales the image as it was before the two-way transformer, with its axes exchanged. The authors'
    decoder upscales the attended image, as SAM's does, and that is what the published weights were trained with.
    """
    before = kwargs["image_embeddings"]
    attended = output[1].squeeze(1).transpose(1, 2).unflatten(2, before.shape[-2:])
    before.copy_(attended.transpose(2, 3))


@pytest.fixture
def model() -> HqSamModel:
    """HQ-SAM's modules on a narrow tiny SAM, untrained."""
    return HqSamModel.from_sam(narrow_sam()).eval()
