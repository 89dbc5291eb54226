"""What SAM and the methods on it share: a SAM embeds the prompts, a decoder reads what comes of it."""

from __future__ import annotations

from abc import abstractmethod
from typing import Protocol

import torch

from vns_sam.sam.encoders.lite import PromptMixer
from vns_sam.sam.prompt_encoder import SamPromptEncoder
from vns_sam.sam.promptable import PromptableNetwork
from vns_sam.types import DecoderOutput, ImageFeatures, PromptBatch


class Embeds(Protocol):
    """What of a SAM embeds prompts.

    Attributes:
        prompt_encoder: Maps prompts to tokens and SAM's dense map.
        prompt_mixer: The tiny model's drawn prompts, None on others.
    """

    prompt_encoder: SamPromptEncoder
    prompt_mixer: PromptMixer | None

    def embed_prompts(self, features: ImageFeatures, batch: PromptBatch) -> tuple[torch.Tensor, torch.Tensor]:
        """Embeds P prompts of one kind: sparse (P, N, C) and dense (P, C, g, g'), or (1, C, g, g') for all."""


class SamBasedNetwork(PromptableNetwork):
    """A promptable network whose prompts are embedded by a SAM."""

    @property
    @abstractmethod
    def foundation(self) -> Embeds:
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
