"""WS-SAM's segmenter: finds what hardly stands out without a prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F

from vns_sam.errors import DataError, PromptError, UsageError
from vns_sam.images.geometry import maps_to_original, resize_image
from vns_sam.sam.checkpoints import load_weights, read_checkpoint, write_checkpoint
from vns_sam.sam.promptable import Preprocessing, PromptableNetwork
from vns_sam.types import DecoderOutput, Geometry, ImageFeatures, PromptBatch, Prompts
from vns_sam.ws.backbones import Backbone, build_backbone, load_backbone
from vns_sam.ws.config import STRIDE, WsSamConfig
from vns_sam.ws.head import SegmentationHead, WsSamOutput


class WsSamModel(PromptableNetwork):
    """A backbone and WS-SAM's head. Of a promptable model's questions it knows one: the box around the whole picture.

    Args:
        config: What defines the model.
        backbone: One that fits ``config.backbone``; a fresh one by default.

    Attributes:
        name: What users call the model.
        preprocessing: Side of the square input and how pixels are normalised.
    """

    takes_prompts = False

    def __init__(self, config: WsSamConfig, backbone: Backbone | None = None) -> None:
        super().__init__()
        self.config = config
        self.name = config.name
        self.preprocessing = Preprocessing(config.image_size)
        self.backbone = backbone or build_backbone(config.backbone)
        self.head = SegmentationHead(config, self.backbone.channels)

    @classmethod
    def from_backbone(cls, origin: str | Path, **values: Any) -> Self:
        """Puts a fresh head on a pretrained backbone.

        Args:
            origin: A folder or a hub id, see :func:`vns_sam.ws.backbones.load_backbone`.
            values: Fields of :class:`WsSamConfig` other than ``backbone``.

        Raises:
            CheckpointError: The backbone is not at hand.
            UsageError: It is of another kind, or a field does not exist or has a value that is not allowed.
        """
        backbone_config, backbone = load_backbone(origin)
        return cls(WsSamConfig.make(**values, backbone=backbone_config), backbone)

    def forward(self, pixels: torch.Tensor) -> WsSamOutput:
        """Segments normalised pixels (B, 3, H, W) of any size.

        Sides that are no multiple of 32 are padded right and bottom with zeros, the mean colour, and the maps are cut.

        Returns:
            Five maps (B, 1, H, W), and the groups over the padded picture.

        Raises:
            UsageError: A single picture while training; batch norm has then nothing to compare it with.
        """
        if self.training and len(pixels) < 2:
            raise UsageError("training needs at least 2 pictures in a batch, found 1", hint="raise the batch size")
        height, width = pixels.shape[-2:]
        padded = F.pad(pixels, (0, -width % STRIDE, 0, -height % STRIDE))
        output = self.head(self.backbone(padded))
        size = (padded.shape[-2], padded.shape[-1])
        logits = (F.interpolate(x, size, mode="bilinear", align_corners=False) for x in output.logits)
        return replace(output, logits=tuple(x[..., :height, :width] for x in logits))

    @torch.inference_mode()
    def segment(self, image: np.ndarray) -> np.ndarray:
        """How probably each pixel belongs to the object.

        The picture is squashed to a square of ``config.image_size`` pixels, as the authors do, so that beyond it
        memory grows with the result alone.

        Args:
            image: (H, W, 3) uint8 RGB of any size.

        Returns:
            (H, W) float32 in [0, 1].

        Raises:
            DataError: It is no such array.
            UsageError: The model is in training mode.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
            raise DataError(f"expected an image (H, W, 3) of uint8, found {image.shape} of {image.dtype}")
        if self.training:
            raise UsageError("segmenting needs the model in eval mode", hint="call model.eval()")
        features = self.encode([image])
        full = maps_to_original(features.embedding.cpu(), features.geometry[0])
        probability: np.ndarray = full[0].sigmoid_().numpy()
        return probability

    @torch.inference_mode()
    def encode(self, images: Sequence[np.ndarray]) -> ImageFeatures:
        """Segments I pictures, each (H, W, 3) uint8 RGB of any size, squashed to the square input."""
        side = self.config.image_size
        geometry = tuple(Geometry(image.shape[0], image.shape[1], side, side, side) for image in images)
        squashed = np.stack([resize_image(image, at) for image, at in zip(images, geometry, strict=True)])
        pixels = torch.from_numpy(squashed).to(self.device).permute(0, 3, 1, 2).float()
        return replace(self.encode_pixels(self.preprocessing.normalise(pixels)), geometry=geometry)

    def encode_pixels(self, pixels: torch.Tensor) -> ImageFeatures:
        """Segments normalised pixels (I, 3, S, S); the embedding is the answer's logits (I, 1, S, S)."""
        return ImageFeatures(self(pixels).prediction.float(), (), ())

    def decode(self, features: ImageFeatures, prompts: Sequence[Prompts], image_index: Sequence[int]) -> DecoderOutput:
        """The answers, see :meth:`vns_sam.sam.promptable.PromptableNetwork.decode`.

        Raises:
            PromptError: A prompt asks for something else than the whole picture.
        """
        for given, image in zip(prompts, image_index, strict=True):
            if 0 <= image < len(features.geometry) and not _is_whole(given, features.geometry[image]):
                raise PromptError(f"'{self.name}' takes no prompt: it finds what there is", hint="leave the prompt out")
        return super().decode(features, prompts, image_index)

    def decode_batch(self, features: ImageFeatures, batch: PromptBatch) -> DecoderOutput:
        """The answers' logits (P, 1, S, S), and the IoU that each answer's own probabilities lead one to expect."""
        logits = features.embedding[batch.image_index]
        probability, found = logits.sigmoid(), logits > 0
        hit = (probability * found).sum((1, 2, 3))
        either = (probability * ~found + found).sum((1, 2, 3))
        return DecoderOutput(logits, hit / either.clamp(min=1e-6))

    def save_pretrained(self, folder: str | Path, *, dtype: torch.dtype = torch.float32) -> None:
        """Writes ``config.json`` and ``model.safetensors``, the backbone included."""
        write_checkpoint(folder, self.config.to_dict(), self.state_dict(), dtype)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """Reads a folder of :meth:`save_pretrained` in eval mode; weights become float32.

        Raises:
            CheckpointError: The folder is missing, damaged or holds another kind of model.
        """
        config, state = read_checkpoint(folder, WsSamConfig)
        model = cls(config)
        load_weights(model, state, folder)
        return model.eval()


def _is_whole(given: Prompts, geometry: Geometry) -> bool:
    """Whether a prompt is the box around the whole picture, to a pixel, and nothing else."""
    if given.boxes is None or given.points is not None or given.masks is not None:
        return False
    far = np.array([geometry.width - 1, geometry.height - 1])
    return bool((given.boxes[:, :2] <= 0).all() and (given.boxes[:, 2:] >= far).all())
