"""What methods that stand on a frozen SAM share: the SAM is taken over, only the rest is trained and saved."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import torch
from torch import nn

from vns_sam.sam.based import SamBasedNetwork
from vns_sam.sam.checkpoints import load_weights, read_checkpoint, write_checkpoint
from vns_sam.sam.editions import check_edition, edition
from vns_sam.sam.encoders.adapter import EncoderAdapter
from vns_sam.sam.mask_decoder import SamMaskDecoder
from vns_sam.sam.model import SamModel
from vns_sam.sam.registry import portable
from vns_sam.types import ImageFeatures, ModelInfo


class AroundSamDecoder(nn.Module):
    """A decoder with SAM's inside.

    Attributes:
        sam: SAM's decoder; no gradients, always in eval mode.
    """

    sam: SamMaskDecoder

    def train(self, mode: bool = True) -> Self:
        """Switches what is trained between training and evaluation; what is frozen, SAM's part first, stays in
        evaluation.
        """
        super().train(mode)
        for part in self.children():
            if not any(parameter.requires_grad for parameter in part.parameters()):
                part.eval()
        return self

    def trainable_state_dict(self) -> dict[str, torch.Tensor]:
        """Everything but SAM's part: the trained weights and the running statistics of batch norms."""
        return {key: value for key, value in self.state_dict().items() if not key.startswith("sam.")}


class FrozenSamNetwork(SamBasedNetwork):
    """A network on a SAM that it takes over and freezes.

    Attributes:
        config_class, decoder_class: What it is made of; a configuration names the SAM as ``base``.
        config: Its configuration.
        sam: The SAM.
        decoder: Its own decoder around SAM's.
        adapter: What is trained of the encoder, or None.
    """

    config_class: ClassVar[Any]
    decoder_class: ClassVar[Any]
    config: Any
    sam: SamModel
    decoder: Any
    adapter: EncoderAdapter | None

    @classmethod
    def from_sam(cls, sam: SamModel, config: Any = None) -> Self:
        """Puts a fresh decoder, PyTorch's initial values, on a SAM; the config follows the SAM by default."""
        return cls(sam, cls.decoder_class(config or cls.config_class.for_sam(sam.config)))

    def take_over(
        self, sam: SamModel, decoder: AroundSamDecoder, mask_prompt: Literal["logits", "grey"] | None
    ) -> None:
        """Freezes a SAM, whose mask decoder becomes that part of ``decoder``; ``mask_prompt`` None keeps SAM's own."""
        self.preprocessing = sam.preprocessing
        self.adapter = None
        self.sam = sam.requires_grad_(False)
        decoder.sam = self.sam.mask_decoder
        if mask_prompt is not None:
            self.sam.prompt_encoder.mask_prompt = mask_prompt

    def encode_pixels(self, pixels: torch.Tensor) -> ImageFeatures:
        """Encodes normalised pixels (I, 3, S, S') and mines them; no gradient reaches SAM's weights."""
        return self.mine(self.encode_frozen(pixels))

    def encode_frozen(self, pixels: torch.Tensor) -> ImageFeatures:
        """What the frozen SAM makes of pixels, helped by the adapter where there is one."""
        return self.sam.encode_pixels(pixels, self.adapter)

    @abstractmethod
    def mine(self, features: ImageFeatures) -> ImageFeatures:
        """The same features with what the method derives from them once for each picture."""

    def describe(self, digest: Callable[[], str], **more: Any) -> ModelInfo:
        """Its scores are judged as those of the SAM below."""
        return super().describe(digest, **{**self.sam.config.trust, **more})

    @property
    def foundation(self) -> SamModel:
        """The frozen SAM."""
        return self.sam

    def train(self, mode: bool = True) -> Self:
        """Switches the mode of what is trained; the frozen SAM stays in eval mode."""
        super().train(mode)
        self.sam.eval()
        return self

    def trainable_parameters(self) -> list[nn.Parameter]:
        """What training changes: everything but SAM."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    def trainable_state_dict(self) -> dict[str, torch.Tensor]:
        """Every tensor that training changes, running statistics included, by this model's names: they begin with
        "decoder." or "adapter.".
        """
        adapter = {} if self.adapter is None else self.adapter.state_dict(prefix="adapter.")
        return {f"decoder.{key}": value for key, value in self.decoder.trainable_state_dict().items()} | adapter

    def save_pretrained(self, folder: str | Path, *, dtype: torch.dtype = torch.float32) -> None:
        """Writes ``config.json`` and ``model.safetensors`` with what is trained; SAM is named, not copied."""
        state = {key.removeprefix("decoder."): value for key, value in self.trainable_state_dict().items()}
        write_checkpoint(folder, self.saved_config(), state, dtype)

    def saved_config(self) -> dict[str, Any]:
        """See :meth:`PromptableNetwork.saved_config`; which weights the SAM's name stands for is written down."""
        config = super().saved_config()
        base, known = config["base"], config["base_edition"]
        return {**config, "base": portable(base), "base_edition": known or edition(base)}

    @classmethod
    def from_pretrained(cls, folder: str | Path, sam: SamModel | None = None) -> Self:
        """Reads a folder of :meth:`save_pretrained`; weights become float32.

        Args:
            folder: The folder, or a hub id.
            sam: The SAM it was trained on; found by the name in the config when omitted.

        Raises:
            CheckpointError: The folder is missing, damaged or made for another SAM, or that SAM is not at hand, or has
                other weights in this version.
        """
        config, state = read_checkpoint(folder, cls.config_class)
        if sam is None:
            from vns_sam.sam.zoo import load_sam

            check_edition(config.base, config.base_edition, folder)
            sam = load_sam(config.base, beside=folder)
        return cls.assemble(sam, config, state, folder)

    @classmethod
    def assemble(cls, sam: SamModel, config: Any, state: dict[str, torch.Tensor], origin: str | Path) -> Self:
        """Puts trained tensors, by the names in the files of :meth:`save_pretrained`, on a SAM.

        Raises:
            CheckpointError: A tensor is missing or of another shape; ``origin`` is what the error calls the weights.
        """
        adapter = {key.removeprefix("adapter."): value for key, value in state.items() if key.startswith("adapter.")}
        own = {key: value for key, value in state.items() if not key.startswith("adapter.")}
        frozen = {f"sam.{key}": value for key, value in sam.mask_decoder.state_dict().items()}
        decoder = cls.decoder_class(config)
        load_weights(decoder, {**own, **frozen}, origin)
        model = cls(sam, decoder)
        if model.adapter is not None:
            load_weights(model.adapter, adapter, origin)
        return model.eval()
