"""WS-SAM's segmenter: finds what hardly stands out without a prompt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F

from vns_sam.errors import DataError, UsageError
from vns_sam.images.geometry import maps_to_original, resize_image
from vns_sam.sam.answers import MapAnswers
from vns_sam.sam.checkpoints import load_weights, read_checkpoint, write_checkpoint
from vns_sam.sam.preprocessing import Preprocessing
from vns_sam.sam.promptable import PromptableNetwork
from vns_sam.sam.unprompted import asked_pictures, expected_iou
from vns_sam.types import DecoderOutput, ImageFeatures, ModelInfo, PromptBatch, Prompts
from vns_sam.ws.backbones import Backbone, build_backbone, load_backbone
from vns_sam.ws.config import STRIDE, WsSamConfig
from vns_sam.ws.head import SegmentationHead, WsSamOutput


class WsSamModel(PromptableNetwork):
    """A backbone and WS-SAM's head. It takes no prompt and finds what there is.

    Args:
        config: What defines the model.
        backbone: One that fits ``config.backbone``; a fresh one by default.

    Attributes:
        name: What users call the model.
        preprocessing: Side of the square input and how pixels are normalised.
    """

    def __init__(self, config: WsSamConfig, backbone: Backbone | None = None) -> None:
        super().__init__()
        self.config = config
        self.name = config.name
        self.preprocessing = Preprocessing(config.image_size, fit="stretch")
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
        geometry = tuple(self.preprocessing.place(*image.shape[:2]) for image in images)
        squashed = np.stack([resize_image(image, at) for image, at in zip(images, geometry, strict=True)])
        pixels = torch.from_numpy(squashed).to(self.device).permute(0, 3, 1, 2).float()
        features = self.encode_pixels(self.preprocessing.normalise(pixels).to(self.dtype))
        return replace(features, geometry=geometry, owner=self.info)

    def encode_pixels(self, pixels: torch.Tensor) -> ImageFeatures:
        """Segments normalised pixels (I, 3, S, S); the embedding is the answer's logits (I, 1, S, S)."""
        return ImageFeatures(self(pixels).prediction.float(), (), ())

    @torch.inference_mode()
    def decode(
        self,
        features: ImageFeatures,
        prompts: Sequence[Prompts] = (),
        image_index: Sequence[int] = (),
        *,
        candidates: bool = False,
        look_again: bool = False,
    ) -> MapAnswers:
        """The answers to the pictures of ``image_index``, or to all of them.

        Raises:
            UsageError: Another model made the features.
            PromptError: A prompt is given, or an index names no image.
        """
        self.check_owner(features)
        asked = asked_pictures(self.name, features, prompts, image_index)
        output = self.decode_batch(features.to(self.device), PromptBatch(torch.tensor(asked, device=self.device)))
        geometry = tuple(features.geometry[image] for image in asked)
        return MapAnswers(output.mask_logits, output.scores.float().cpu().numpy(), geometry)

    def decode_batch(self, features: ImageFeatures, batch: PromptBatch, *, candidates: bool = False) -> DecoderOutput:
        """The answers' logits (P, 1, S, S), and the IoU that each answer's own probabilities lead one to expect."""
        logits = features.embedding[batch.image_index]
        return DecoderOutput(logits, expected_iou(logits))

    def describe(self, digest: Callable[[], str], **more: Any) -> ModelInfo:
        """It takes no prompt, and cannot be asked about one object again."""
        return super().describe(digest, prompts=frozenset(), look_again="never", **more)

    def save_pretrained(self, folder: str | Path, *, dtype: torch.dtype = torch.float32) -> None:
        """Writes ``config.json`` and ``model.safetensors``, the backbone included."""
        write_checkpoint(folder, self.config.to_dict(), self.state_dict(), dtype)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """Reads a folder of :meth:`save_pretrained`, or what a hub id names, in eval mode; weights become float32.

        Raises:
            CheckpointError: The folder is missing, damaged or holds another kind of model.
        """
        config, state = read_checkpoint(folder, WsSamConfig)
        model = cls(config)
        load_weights(model, state, folder)
        return model.eval()
