"""SAM's ViT image encoder, exporting its four global-attention maps."""

from __future__ import annotations

from typing import Self

import torch
from torch import nn

from vns_sam.sam.config import VitConfig
from vns_sam.sam.encoders.adapter import VitAdapter
from vns_sam.sam.encoders.relative_attention import piecewise
from vns_sam.sam.encoders.vision_transformer import VisionTransformer


class VitEncoder(nn.Module):
    """SAM's ViT, run so that only the four exported maps are kept.

    Args:
        config: Its numbers.
        image_size: Side of the square input in pixels.
        output_channels: Channels of the embedding.

    Attributes:
        vit: Its modules, for a checkpoint's ``vision_encoder.*`` keys.
        exported: Indices of the blocks whose outputs are the levels, shallow to deep.
    """

    def __init__(self, config: VitConfig, image_size: int, output_channels: int) -> None:
        super().__init__()
        self.exported = config.global_attn_indexes
        self.vit = VisionTransformer(
            channels=config.hidden_size,
            heads=config.num_attention_heads,
            whole=tuple(block in self.exported for block in range(config.num_hidden_layers)),
            window=config.window_size,
            mlp=round(config.hidden_size * config.mlp_ratio),
            image_size=image_size,
            out=output_channels,
        )

    @classmethod
    def for_sam(cls, backbone: VitConfig, hidden_size: int, image_size: int) -> Self:
        """The encoder of a SAM; its positions are for the input's side ``image_size``."""
        return cls(backbone, image_size, hidden_size)

    @staticmethod
    def adapter_for(backbone: VitConfig) -> VitAdapter:
        """A fresh adapter for it."""
        return VitAdapter(backbone.hidden_size, backbone.num_hidden_layers)

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
        if pixels.shape[0] > 1 and piecewise(pixels):
            embeddings, levels = zip(*(self._encode(image, adapter) for image in pixels.split(1)), strict=True)
            return torch.cat(embeddings), tuple(torch.cat(level) for level in zip(*levels, strict=True))
        return self._encode(pixels, adapter)

    def _encode(
        self, pixels: torch.Tensor, adapter: VitAdapter | None
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        patches = self.vit.patch_embed(pixels)
        cue = None if adapter is None else adapter.cue(pixels, patches)
        hidden = patches + self.vit.pos_embed
        exported = []
        for index, layer in enumerate(self.vit.layers):
            if adapter is not None and cue is not None:
                hidden = hidden + adapter.prompt(cue, index)
            hidden = layer(hidden)
            if index in self.exported:
                exported.append(hidden)
        return self.vit.neck(hidden), tuple(exported)
