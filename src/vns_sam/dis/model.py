"""DIS-SAM: a promptable model finds the object, IS-Net draws it to the pixel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
import torch
from torch import nn

from vns_sam.dis.channels import as_tensor
from vns_sam.dis.config import DisSamConfig
from vns_sam.dis.isnet import IsNet
from vns_sam.dis.mattes import to_picture
from vns_sam.dis.refining import Refining, isnet_input, joined_digest, refined_info
from vns_sam.errors import CheckpointError, UsageError
from vns_sam.images.windows import Window
from vns_sam.sam import registry
from vns_sam.sam.checkpoints import load_weights, read_checkpoint, write_checkpoint
from vns_sam.sam.promptable import PromptableNetwork
from vns_sam.sam.registry import portable
from vns_sam.types import DecoderOutput, ImageFeatures, ModelInfo, PromptableModel, PromptBatch


class DisSamModel(Refining, PromptableNetwork):
    """Any promptable model, and an IS-Net that refines its masks; itself a promptable model.

    The first stage encodes a picture once. For each prompt its mask and its box join the picture as channels four and
    five, and IS-Net answers with an alpha map at the picture's size.

    Args:
        config: What defines the second stage.
        first: The first stage.
        network: IS-Net; a fresh one by default.

    Attributes:
        name: What users call the model.
        is_named: Whether ``config.base`` is where the first stage is found again, not only what it is called.
    """

    is_named = True

    def __init__(self, config: DisSamConfig, first: PromptableModel, network: IsNet | None = None) -> None:
        super().__init__()
        self.config = config
        self.name = config.name
        self.first = first
        if isinstance(first, PromptableNetwork):
            self.preprocessing = first.preprocessing
        self.network = network or IsNet(5, config.width, residual=config.residual)

    def with_first(self, first: PromptableModel, base: str | None = None) -> DisSamModel:
        """The same refinement, weights shared, after another first stage.

        Args:
            first: The first stage.
            base: As what ``load_model`` finds it, which a saved model names. Without it the model can be saved only
                where a model of the first stage's own name has its weights.
        """
        model = DisSamModel(replace(self.config, base=base or first.info.name), first, self.network)
        model.is_named = base is not None
        model.name = f"{first.info.name}+{self.name}"
        return model.train(self.training)

    @property
    def device(self) -> torch.device:
        """Where IS-Net's weights are."""
        return next(self.network.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """What IS-Net's weights are in."""
        return next(self.network.parameters()).dtype

    def train(self, mode: bool = True) -> Self:
        """Switches the mode of IS-Net; the first stage stays in eval mode."""
        super().train(mode)
        if isinstance(self.first, nn.Module):
            self.first.eval()
        return self

    def encode_pixels(self, pixels: torch.Tensor) -> ImageFeatures:
        """The first stage's; the second needs the pictures, see :meth:`encode`."""
        return self._first_network().encode_pixels(pixels)

    def decode_batch(self, features: ImageFeatures, batch: PromptBatch, *, candidates: bool = False) -> DecoderOutput:
        """The first stage's; the second needs the pictures, see :meth:`decode`."""
        return self._first_network().decode_batch(features, batch, candidates=candidates)

    def _first_network(self) -> PromptableNetwork:
        if not isinstance(self.first, PromptableNetwork):
            raise UsageError(f"the first stage '{self.first.info.name}' is no network that takes tensors")
        return self.first

    def describe(self, digest: Callable[[], str], **more: Any) -> ModelInfo:
        """See :func:`refined_info`; IS-Net's digest has the first stage's weights only where that is a network."""
        first = self.first.info
        both = digest if isinstance(self.first, nn.Module) else lambda: joined_digest(first, digest())
        return refined_info(self.config, self.name, both, first)

    @torch.inference_mode()
    def look(self, image: np.ndarray, mask: np.ndarray, box: np.ndarray, window: Window) -> np.ndarray:
        """IS-Net's answer (h, w) for one window."""
        parts = cast(tuple[torch.Tensor, ...], isnet_input(self.config, image, mask, box, window, as_tensor))
        channels = torch.cat(parts)[None].to(self.device, self.dtype)
        return to_picture(self.network.mask_logits(channels).float().sigmoid(), *window.shape)

    def save_pretrained(self, folder: str | Path, *, dtype: torch.dtype = torch.float32) -> None:
        """Writes ``config.json`` and ``model.safetensors`` with IS-Net; the first stage is named, not copied.

        Raises:
            UsageError: See :meth:`saved_config`.
        """
        write_checkpoint(folder, self.saved_config(), self.network.state_dict(), dtype)

    def saved_config(self) -> dict[str, Any]:
        """See :meth:`PromptableNetwork.saved_config`.

        Raises:
            UsageError: The first stage was given as an object, and its name stands for no model with its weights.
        """
        base = self.config.base
        if not self.is_named and not self._is_first(base):
            raise UsageError(
                f"expected a first stage that can be named, found an object called '{base}', a name under which there "
                "are not its weights",
                hint='save it, and load both: load_network("FOLDER+REFINER")',
            )
        return {**self.config.to_dict(), "base": portable(base)}

    def _is_first(self, name: str) -> bool:
        """Whether a name stands for the first stage, weights and all."""
        if not isinstance(self.first, PromptableNetwork) or not registry.is_at_hand(name):
            return False
        try:
            return registry.load(name).info.digest == self.first.info.digest
        except CheckpointError:  # a folder of that name holds no model
            return False

    @classmethod
    def from_pretrained(cls, folder: str | Path, first: PromptableModel | None = None) -> Self:
        """Reads a folder of :meth:`save_pretrained`; weights become float32.

        Args:
            folder: The folder, or a hub id.
            first: The first stage; found by the name in the config when omitted.

        Raises:
            CheckpointError: The folder is missing or damaged, or its first stage is not at hand, takes no prompt or
                is refined itself.
        """
        config, state = read_checkpoint(folder, DisSamConfig)
        if first is None:
            first = _first_stage(config.base, folder)
        network = IsNet(5, config.width, residual=config.residual)
        load_weights(network, state, folder)
        return cls(config, first, network).eval()


def _first_stage(name: str, folder: str | Path) -> PromptableNetwork:
    """The model that a DIS-SAM's folder names as its first stage."""
    first = registry.load(name, beside=folder)
    if first.info.alpha:
        raise CheckpointError(f"the first stage of {folder}, '{name}', is a DIS-SAM itself", hint="name what is below")
    if not first.info.prompts:
        raise CheckpointError(f"the first stage of {folder}, '{name}', takes no prompt", hint="name a model that does")
    return first
