"""HQ-SAM: a frozen SAM whose decoder has one token more, which reads early and late features together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import torch

from vns_sam.errors import CheckpointError
from vns_sam.hq.config import HqSamConfig, early_channels
from vns_sam.hq.decoder import HqDecoderOutput, HqMaskDecoder
from vns_sam.sam.encoders.tiny_vit import TinyVitEncoder
from vns_sam.sam.frozen import FrozenSamNetwork
from vns_sam.sam.model import SamModel
from vns_sam.types import DecoderOutput, ImageFeatures, ModelInfo, PromptBatch


class HqSamModel(FrozenSamNetwork):
    """A SAM, taken over and frozen, with HQ-SAM's decoder.

    The SAM is not copied: it must not be used beside this model as a plain one, whose coarse masks may enter it
    another way.

    Args:
        sam: The SAM. Its mask decoder becomes the frozen part of ``decoder``.
        decoder: The decoder; its own copy of SAM's decoder is replaced by SAM's.

    Raises:
        CheckpointError: The decoder was made for another backbone.
    """

    config_class = HqSamConfig
    decoder_class = HqMaskDecoder
    config: HqSamConfig
    decoder: HqMaskDecoder

    def __init__(self, sam: SamModel, decoder: HqMaskDecoder) -> None:
        super().__init__()
        self.config = decoder.config
        made_for, found = self.config.early_channels, early_channels(sam.config, self.config.early)
        if made_for != found:
            raise CheckpointError(
                f"{self.config.name} was made for an encoder with {made_for} channels, {sam.name} has {found}",
                hint="load them on the SAM they were trained on",
            )
        self.name = self.config.name
        self.take_over(sam, decoder, self.config.mask_prompt)
        self.decoder = decoder

    def mine(self, features: ImageFeatures) -> ImageFeatures:
        """The same features with early and last map fused."""
        early = features.levels[0]
        if self.config.early == "entry":
            with torch.no_grad():
                early = cast(TinyVitEncoder, self.sam.image_encoder).third_entry(features.levels)
        return replace(features, mined=self.decoder.fuse(features.embedding, early))

    def decode_maps(self, features: ImageFeatures, batch: PromptBatch) -> HqDecoderOutput:
        """The HQ token's mask and SAM's own for P prompts; differentiable in the decoder."""
        with torch.no_grad():
            sparse, dense = self.sam.embed_prompts(features, batch)
        return self._decode(features, sparse, dense, batch.image_index)

    def _decode(
        self, features: ImageFeatures, sparse: torch.Tensor, dense: torch.Tensor, image_index: torch.Tensor
    ) -> HqDecoderOutput:
        pe = self.sam.image_pe((dense.shape[-2], dense.shape[-1]))
        return self.decoder(features.embedding, pe, sparse, dense, image_index, features.mined, features.finer)

    def decode_embedded(
        self,
        features: ImageFeatures,
        sparse: torch.Tensor,
        dense: torch.Tensor,
        image_index: torch.Tensor,
        *,
        candidates: bool = False,
    ) -> DecoderOutput:
        """The HQ mask, plus SAM's single mask unless the config says otherwise, and SAM's predicted IoU of it; to
        choose from there are SAM's three masks besides.
        """
        maps = self._decode(features, sparse, dense, image_index)
        single, score = self.sam.mask_decoder.choose(maps.sam_masks, maps.iou_scores)
        mask = maps.hq_mask_logits if self.config.hq_token_only else maps.hq_mask_logits + single
        if not candidates:
            return DecoderOutput(mask, score)
        masks = torch.cat([mask, maps.sam_masks[:, 1:]], 1)
        return DecoderOutput(mask, score, None, masks, torch.cat([score[:, None], maps.iou_scores[:, 1:]], 1))

    def describe(self, digest: Callable[[], str], **more: Any) -> ModelInfo:
        """Its own mask and SAM's three to choose from."""
        return super().describe(digest, candidates=1 + self.config.mask_decoder.num_multimask_outputs, **more)
