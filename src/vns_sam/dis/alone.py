"""IS-Net by itself, as its authors published it: no first stage and no prompt, whatever stands out in the picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from vns_sam.dis.channels import colour_channels
from vns_sam.dis.config import IsNetConfig
from vns_sam.dis.isnet import FEATURE_CHANNELS, IsNet
from vns_sam.dis.mattes import Matte, MatteAnswers, stretch, threshold, to_picture
from vns_sam.dis.official import holds_isnet, input_channels, load_isnet
from vns_sam.sam import registry
from vns_sam.sam.checkpoints import load_weights, read_checkpoint, write_checkpoint
from vns_sam.sam.preprocessing import Preprocessing
from vns_sam.sam.promptable import PromptableNetwork
from vns_sam.sam.unprompted import asked_pictures, expected_iou
from vns_sam.types import DecoderOutput, Geometry, ImageFeatures, ModelInfo, PromptBatch, Prompts

COLOURS = 3
"""Channels of its input; DIS-SAM's has two more."""


class IsNetModel(PromptableNetwork):
    """IS-Net as a model that takes no prompt. Pictures are squashed to its square, as its authors do.

    Args:
        config: What defines it.
        network: IS-Net with three channels in; a fresh one by default.

    Attributes:
        name: What users call the model.
        preprocessing: Side of the square input and how pixels are normalised.
    """

    def __init__(self, config: IsNetConfig, network: IsNet | None = None) -> None:
        super().__init__()
        self.config = config
        self.name = config.name
        self.preprocessing = Preprocessing(config.image_size, (127.5,) * 3, (255.0,) * 3, fit="stretch")
        self.network = network or IsNet(COLOURS, config.width)

    def encode_pixels(self, pixels: torch.Tensor) -> ImageFeatures:
        """Segments colours (I, 3, S, S) in [-0.5, 0.5]; the embedding is the answer's logits (I, 1, S, S)."""
        return ImageFeatures(self.network.mask_logits(pixels).float(), (), ())

    @torch.inference_mode()
    def encode(self, images: Sequence[np.ndarray]) -> ImageFeatures:
        """Segments I pictures, each (H, W, 3) uint8 RGB of any size."""
        side = self.config.image_size
        geometry = tuple(self.preprocessing.place(*image.shape[:2]) for image in images)
        seen = [torch.as_tensor(colour_channels(image, side, antialias=self.config.antialias)) for image in images]
        features = self.encode_pixels(torch.stack(seen).to(self.device, self.dtype))
        return replace(features, geometry=geometry, owner=self.info)

    @torch.inference_mode()
    def decode(
        self,
        features: ImageFeatures,
        prompts: Sequence[Prompts] = (),
        image_index: Sequence[int] = (),
        *,
        candidates: bool = False,
        look_again: bool = False,
    ) -> MatteAnswers:
        """The answers to the pictures of ``image_index``, or to all of them.

        Raises:
            UsageError: Another model made the features.
            PromptError: A prompt is given, or an index names no image.
        """
        self.check_owner(features)
        asked = asked_pictures(self.name, features, prompts, image_index)
        found = features.to(self.device).embedding[asked]
        mattes = tuple(
            self._matte(logits[None].sigmoid(), features.geometry[image])
            for logits, image in zip(found, asked, strict=True)
        )
        return MatteAnswers(mattes, np.asarray(expected_iou(found.cpu().numpy())))

    def _matte(self, probability: torch.Tensor, geometry: Geometry) -> Matte:
        alpha = to_picture(probability, geometry.height, geometry.width)
        alpha = stretch(alpha) if self.config.stretch else alpha
        return Matte(alpha, threshold(alpha, self.config.cut))

    def decode_batch(self, features: ImageFeatures, batch: PromptBatch, *, candidates: bool = False) -> DecoderOutput:
        """The answers' logits (P, 1, S, S), and the IoU that each leads one to expect."""
        logits = features.embedding[batch.image_index]
        return DecoderOutput(logits, expected_iou(logits))

    def describe(self, digest: Callable[[], str], **more: Any) -> ModelInfo:
        """It takes no prompt, says how much of each pixel is object, and cannot be asked about one object again."""
        return super().describe(digest, prompts=frozenset(), alpha=True, look_again="never", **more)

    def save_pretrained(self, folder: str | Path, *, dtype: torch.dtype = torch.float32) -> None:
        """Writes ``config.json`` and ``model.safetensors``."""
        write_checkpoint(folder, self.config.to_dict(), self.network.state_dict(), dtype)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """Reads a folder of :meth:`save_pretrained` in eval mode; weights become float32.

        Raises:
            CheckpointError: The folder is missing, damaged or holds another kind of model.
        """
        config, state = read_checkpoint(folder, IsNetConfig)
        network = IsNet(COLOURS, config.width)
        load_weights(network, state, folder)
        return cls(config, network).eval()

    @classmethod
    def of_five(cls, network: IsNet, config: IsNetConfig) -> Self:
        """What an IS-Net with five channels in answers where the last two are zero."""
        alone = IsNet(COLOURS, config.width)
        state = network.state_dict()
        alone.load_state_dict({**state, "conv_in.weight": state["conv_in.weight"][:, :COLOURS]})
        return cls(config, alone).train(network.training)


def _holds(state: Mapping[str, torch.Tensor]) -> bool:
    return holds_isnet(state) and input_channels(state) == COLOURS


def _load(state: Mapping[str, torch.Tensor], path: Path) -> IsNetModel:
    network = load_isnet(state, path)
    width = network.conv_in.out_channels / FEATURE_CHANNELS[0]
    return IsNetModel(IsNetConfig(path.stem, width), network).eval()


LAYOUT = registry.Layout("IS-Net's isnet.pth", _holds, _load)
