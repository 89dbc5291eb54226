"""What SAM and the methods on it share: a SAM embeds the prompts, a decoder reads what comes of it."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

import torch

from vns_sam.sam.promptable import PromptableNetwork
from vns_sam.types import DecoderOutput, ImageFeatures, PromptBatch

if TYPE_CHECKING:
    from vns_sam.sam.model import SamModel


class SamBasedNetwork(PromptableNetwork):
    """A promptable network whose prompts are embedded by a SAM."""

    @property
    @abstractmethod
    def foundation(self) -> SamModel:
        """The SAM that embeds the prompts."""

    @abstractmethod
    def decode_embedded(
        self,
        features: ImageFeatures,
        sparse: torch.Tensor,
        dense: torch.Tensor,
        image_index: torch.Tensor,
        *,
        candidates: bool = False,
    ) -> DecoderOutput:
        """Decodes P embedded prompts; differentiable.

        Args:
            features: Of I images.
            sparse: (P, N, C) embedded points and boxes; N may be 0.
            dense: (P, C, g, g') embedded mask prompts, or (1, C, g, g') for all.
            image_index: (P,) long, the image of each prompt.
            candidates: Whether all masks to choose from are wanted.
        """

    def decode_batch(self, features: ImageFeatures, batch: PromptBatch, *, candidates: bool = False) -> DecoderOutput:
        """Embeds one batch of prompts of one kind and decodes it, see :meth:`decode_embedded`."""
        sparse, dense = self.foundation.embed_prompts(features, batch)
        return self.decode_embedded(features, sparse, dense, batch.image_index, candidates=candidates)
