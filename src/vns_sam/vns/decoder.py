"""METI, VNS-SAM's mask decoder: SAM's decoder, frozen, with two more tokens, read at two levels into masks and edges.

VNS-SAM, section III-B. Shapes: I images, P prompts, N prompt tokens, T tokens in all, d SAM's width (256),
g x g' grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import nn

from vns_sam.sam.mask_decoder import Attention, FeedForward, LayerNorm2d, SamMaskDecoder
from vns_sam.types import DecoderOutput
from vns_sam.vns.config import VnsSamConfig
from vns_sam.vns.nsfm import Nsfm

Mined = tuple[torch.Tensor, torch.Tensor]
"""Mask feature (I, d / 8, 4g, 4g') and edge feature (I, d, g, g')."""


@dataclass(frozen=True)
class VnsDecoderOutput:
    """All maps of P prompts, each (P, 1, 4g, 4g') logits unless said otherwise.

    Attributes:
        mask_logits: The final mask, after the fusion.
        edge_logits: The final edge, level 2.
        level2_mask_logits: The mask of level 2 before the fusion.
        level1_mask_logits, level1_edge_logits: Mask and edge of level 1.
        sam_masks: (P, 4, 4g, 4g') SAM's own masks. The new tokens take part in its attention, so these are
            not the masks of a plain SAM.
        iou_scores: (P, 4) SAM's predicted IoU of ``sam_masks``.
    """

    mask_logits: torch.Tensor
    edge_logits: torch.Tensor
    level2_mask_logits: torch.Tensor
    level1_mask_logits: torch.Tensor
    level1_edge_logits: torch.Tensor
    sam_masks: torch.Tensor
    iou_scores: torch.Tensor

    @property
    def sam_mask_logits(self) -> torch.Tensor:
        """SAM's single-mask output, mask 0."""
        return self.sam_masks[:, :1]

    @property
    def best_sam_mask_logits(self) -> torch.Tensor:
        """The one of SAM's masks 1 to 3 with the highest predicted IoU."""
        best = 1 + self.iou_scores[:, 1:].argmax(dim=1)
        return self.sam_masks[torch.arange(len(best), device=best.device), best][:, None]


class _Level(NamedTuple):
    """Tokens (P, T, d) and image (P, g * g', d) after a layer."""

    tokens: torch.Tensor
    keys: torch.Tensor


class VnsMaskDecoder(nn.Module):
    """SAM's decoder and VNS-SAM's trainable modules around it. Built with random weights; SAM's part is frozen.

    Attributes:
        sam: SAM's decoder; no gradients, always in eval mode.
        tokens: The two VNS tokens.
        mask_mlp, edge_mlp: From a token to a vector that is multiplied with a map (MPL and EPL, section III-B).
        token_fusion: The linear layer of equation 2, None where the tokens are only added.
        level1_attention, level1_norm: Attention of the level-1 tokens to the image, None where they are read
            straight from the layer.
        nsfm: Mines the levels.
        mask_embedding, edge_embedding: Bring SAM's upscaled image and the edge feature to the mask channels.
        dense_head: The supplementary map.
        fusion: Final mask from the level's mask and the supplementary map.
    """

    def __init__(self, config: VnsSamConfig) -> None:
        super().__init__()
        self.config = config
        self.switches = config.method
        sam, heads, masks = config.mask_decoder, config.head_channels, config.mask_channels
        hidden = sam.hidden_size
        last_sam_token = 1 + sam.num_multimask_outputs
        self.mask_index = last_sam_token + (self.switches.token_readout == "paper")
        self.edge_index = self.mask_index + 1
        feedback, attention = self.switches.token_fusion == "feedback", self.switches.level1_attention
        self.sam = SamMaskDecoder(sam).requires_grad_(False)
        self.tokens = nn.Embedding(2, hidden)
        self.mask_mlp = FeedForward(hidden, hidden, masks)
        self.edge_mlp = FeedForward(hidden, hidden, masks)
        self.token_fusion = nn.Linear(hidden, hidden) if feedback else None
        self.level1_attention = Attention(sam, sam.attention_downsample_rate) if attention else None
        self.level1_norm = nn.LayerNorm(hidden, sam.layer_norm_eps) if attention else None
        self.nsfm = Nsfm(config.level_channels, config.inner_channels, hidden)
        self.mask_embedding = nn.Sequential(
            nn.Conv2d(masks, 2 * masks, 3, padding=1),
            LayerNorm2d(2 * masks),
            nn.GELU(),
            nn.Conv2d(2 * masks, masks, 3, padding=1),
            nn.GELU(),
        )
        self.edge_embedding = nn.Sequential(
            nn.ConvTranspose2d(hidden, hidden // 4, 2, 2),
            LayerNorm2d(hidden // 4),
            nn.GELU(),
            nn.ConvTranspose2d(hidden // 4, masks, 2, 2),
            nn.GELU(),
        )
        self.dense_head = nn.Sequential(nn.Conv2d(hidden, heads, 3, padding=1), nn.GELU(), nn.Conv2d(heads, 1, 1))
        self.fusion = _fusion(heads, self.switches.fusion_convs)

    def train(self, mode: bool = True) -> Self:
        """Switches the new modules between training and evaluation; SAM's part stays in evaluation."""
        super().train(mode)
        self.sam.eval()
        return self

    def trainable_state_dict(self) -> dict[str, torch.Tensor]:
        """Everything but SAM's part: the trained weights and the running statistics of the batch norms."""
        return {key: value for key, value in self.state_dict().items() if not key.startswith("sam.")}

    def mine(self, levels: Sequence[torch.Tensor]) -> Mined:
        """Runs NSFM once for each image: levels 4 x (I, g, g', C_k), shallow to deep.

        Raises:
            DataError: The levels have other channels, or an odd side.
        """
        mask_feature, edge_feature = self.nsfm(levels)
        return mask_feature, edge_feature

    def forward(
        self,
        image_embeddings: torch.Tensor,
        image_pe: torch.Tensor,
        sparse: torch.Tensor,
        dense: torch.Tensor,
        levels: Sequence[torch.Tensor],
        image_index: torch.Tensor,
        mined: Mined | None = None,
    ) -> VnsDecoderOutput:
        """Decodes P prompts on I images, with every map that is trained or compared.

        Args:
            image_embeddings: (I, d, g, g').
            image_pe: (1, d, g, g') positional encoding of the grid.
            sparse: (P, N, d) embedded points and boxes; N may be 0.
            dense: (P, d, g, g') embedded mask prompts.
            levels: Four maps (I, g, g', C_k), shallow to deep; not looked at where ``mined`` is given.
            image_index: (P,) long, the image of each prompt.
            mined: What :meth:`mine` made of the levels.

        Raises:
            DataError: The levels have other channels, or an odd side.
        """
        mined = mined or self.mine(levels)
        first, second = self._attend(image_embeddings, image_pe, sparse, dense, image_index)
        grid = dense.shape[-2:]
        image1, image2 = _as_map(first.keys, grid), _as_map(second.keys, grid)
        upscaled1, upscaled2 = self.sam.upscale(image1), self.sam.upscale(image2)
        tokens1 = self._level1_tokens(first, image_pe, sparse)
        level1_mask = self._read_mask(tokens1, self.mask_embedding(upscaled1), mined, image_index)
        level2_mask = self._read_mask(second.tokens, self._level2_feature(upscaled2), mined, image_index)
        return VnsDecoderOutput(
            mask_logits=self._fuse(level2_mask, image2),
            edge_logits=self._read_edge(second.tokens, image2, mined, image_index),
            level2_mask_logits=level2_mask,
            level1_mask_logits=self._fuse(level1_mask, image1) if self.switches.level1_fusion else level1_mask,
            level1_edge_logits=self._read_edge(tokens1, image1, mined, image_index),
            sam_masks=self.sam.read_masks(second.tokens, upscaled2),
            iou_scores=self.sam.iou_prediction_head(second.tokens[:, 0]),
        )

    def decode_final(
        self,
        image_embeddings: torch.Tensor,
        image_pe: torch.Tensor,
        sparse: torch.Tensor,
        dense: torch.Tensor,
        image_index: torch.Tensor,
        mined: Mined,
    ) -> DecoderOutput:
        """The final mask and edge of :meth:`forward` and the score of SAM's mask 0: what inference needs.

        With ``sum_with_sam`` the mask is the sum of the fused logits and SAM's own.
        """
        _, second = self._attend(image_embeddings, image_pe, sparse, dense, image_index)
        image = _as_map(second.keys, dense.shape[-2:])
        upscaled = self.sam.upscale(image)
        mask = self._fuse(self._read_mask(second.tokens, self._level2_feature(upscaled), mined, image_index), image)
        if self.config.sum_with_sam:
            mask = mask + self.sam.read_masks(second.tokens, upscaled)[:, :1]
        return DecoderOutput(
            mask,
            self.sam.iou_prediction_head(second.tokens[:, 0])[:, 0],
            self._read_edge(second.tokens, image, mined, image_index),
        )

    def _own_tokens(self, sparse: torch.Tensor) -> torch.Tensor:
        """IoU token, SAM's mask tokens, VNS tokens, prompt tokens: (P, T, d)."""
        own = torch.cat([self.sam.iou_token.weight, self.sam.mask_tokens.weight, self.tokens.weight])
        return torch.cat([own.expand(len(sparse), -1, -1), sparse], dim=1)

    def _attend(
        self,
        image_embeddings: torch.Tensor,
        image_pe: torch.Tensor,
        sparse: torch.Tensor,
        dense: torch.Tensor,
        image_index: torch.Tensor,
    ) -> tuple[_Level, _Level]:
        """Runs SAM's two layers: both levels, the tokens of the second after SAM's last attention."""
        tokens = self._own_tokens(sparse)
        keys = (image_embeddings[image_index] + dense).flatten(2).transpose(1, 2)
        pe = image_pe.flatten(2).transpose(1, 2)
        transformer = self.sam.transformer
        layer1, layer2 = transformer.layers
        queries1, keys1 = layer1(tokens, keys, tokens, pe)
        queries1 = self._feed_back(queries1)
        queries2, keys2 = layer2(queries1, keys1, tokens, pe)
        queries2 = self._feed_back(queries2)
        attended = transformer.final_attn_token_to_image(queries2 + tokens, keys2 + pe, keys2)
        return _Level(queries1, keys1), _Level(transformer.layer_norm_final_attn(queries2 + attended), keys2)

    def _feed_back(self, tokens: torch.Tensor) -> torch.Tensor:
        """Equation 2: the mask token becomes Linear(mask token + edge token)."""
        if self.token_fusion is None:
            return tokens
        mask, edge = self.mask_index, self.edge_index
        fused = self.token_fusion(tokens[:, mask] + tokens[:, edge])
        return torch.cat([tokens[:, :mask], fused[:, None], tokens[:, mask + 1 :]], dim=1)

    def _level1_tokens(self, level: _Level, image_pe: torch.Tensor, sparse: torch.Tensor) -> torch.Tensor:
        if self.level1_attention is None or self.level1_norm is None:
            return level.tokens
        keys = level.keys + image_pe.flatten(2).transpose(1, 2)
        attended = self.level1_attention(level.tokens + self._own_tokens(sparse), keys, level.keys)
        return self.level1_norm(level.tokens + attended)

    def _level2_feature(self, upscaled: torch.Tensor) -> torch.Tensor:
        return F.gelu(upscaled) if self.switches.level2_maskfeature == "gelu" else self.mask_embedding(upscaled)

    def _read_mask(
        self, tokens: torch.Tensor, feature: torch.Tensor, mined: Mined, image_index: torch.Tensor
    ) -> torch.Tensor:
        """MPL: the mask token's dot product with feature + mined mask feature, (P, 1, 4g, 4g')."""
        token = tokens[:, self.mask_index]
        if self.token_fusion is None:
            token = token + tokens[:, self.edge_index]
        return _dot(self.mask_mlp(token), feature + mined[0][image_index])

    def _read_edge(
        self, tokens: torch.Tensor, image: torch.Tensor, mined: Mined, image_index: torch.Tensor
    ) -> torch.Tensor:
        """EPL: the edge token's dot product with the upscaled edge feature, (P, 1, 4g, 4g')."""
        if self.switches.edge_with_image_embedding:
            feature = self.edge_embedding(mined[1][image_index] + image)
        else:
            feature = self.edge_embedding(mined[1])[image_index]
        return _dot(self.edge_mlp(tokens[:, self.edge_index]), feature)

    def _fuse(self, mask_logits: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        """Fuses a level's mask with the supplementary map, drawn from the image (P, d, g, g') without tokens."""
        dense = F.interpolate(self.dense_head(image), scale_factor=4, mode="bilinear", align_corners=False)
        return self.fusion(torch.cat([mask_logits, dense], dim=1))


def _fusion(channels: int, convs: int) -> nn.Sequential:
    if convs == 2:
        return nn.Sequential(nn.Conv2d(2, channels, 3, padding=1), nn.GELU(), nn.Conv2d(channels, 1, 1))
    return nn.Sequential(
        nn.Conv2d(2, channels, 3, padding=1),
        nn.GELU(),
        nn.Conv2d(channels, channels, 3, padding=1),
        nn.GELU(),
        nn.Conv2d(channels, 1, 3, padding=1),
    )


def _as_map(keys: torch.Tensor, grid: torch.Size) -> torch.Tensor:
    return keys.transpose(1, 2).unflatten(2, tuple(grid))


def _dot(vector: torch.Tensor, feature: torch.Tensor) -> torch.Tensor:
    return torch.einsum("pc,pchw->phw", vector, feature)[:, None]
