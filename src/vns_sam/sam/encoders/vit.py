"""SAM's ViT image encoder on transformers' layers, exporting its four global-attention maps."""

from __future__ import annotations

import torch
from torch import nn

from vns_sam.sam.config import VitConfig
from vns_sam.sam.encoders.adapter import VitAdapter


class VitEncoder(nn.Module):
    """Transformers' ``SamVisionEncoder``, run so that only the four exported maps are kept.

    Args:
        config: Its numbers.
        image_size: Side of the square input in pixels.
        output_channels: Channels of the embedding.

    Attributes:
        vit: The transformers module, for a checkpoint's ``vision_encoder.*`` keys.
        exported: Indices of the blocks whose outputs are the levels, shallow to deep.
    """

    def __init__(self, config: VitConfig, image_size: int, output_channels: int) -> None:
        super().__init__()
        from transformers import SamVisionConfig
        from transformers.models.sam.modeling_sam import SamVisionEncoder

        numbers = {name: value for name, value in vars(config).items() if name != "kind"}
        self.exported = config.global_attn_indexes
        self.vit = SamVisionEncoder(SamVisionConfig(**numbers, image_size=image_size, output_channels=output_channels))

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
