"""HQ-SAM: a frozen SAM whose decoder has one token more, which reads early and late features together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Self

import torch

from vns_sam.errors import CheckpointError
from vns_sam.hq.config import MODEL_TYPE, HqSamConfig
from vns_sam.hq.decoder import HqDecoderOutput, HqMaskDecoder
from vns_sam.sam.checkpoints import load_weights, read_checkpoint, write_checkpoint
from vns_sam.sam.frozen import FrozenSamNetwork
from vns_sam.sam.model import SamModel
from vns_sam.types import DecoderOutput, ImageFeatures, PromptBatch


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

    chunk = 16

    def __init__(self, sam: SamModel, decoder: HqMaskDecoder) -> None:
        super().__init__()
        self.config = decoder.config
        made_for, found = self.config.early_channels, sam.config.level_channels[0]
        if made_for != found:
            raise CheckpointError(
                f"{self.config.name} was made for an encoder with {made_for} channels, {sam.name} has {found}",
                hint="load them on the SAM they were trained on",
            )
        self.name = self.config.name
        self.take_over(sam, decoder, self.config.mask_prompt)
        self.decoder = decoder

    @classmethod
    def from_sam(cls, sam: SamModel, config: HqSamConfig | None = None) -> Self:
        """Puts a fresh decoder, PyTorch's initial values, on a SAM; the config follows the SAM by default."""
        return cls(sam, HqMaskDecoder(config or HqSamConfig.for_sam(sam.config)))

    def encode_pixels(self, pixels: torch.Tensor) -> ImageFeatures:
        """Encodes normalised pixels (I, 3, S, S) and fuses first and last map; SAM's encoder gets no gradient."""
        with torch.no_grad():
            features = self.sam.encode_pixels(pixels)
        return replace(features, mined=(self.decoder.fuse(features.embedding, features.levels[0]),))

    def decode_maps(self, features: ImageFeatures, batch: PromptBatch) -> HqDecoderOutput:
        """The HQ token's mask and SAM's own for P prompts; differentiable in the decoder."""
        with torch.no_grad():
            sparse, dense = self.sam.embed_prompts(features, batch)
            pe = self.sam.image_pe((dense.shape[-2], dense.shape[-1]))
        return self.decoder(features.embedding, pe, sparse, dense, batch.image_index, features.mined[0])

    def decode_batch(self, features: ImageFeatures, batch: PromptBatch) -> DecoderOutput:
        """The HQ mask, plus SAM's single mask unless the config says otherwise, and SAM's predicted IoU of it."""
        maps = self.decode_maps(features, batch)
        mask = maps.hq_mask_logits
        if not self.config.hq_token_only:
            mask = mask + maps.sam_masks[:, :1]
        return DecoderOutput(mask, maps.iou_scores[:, 0])

    def trainable_state_dict(self) -> dict[str, torch.Tensor]:
        """Every tensor that training changes, by this model's names: they begin with "decoder."."""
        return {f"decoder.{key}": value for key, value in self.decoder.trainable_state_dict().items()}

    def save_pretrained(self, folder: str | Path, *, dtype: torch.dtype = torch.float32) -> None:
        """Writes ``config.json`` and ``model.safetensors`` with what is trained; SAM is named, not copied."""
        write_checkpoint(folder, self.config.to_dict(), self.decoder.trainable_state_dict(), dtype)

    @classmethod
    def from_pretrained(cls, folder: str | Path, sam: SamModel | None = None) -> Self:
        """Reads a folder of :meth:`save_pretrained`; weights become float32.

        Args:
            folder: The folder.
            sam: The SAM it was trained on; found by the name in the config when omitted.

        Raises:
            CheckpointError: The folder is missing, damaged or made for another SAM, or that SAM is not at hand.
        """
        values, state = read_checkpoint(folder, MODEL_TYPE)
        config = HqSamConfig.from_dict(values)
        if sam is None:
            from vns_sam.sam.zoo import load_sam

            sam = load_sam(config.base)
        return cls.assemble(sam, config, state, folder)

    @classmethod
    def assemble(cls, sam: SamModel, config: HqSamConfig, state: dict[str, torch.Tensor], origin: str | Path) -> Self:
        """Puts trained tensors, by the names of :meth:`HqMaskDecoder.trainable_state_dict`, on a SAM.

        Raises:
            CheckpointError: A tensor is missing or of another shape; ``origin`` is what the error calls the weights.
        """
        decoder = HqMaskDecoder(config)
        frozen = {f"sam.{key}": value for key, value in sam.mask_decoder.state_dict().items()}
        load_weights(decoder, {**state, **frozen}, origin)
        return cls(sam, decoder).eval()
