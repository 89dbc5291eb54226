"""VNS-SAM: a frozen SAM whose features are mined and whose decoder has a mask and an edge token more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch

from vns_sam.sam.frozen import FrozenSamNetwork
from vns_sam.sam.model import SamModel, build_adapter
from vns_sam.types import DecoderOutput, ImageFeatures, ModelInfo, PromptBatch
from vns_sam.vns.config import VnsSamConfig, check_backbone
from vns_sam.vns.decoder import VnsDecoderOutput, VnsMaskDecoder

CHUNK_BYTES = {"cpu": 2**25}
"""Memory for the prompts that are decoded at once, what a CPU's caches do not wholly lose, and 1 GiB elsewhere."""


class VnsSamModel(FrozenSamNetwork):
    """A SAM, taken over and frozen, with VNS-SAM's decoder.

    The SAM is not copied: it must not be used beside this model as a plain one, whose coarse masks may enter it
    another way. With ``config.adapter`` its encoder runs with an adapter, which starts as a no-op and is trained with
    the decoder.

    Args:
        sam: The SAM. Its mask decoder becomes the frozen part of ``decoder``.
        decoder: The decoder; its own copy of SAM's decoder is replaced by SAM's.

    Raises:
        CheckpointError: The decoder was made for another backbone.
    """

    config_class = VnsSamConfig
    decoder_class = VnsMaskDecoder
    config: VnsSamConfig
    decoder: VnsMaskDecoder

    def __init__(self, sam: SamModel, decoder: VnsMaskDecoder) -> None:
        super().__init__()
        check_backbone(decoder.config.level_channels, sam.config.level_channels, decoder.config.name)
        self.config = decoder.config
        self.name = decoder.config.name
        self.take_over(sam, decoder, self.config.mask_prompt)
        self.decoder = decoder
        self.adapter = build_adapter(sam.config) if self.config.adapter else None

    def mine(self, features: ImageFeatures) -> ImageFeatures:
        """The same features with NSFM's of their levels."""
        return replace(features, mined=self.decoder.mine(features.levels))

    def decode_levels(self, features: ImageFeatures, batch: PromptBatch) -> VnsDecoderOutput:
        """All of the decoder's maps for P prompts; differentiable in what is trained."""
        sparse, dense = self.sam.embed_prompts(features, batch)
        pe, index, finer = self._image_pe(features), batch.image_index, features.finer
        return self.decoder(features.embedding, pe, sparse, dense, features.levels, index, features.mined, finer)

    def decode_embedded(
        self,
        features: ImageFeatures,
        sparse: torch.Tensor,
        dense: torch.Tensor,
        image_index: torch.Tensor,
        *,
        candidates: bool = False,
    ) -> DecoderOutput:
        """The final mask and edge and the predicted IoU; to choose from there are SAM's three masks besides."""
        return self.decoder.decode_final(
            features.embedding,
            self._image_pe(features),
            sparse,
            dense,
            image_index,
            features.mined,
            finer=features.finer,
            candidates=candidates,
        )

    def describe(self, digest: Callable[[], str], **more: Any) -> ModelInfo:
        """Its own mask and SAM's three to choose from, and edges where it has an edge token."""
        masks = 1 + self.config.mask_decoder.num_multimask_outputs
        return super().describe(digest, candidates=masks, edges=self.decoder.edge_mlp is not None, **more)

    @property
    def at_once(self) -> int:
        """Prompts decoded at once, fewer where the fusion is wide."""
        limit = CHUNK_BYTES.get(self.device.type, 2**30) // self._bytes_of_one_prompt()
        return max(1, self.chunk or min(super().at_once, limit))

    def _bytes_of_one_prompt(self) -> int:
        """Four activations of the fusion, the widest maps of the decoder, in float32."""
        return 4 * self.config.head_channels * (4 * self.grid) ** 2 * 4

    def _image_pe(self, features: ImageFeatures) -> torch.Tensor:
        """SAM's positional encoding of the grid."""
        return self.sam.image_pe((features.embedding.shape[-2], features.embedding.shape[-1]))


GROUPS = {
    "VNS tokens": ("tokens", "mask_mlp", "edge_mlp", "token_fusion"),
    "DPE": ("level1_attention", "level1_norm", "dense_head", "fusion", "edge_dense_head", "edge_fusion"),
    "NSFM": ("nsfm", "mask_embedding", "edge_embedding"),
}
"""The paper's names (Table VI) for what is trained."""


@dataclass(frozen=True)
class ParameterRow:
    """Size of one part: parameters, and MiB as float32. The paper's "M" are MiB."""

    part: str
    parameters: int

    @property
    def mib(self) -> float:
        """Size in MiB as float32."""
        return self.parameters * 4 / 2**20


def parameter_report(decoder: VnsMaskDecoder) -> Iterator[ParameterRow]:
    """Sizes of the decoder's parts: each group of Table VI, all that is trained, and SAM's frozen decoder."""
    trained = [(name, p.numel()) for name, p in decoder.named_parameters() if not name.startswith("sam.")]
    total = 0
    for part, names in GROUPS.items():
        size = sum(count for name, count in trained if name.split(".")[0] in names)
        total += size
        yield ParameterRow(part, size)
    yield ParameterRow("trained", total)
    yield ParameterRow("frozen SAM decoder", sum(p.numel() for p in decoder.sam.parameters()))
