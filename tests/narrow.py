"""A narrow VNS-SAM decoder whose weights come from a seeded recipe: the same everywhere, without a file."""

from __future__ import annotations

from typing import Any
from zlib import crc32

import numpy as np
import torch
from workshop import NARROW

from vns_sam.vns.config import VnsSamConfig
from vns_sam.vns.decoder import VnsMaskDecoder
from vns_sam.vns.official import key_to_official

CONFIG = VnsSamConfig(
    "narrow", level_channels=(12, 12, 12, 12), inner_channels=8, head_channels=8, mask_decoder=NARROW.mask_decoder
)


def draw(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """Values of one tensor: a legacy stream, which NumPy keeps frozen, seeded by the tensor's name."""
    rng = np.random.RandomState(crc32(key.encode()))
    if key.endswith("running_var"):
        return rng.uniform(0.5, 1.5, shape)
    if len(shape) > 1:
        return rng.standard_normal(shape) * 1.2 / np.sqrt(np.prod(shape[1:]))
    gain = 1.0 if any(part in key for part in ("norm", "bn.weight", ".1.weight", ".4.weight")) else 0.0
    return gain + 0.15 * rng.standard_normal(shape)


def fill(decoder: VnsMaskDecoder) -> VnsMaskDecoder:
    """Gives a decoder the recipe's weights, by the authors' names where they have one."""
    for key, value in decoder.state_dict().items():
        if value.is_floating_point():
            name = key if key.startswith(("token_fusion", "mask_scores")) else key_to_official(key)
            value.copy_(torch.from_numpy(draw(name, tuple(value.shape))))
    return decoder.eval()


def inputs(grid: tuple[int, int] = (4, 4), tokens: int = 2) -> dict[str, Any]:
    """A narrow decoder's inputs: three prompts on two images."""
    images, hidden = 2, NARROW.mask_decoder.hidden_size

    def tensor(name: str, *shape: int) -> torch.Tensor:
        return torch.from_numpy(np.random.RandomState(crc32(name.encode())).standard_normal(shape)).float()

    prompts = images + 1
    return {
        "image_embeddings": tensor("embedding", images, hidden, *grid),
        "image_pe": tensor("pe", 1, hidden, *grid),
        "sparse": tensor("sparse", prompts, tokens, hidden),
        "dense": tensor("dense", prompts, hidden, *grid),
        "levels": [tensor(f"level{i}", images, *grid, 12) for i in range(4)],
        "image_index": torch.tensor([*range(images), 0]),
    }
