"""SAM's ViT image encoder on transformers' layers, exporting its four global-attention maps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from vns_sam.sam.config import SamConfig
from vns_sam.sam.encoders.adapter import VitAdapter

VitName = Literal["vit_b", "vit_l", "vit_h", "vit_test"]


@dataclass(frozen=True)
class VitArchitecture:
    """Widths and depths of a SAM ViT (Li et al. 2022, Kirillov et al. 2023); field names as in transformers.

    Attributes:
        global_attn_indexes: Blocks that attend over the whole grid; their outputs are the four levels.
        window_size: Side of the windows that all other blocks attend in, in grid cells.
    """

    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    global_attn_indexes: tuple[int, int, int, int]
    window_size: int = 14


ARCHITECTURES: dict[VitName, VitArchitecture] = {
    "vit_b": VitArchitecture(768, 12, 12, (2, 5, 8, 11)),
    "vit_l": VitArchitecture(1024, 24, 16, (5, 11, 17, 23)),
    "vit_h": VitArchitecture(1280, 32, 16, (7, 15, 23, 31)),
    "vit_test": VitArchitecture(32, 8, 2, (1, 3, 5, 7), window_size=3),
}
"""By SAM's own names; "vit_test" is a toy of the same build for tests on small pictures."""


def vit_config(backbone: VitName, *, image_size: int = 1024) -> SamConfig:
    """The configuration of a SAM on a ViT.

    Args:
        backbone: A key of :data:`ARCHITECTURES`.
        image_size: Side of the square input in pixels; 1024 in all published weights.
    """
    width = ARCHITECTURES[backbone].hidden_size
    levels = (width, width, width, width)
    return SamConfig(name=backbone, backbone=backbone, image_size=image_size, level_channels=levels)


class VitEncoder(nn.Module):
    """Transformers' ``SamVisionEncoder``, run so that only the four exported maps are kept.

    Attributes:
        vit: The transformers module, for a checkpoint's ``vision_encoder.*`` keys.
        exported: Indices of the blocks whose outputs are the levels, shallow to deep.
    """

    def __init__(self, config: SamConfig) -> None:
        super().__init__()
        from transformers import SamVisionConfig
        from transformers.models.sam.modeling_sam import SamVisionEncoder

        if config.backbone == "tiny":
            raise ValueError("the tiny backbone is no ViT")
        architecture = ARCHITECTURES[config.backbone]
        self.exported = architecture.global_attn_indexes
        self.vit = SamVisionEncoder(
            SamVisionConfig(
                **vars(architecture),
                image_size=config.image_size,
                output_channels=config.mask_decoder.hidden_size,
            )
        )

    def forward(
        self, pixels: torch.Tensor, adapter: VitAdapter | None = None
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        """Encodes pixels.

        Args:
            pixels: (I, 3, S, S) normalised; S is the configured image size.
            adapter: Its prompts are added before every block.

        Returns:
            The embedding (I, 256, g, g) and four levels (I, g, g, C), shallow to deep: each is a block's
            output before the neck, ``hidden_states[i + 1]`` in transformers' terms.
        """
        patches = self.vit.patch_embed(pixels)
        cue = None if adapter is None else adapter.cue(pixels, patches)
        hidden = patches + self.vit.pos_embed
        levels = []
        for index, layer in enumerate(self.vit.layers):
            if adapter is not None and cue is not None:
                hidden = hidden + adapter.prompt(cue, index)
            hidden = layer(hidden)
            if index in self.exported:
                levels.append(hidden)
        return self.vit.neck(hidden), tuple(levels)
