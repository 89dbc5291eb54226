"""METI, VNS-SAM's mask decoder: SAM's decoder, frozen, with two more tokens, read at two levels into masks and edges.

VNS-SAM, section III-B. Shapes: I images, P prompts, N prompt tokens, T tokens in all, d SAM's width (256),
g x g' grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from vns_sam.sam.attention import Attention
from vns_sam.sam.frozen import AroundSamDecoder
from vns_sam.sam.mask_decoder import FeedForward, SamMaskDecoder, Upscaled, as_maps, as_rows, rows_of
from vns_sam.types import DecoderOutput
from vns_sam.vns import heads
from vns_sam.vns.config import VnsSamConfig
from vns_sam.vns.nsfm import Nsfm
from vns_sam.vns.scores import MaskScores

Mined = tuple[torch.Tensor, ...]
"""Mask feature (I, d / 8, 4g, 4g') and edge feature (I, d, g, g'); the second is missing without an edge token, both
without NSFM.
"""


@dataclass(frozen=True)
class VnsDecoderOutput:
    """All maps of P prompts, each (P, 1, 4g, 4g') logits unless said otherwise.

    Attributes:
        mask_logits: The final mask, after the fusion.
        edge_logits: The final edge, level 2. No edge is predicted without an edge token: None at both levels.
        level2_mask_logits: The mask of level 2 before the fusion.
        level1_mask_logits, level1_edge_logits: Mask and edge of level 1; None where it makes no predictions.
        sam_masks: (P, 4, 4g, 4g') SAM's own masks. The new tokens take part in its attention, so these are
            not the masks of a plain SAM.
        iou_scores: (P, 4) SAM's predicted IoU of ``sam_masks``.
        offered, scores: (P, 4, 4g, 4g') the masks to choose from, VNS-SAM's own and SAM's three, object where > 0, and
            their predicted IoU (P, 4).
    """

    mask_logits: torch.Tensor
    edge_logits: torch.Tensor | None
    level2_mask_logits: torch.Tensor
    level1_mask_logits: torch.Tensor | None
    level1_edge_logits: torch.Tensor | None
    sam_masks: torch.Tensor
    iou_scores: torch.Tensor
    offered: torch.Tensor
    scores: torch.Tensor

    @property
    def sam_mask_logits(self) -> torch.Tensor:
        """SAM's single-mask output, mask 0."""
        return self.sam_masks[:, :1]


class _Level(NamedTuple):
    """Tokens (P, T, d) and image (P, g * g', d) after a layer."""

    tokens: torch.Tensor
    keys: torch.Tensor


class VnsMaskDecoder(AroundSamDecoder):
    """SAM's decoder and VNS-SAM's trainable modules around it. Built with random weights; SAM's part is frozen.

    A module that the configuration's switches leave out is None.

    Attributes:
        sam: SAM's decoder; no gradients, always in eval mode.
        tokens: The two VNS tokens, or the mask token alone.
        mask_mlp, edge_mlp: From a token to a vector that is multiplied with a map (MPL and EPL, section III-B).
        token_fusion: Fuses the tokens, None where they are only added.
        level1_attention, level1_norm: Attention of the level-1 tokens to the image, None where they are read
            straight from the layer.
        nsfm: Mines the levels.
        mask_embedding, edge_embedding: Bring SAM's upscaled image and the edge feature to the mask channels.
        dense_head: The supplementary map.
        fusion: Final mask from the level's mask and the supplementary map.
        edge_dense_head, edge_fusion: The same two for the edge.
        mask_scores: Judges the masks that are offered, None where SAM does.
    """

    def __init__(self, config: VnsSamConfig) -> None:
        super().__init__()
        self.config = config
        self.switches = switches = config.method
        sam, masks = config.mask_decoder, config.mask_channels
        hidden, edges = sam.hidden_size, switches.edge_token
        attention = switches.dual_level and switches.level1_attention
        embedded = switches.nsfm and (switches.dual_level or switches.level2_maskfeature == "full")
        edge_mpl = edges and switches.edge_layer == "mpl"

        self.sam = SamMaskDecoder(sam).requires_grad_(False)
        last = self.sam.iou_index + 1 + sam.num_multimask_outputs
        self.mask_index = last + (switches.token_readout == "paper")
        self.edge_index = self.mask_index + 1
        self.tokens = nn.Embedding(2 if edges else 1, hidden)
        self.mask_mlp = FeedForward(hidden, hidden, masks, layers=2 if switches.token_fusion == "none" else 3)
        self.edge_mlp = FeedForward(hidden, hidden, masks) if edges else None
        self.token_fusion = heads.build_token_fusion(switches, sam)
        self.level1_attention = Attention(sam, sam.attention_downsample_rate, "key") if attention else None
        self.level1_norm = nn.LayerNorm(hidden, sam.layer_norm_eps) if attention else None
        self.nsfm = (
            Nsfm(
                config.level_channels,
                config.inner_channels,
                hidden,
                switches.wavelets,
                edges,
                switches.band_attention,
            )
            if switches.nsfm
            else None
        )
        self.mask_embedding = heads.mask_embedding(masks) if embedded else None
        self.edge_embedding = heads.edge_embedding(hidden, masks) if switches.nsfm and edges else None
        sizes = (hidden, config.head_channels, switches.fusion_convs)
        self.dense_head, self.fusion = heads.supplementary_layers(*sizes, wanted=switches.mask_layer == "mpl")
        self.edge_dense_head, self.edge_fusion = heads.supplementary_layers(*sizes, wanted=edge_mpl)
        self.mask_scores = MaskScores(hidden, sam.num_multimask_outputs + 1) if config.own_scores else None

    def mine(self, levels: Sequence[torch.Tensor]) -> Mined:
        """Runs NSFM once for each image: levels 4 x (I, g, g', C_k), shallow to deep.

        Raises:
            DataError: The levels have other channels, or an odd side.
        """
        return () if self.nsfm is None else self.nsfm(levels)

    def forward(
        self,
        image_embeddings: torch.Tensor,
        image_pe: torch.Tensor,
        sparse: torch.Tensor,
        dense: torch.Tensor,
        levels: Sequence[torch.Tensor],
        image_index: torch.Tensor,
        mined: Mined | None = None,
        finer: Sequence[torch.Tensor] = (),
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
            finer: The encoder's finer maps of a SAM 2, each with I rows; they are added wherever SAM's own image is
                upscaled, at both levels.

        Raises:
            DataError: The levels have other channels, or an odd side.
        """
        finer = [rows_of(level, image_index) for level in finer]
        mined = self.mine(levels) if mined is None else mined
        first, second = self._attend(image_embeddings, image_pe, sparse, dense, image_index)
        grid = (dense.shape[2], dense.shape[3])
        image = as_maps(second.keys, grid)
        upscaled = self.sam.upscale(second.keys, grid, finer)
        level2_mask, mask, edge = self._read_level2(second.tokens, image, upscaled, mined, image_index)
        level1_mask = level1_edge = None
        if self.switches.dual_level:
            tokens = self._level1_tokens(first, image_pe, sparse)
            level1_mask, level1_edge = self._read_level1(tokens, first.keys, upscaled, mined, image_index, finer)
        sam_masks, iou = self.sam.read_masks(second.tokens, upscaled), self.sam.read_scores(second.tokens)
        offered, scores = self._offer(second.tokens, mask, sam_masks, iou)
        return VnsDecoderOutput(
            mask_logits=mask,
            edge_logits=edge,
            level2_mask_logits=level2_mask,
            level1_mask_logits=level1_mask,
            level1_edge_logits=level1_edge,
            sam_masks=sam_masks,
            iou_scores=iou,
            offered=offered,
            scores=scores,
        )

    def decode_final(
        self,
        image_embeddings: torch.Tensor,
        image_pe: torch.Tensor,
        sparse: torch.Tensor,
        dense: torch.Tensor,
        image_index: torch.Tensor,
        mined: Mined,
        *,
        finer: Sequence[torch.Tensor] = (),
        candidates: bool = False,
    ) -> DecoderOutput:
        """The final mask and edge of :meth:`forward` and the score of SAM's mask 0: what inference needs.

        With ``sum_with_sam`` the mask is the sum of the fused logits and SAM's own; ``mask_threshold`` is taken off.
        With ``own_scores`` the score is that of the mask itself.
        """
        _, second = self._attend(image_embeddings, image_pe, sparse, dense, image_index)
        grid = (dense.shape[2], dense.shape[3])
        image = as_maps(second.keys, grid)
        upscaled = self.sam.upscale(second.keys, grid, [rows_of(level, image_index) for level in finer])
        _, mask, edge = self._read_level2(second.tokens, image, upscaled, mined, image_index)
        scores = self.sam.read_scores(second.tokens)
        if not (candidates or self.config.sum_with_sam or self.mask_scores):
            return DecoderOutput(mask - self.config.mask_threshold, scores[:, 0], edge)
        offered, scores = self._offer(second.tokens, mask, self.sam.read_masks(second.tokens, upscaled), scores)
        return DecoderOutput(offered[:, :1], scores[:, 0], edge, *((offered, scores) if candidates else ()))

    def _offer(
        self, tokens: torch.Tensor, mask: torch.Tensor, sam_masks: torch.Tensor, iou: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The masks to choose from, (P, 4, 4g, 4g'), object where > 0, and their predicted IoU (P, 4)."""
        if self.config.sum_with_sam:
            mask = mask + sam_masks[:, :1]
        offered = torch.cat([mask - self.config.mask_threshold, sam_masks[:, 1:]], dim=1)
        if self.mask_scores is None:
            return offered, iou
        return offered, self.mask_scores(tokens[:, [self.sam.iou_index, self.mask_index]], iou, offered)

    def _own_tokens(self, sparse: torch.Tensor) -> torch.Tensor:
        """SAM's tokens (a SAM 2's object token, IoU, masks), VNS tokens, prompt tokens: (P, T, d)."""
        own = torch.cat([self.sam.own_tokens(), self.tokens.weight])
        return torch.cat([own.expand(sparse.shape[0], -1, -1), sparse], dim=1)

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
        keys = as_rows(rows_of(image_embeddings, image_index) + dense)
        pe = as_rows(image_pe)
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
        if self.token_fusion is None or self.switches.token_fusion != "feedback":
            return tokens
        mask, edge = self.mask_index, self.edge_index
        fused = self.token_fusion(tokens[:, mask], tokens[:, edge])
        return torch.cat([tokens[:, :mask], fused[:, None], tokens[:, mask + 1 :]], dim=1)

    def _level1_tokens(self, level: _Level, image_pe: torch.Tensor, sparse: torch.Tensor) -> torch.Tensor:
        if self.level1_attention is None or self.level1_norm is None:
            return level.tokens
        keys = level.keys + as_rows(image_pe)
        attended = self.level1_attention(level.tokens + self._own_tokens(sparse), keys, level.keys)
        return self.level1_norm(level.tokens + attended)

    def _read_level1(
        self,
        tokens: torch.Tensor,
        keys: torch.Tensor,
        upscaled2: Upscaled,
        mined: Mined,
        image_index: torch.Tensor,
        finer: Sequence[torch.Tensor],
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Mask and edge of level 1. Without NSFM they are read from level 2's upscaled image, as the authors did."""
        image, vector = as_maps(keys, upscaled2.grid), self._mask_vector(tokens)
        if self.mask_embedding is None:
            mask = upscaled2.read(vector[:, None])
        else:
            feature = self.mask_embedding(self.sam.upscale(keys, upscaled2.grid, finer).as_maps())
            mask = heads.dot(vector, feature + rows_of(mined[0], image_index))
        edge = self._read_edge(tokens, image, upscaled2, mined, image_index)
        if self.switches.level1_fusion:
            mask = heads.supplement(mask, image, self.dense_head, self.fusion)
            edge = None if edge is None else heads.supplement(edge, image, self.edge_dense_head, self.edge_fusion)
        return mask, edge

    def _read_level2(
        self,
        tokens: torch.Tensor,
        image: torch.Tensor,
        upscaled: Upscaled,
        mined: Mined,
        image_index: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Mask of level 2 before and after the fusion, and the edge."""
        vector = self._mask_vector(tokens)
        if not mined:
            mask = upscaled.read(vector[:, None])
        elif self.mask_embedding is not None and self.switches.level2_maskfeature == "full":
            mask = heads.dot(vector, self.mask_embedding(upscaled.as_maps()) + rows_of(mined[0], image_index))
        else:
            own = Upscaled(F.gelu(upscaled.cells), upscaled.grid).read(vector[:, None])
            mask = own + heads.dot(vector, rows_of(mined[0], image_index))
        fused = heads.supplement(mask, image, self.dense_head, self.fusion)
        edge = self._read_edge(tokens, image, upscaled, mined, image_index)
        edge = None if edge is None else heads.supplement(edge, image, self.edge_dense_head, self.edge_fusion)
        return mask, fused, edge

    def _mask_vector(self, tokens: torch.Tensor) -> torch.Tensor:
        """The mask token, fused with the edge token, through its MLP: (P, d / 8)."""
        mask, kind = tokens[:, self.mask_index], self.switches.token_fusion
        if self.edge_mlp is None or kind in ("none", "feedback"):
            return self.mask_mlp(mask)
        edge = tokens[:, self.edge_index]
        if self.token_fusion is None:
            return self.mask_mlp(mask + edge)
        if kind == "gate":
            return self.token_fusion(self.mask_mlp(mask), self.edge_mlp(edge))
        return self.mask_mlp(self.token_fusion(mask, edge))

    def _read_edge(
        self,
        tokens: torch.Tensor,
        image: torch.Tensor,
        upscaled2: Upscaled,
        mined: Mined,
        image_index: torch.Tensor,
    ) -> torch.Tensor | None:
        """EPL: the edge token's dot product with the upscaled edge feature, (P, 1, 4g, 4g')."""
        if self.edge_mlp is None:
            return None
        vector = self.edge_mlp(tokens[:, self.edge_index])
        if self.edge_embedding is None:
            return upscaled2.read(vector[:, None])
        if self.switches.edge_with_image_embedding:
            feature = self.edge_embedding(rows_of(mined[1], image_index) + image)
        else:
            feature = rows_of(self.edge_embedding(mined[1]), image_index)
        return heads.dot(vector, feature)
