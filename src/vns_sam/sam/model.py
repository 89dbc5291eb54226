"""SAM, whichever encoder it stands on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Self

import torch
from torch import nn

from vns_sam.sam import narrow
from vns_sam.sam.based import SamBasedNetwork
from vns_sam.sam.checkpoints import load_weights, read_checkpoint, write_checkpoint
from vns_sam.sam.config import SamConfig
from vns_sam.sam.encoders.adapter import EncoderAdapter
from vns_sam.sam.encoders.lite import PromptMixer
from vns_sam.sam.mask_decoder import SamMaskDecoder, rows_of
from vns_sam.sam.preprocessing import Preprocessing
from vns_sam.sam.prompt_encoder import SamPromptEncoder
from vns_sam.sam.registry import ENCODERS, resolve
from vns_sam.types import DecoderOutput, ImageFeatures, ModelInfo, PromptBatch


class SamModel(SamBasedNetwork):
    """Image encoder, prompt encoder and mask decoder (Kirillov et al. 2023).

    Attributes:
        image_encoder: Maps pixels (I, 3, S, S) to the embedding (I, C, g, g) and four levels (I, g, g, C_k).
        prompt_encoder: Maps prompts to tokens and SAM's dense map.
        prompt_mixer: The tiny model's drawn prompts, None on a ViT.
        mask_decoder: SAM's two-way decoder.
    """

    def __init__(self, config: SamConfig) -> None:
        super().__init__()
        self.config = config
        self.name = config.name
        self.preprocessing = Preprocessing(config.image_size, config.mean, config.std, config.stride, config.fit)
        hidden = config.mask_decoder.hidden_size
        encoder: nn.Module = _encoder_class(config).for_sam(config.backbone, hidden, config.image_size)
        self.image_encoder = encoder
        self.prompt_encoder = SamPromptEncoder(
            hidden, config.mask_prompt, stride=config.stride, closed=config.closed_prompts
        )
        self.prompt_mixer = PromptMixer(hidden, config.mixer_blocks) if config.mixer_blocks else None
        self.mask_decoder = SamMaskDecoder(config.mask_decoder)

    @property
    def foundation(self) -> SamModel:
        """Itself."""
        return self

    def encode_pixels(self, pixels: torch.Tensor, adapter: EncoderAdapter | None = None) -> ImageFeatures:
        """Encodes normalised pixels (I, 3, S, S), helped by an adapter that :func:`build_adapter` made."""
        helpers = () if adapter is None else (adapter,)
        embedding, levels, *finer = narrow.call(self.image_encoder, pixels, *helpers)
        return ImageFeatures(embedding, levels, (), finer=tuple(finer))

    def image_pe(self, grid: tuple[int, int]) -> torch.Tensor:
        """Positional encoding of the grid, (1, C, g, g')."""
        return self.prompt_encoder.shared_embedding.grid(*grid)

    def embed_prompts(self, features: ImageFeatures, batch: PromptBatch) -> tuple[torch.Tensor, torch.Tensor]:
        """Embeds P prompts of one kind: sparse (P, N, C) and dense (P, C, g, g'), or (1, C, g, g') for all."""
        height, width = features.embedding.shape[-2:]
        sparse, dense = self.prompt_encoder(batch, (height, width))
        if self.prompt_mixer is not None:
            dense = dense + self.prompt_mixer(rows_of(features.embedding, batch.image_index), batch)
        return sparse, dense

    def decode_all(self, features: ImageFeatures, batch: PromptBatch) -> tuple[torch.Tensor, torch.Tensor]:
        """All four masks (P, 4, 4g, 4g) and predicted IoU (P, 4); the first is the single-mask output."""
        return self._decode(features, *self.embed_prompts(features, batch), batch.image_index)

    def _decode(
        self, features: ImageFeatures, sparse: torch.Tensor, dense: torch.Tensor, image_index: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        pe = self.image_pe((features.embedding.shape[-2], features.embedding.shape[-1]))
        embeddings, *finer = (rows_of(level, image_index) for level in (features.embedding, *features.finer))
        return self.mask_decoder(embeddings, pe, sparse, dense, finer)

    def decode_embedded(
        self,
        features: ImageFeatures,
        sparse: torch.Tensor,
        dense: torch.Tensor,
        image_index: torch.Tensor,
        *,
        candidates: bool = False,
    ) -> DecoderOutput:
        """SAM's single-mask output, and the three masks of its multi-mask output to choose from."""
        masks, scores = self._decode(features, sparse, dense, image_index)
        single = self.mask_decoder.choose(masks, scores)
        if not candidates:
            return DecoderOutput(*single)
        return DecoderOutput(*single, None, masks[:, 1:], scores[:, 1:])

    def describe(self, digest: Callable[[], str], **more: Any) -> ModelInfo:
        """A SAM offers three masks for each prompt."""
        offered = self.config.mask_decoder.num_multimask_outputs
        return super().describe(digest, **{"candidates": offered, **self.config.trust, **more})

    def save_pretrained(self, folder: str | Path, *, dtype: torch.dtype = torch.float32) -> None:
        """Writes ``config.json`` and ``model.safetensors``."""
        write_checkpoint(folder, self.config.to_dict(), self.state_dict(), dtype)

    def with_config(self, config: SamConfig) -> SamModel:
        """The same weights, which are shared, under a configuration that has the same tensors; itself where that is its
        own.

        Raises:
            CheckpointError: The tensors are others.
        """
        if config == self.config:
            return self
        with torch.device("meta"):
            other = SamModel(config)
        load_weights(other, self.state_dict(), self.name)
        return other.eval()

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """Reads a folder of :meth:`save_pretrained`, or what a hub id names; weights become float32.

        Raises:
            CheckpointError: The folder or its files are missing, damaged or of another architecture.
        """
        config, state = read_checkpoint(folder, SamConfig)
        # The meta device saves a ViT's random initialisation but costs a second of imports: not for a small model.
        with nullcontext() if config.small else torch.device("meta"):
            model = cls(config)
        load_weights(model, state, folder)
        return model.eval()


def _encoder_class(config: SamConfig) -> Any:
    return resolve(ENCODERS[config.backbone.kind])


def build_adapter(config: SamConfig) -> EncoderAdapter:
    """A fresh adapter for the encoder of a SAM."""
    adapter: EncoderAdapter = _encoder_class(config).adapter_for(config.backbone)
    return adapter
