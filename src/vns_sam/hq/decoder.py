"""HQ-SAM's mask decoder: SAM's decoder, frozen, with one more output token that reads a richer feature.

Ke et al. 2023, section 3.2. Shapes: I images, P prompts, N prompt tokens, d SAM's width (256), g x g' grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from vns_sam.hq.config import HqSamConfig
from vns_sam.sam.frozen import AroundSamDecoder
from vns_sam.sam.mask_decoder import FeedForward, LayerNorm2d, SamMaskDecoder, as_rows, rows_of


@dataclass(frozen=True)
class HqDecoderOutput:
    """Maps of P prompts.

    Attributes:
        hq_mask_logits: (P, 1, 4g, 4g') of the HQ token.
        sam_masks: (P, 4, 4g, 4g') logits of SAM's own tokens, which attend to the HQ token too.
        iou_scores: (P, 4) SAM's predicted IoU of ``sam_masks``.
    """

    hq_mask_logits: torch.Tensor
    sam_masks: torch.Tensor
    iou_scores: torch.Tensor


class HqMaskDecoder(AroundSamDecoder):
    """SAM's decoder and HQ-SAM's trainable modules around it. Built with random weights; SAM's part is frozen.

    Attributes:
        sam: SAM's decoder; no gradients, always in eval mode.
        token: The HQ output token.
        mask_mlp: From the token to the vector that is multiplied with the fused feature.
        early_embedding: Brings the encoder's early map to the mask channels, four times as large; None where the
            configuration fuses nothing.
        image_embedding: The same for the final image embedding.
        mask_embedding: Convolves SAM's upscaled mask feature.
    """

    def __init__(self, config: HqSamConfig) -> None:
        super().__init__()
        self.config = config
        hidden = config.mask_decoder.hidden_size
        masks = hidden // 8
        self.sam = SamMaskDecoder(config.mask_decoder).requires_grad_(False)
        self.token = nn.Embedding(1, hidden)
        self.mask_mlp = FeedForward(hidden, hidden, masks)
        fused = config.early != "none"
        self.early_embedding = _upscale(config.early_channels, hidden, masks) if fused else None
        self.image_embedding = _upscale(hidden, hidden // 4, masks) if fused else None
        self.mask_embedding = nn.Sequential(
            nn.Conv2d(masks, 2 * masks, 3, padding=1),
            LayerNorm2d(2 * masks),
            nn.GELU(),
            nn.Conv2d(2 * masks, masks, 3, padding=1),
        )

    def fuse(self, image_embeddings: torch.Tensor, early: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The prompt-independent part of the global-local feature, once for each image.

        Args:
            image_embeddings: (I, d, g, g') of the encoder's end, the global context.
            early: (I, g, g', C) of its early map, the local detail.

        Returns:
            One map (I, d / 8, 4g, 4g'), or none where nothing is fused.
        """
        if self.image_embedding is None or self.early_embedding is None:
            return ()
        return (self.image_embedding(image_embeddings) + self.early_embedding(early.permute(0, 3, 1, 2)),)

    def forward(
        self,
        image_embeddings: torch.Tensor,
        image_pe: torch.Tensor,
        sparse: torch.Tensor,
        dense: torch.Tensor,
        image_index: torch.Tensor,
        fused: Sequence[torch.Tensor],
        finer: Sequence[torch.Tensor] = (),
    ) -> HqDecoderOutput:
        """Decodes P prompts on I images.

        Args:
            image_embeddings: (I, d, g, g').
            image_pe: (1, d, g, g') positional encoding of the grid.
            sparse: (P, N, d) embedded points and boxes; N may be 0.
            dense: (P, d, g, g') embedded mask prompts.
            image_index: (P,) long, the image of each prompt.
            fused: What :meth:`fuse` made of the images.
            finer: The encoder's finer maps of a SAM 2, each with I rows.
        """
        own = torch.cat([self.sam.own_tokens(), self.token.weight])
        tokens = torch.cat([own.expand(sparse.shape[0], -1, -1), sparse], dim=1)
        keys = as_rows(rows_of(image_embeddings, image_index) + dense)
        tokens, keys = self.sam.transformer(tokens, keys, as_rows(image_pe))
        rows = [rows_of(level, image_index) for level in finer]
        upscaled = self.sam.upscale(keys, (dense.shape[2], dense.shape[3]), rows)
        feature = self.mask_embedding(upscaled.as_maps())
        for level in fused:
            feature = feature + rows_of(level, image_index)
        vector = self.mask_mlp(tokens[:, own.shape[0] - 1])
        return HqDecoderOutput(
            torch.einsum("pc,pchw->phw", vector, feature)[:, None],
            self.sam.read_masks(tokens, upscaled),
            self.sam.read_scores(tokens),
        )


def _upscale(channels: int, inner: int, out: int) -> nn.Sequential:
    """Twice a transposed convolution of stride 2."""
    return nn.Sequential(
        nn.ConvTranspose2d(channels, inner, 2, 2), LayerNorm2d(inner), nn.GELU(), nn.ConvTranspose2d(inner, out, 2, 2)
    )
