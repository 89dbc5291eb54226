"""WS-SAM's segmenter: finds what hardly stands out without a prompt."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from vns_sam.errors import DataError, UsageError
from vns_sam.images.geometry import resize_image
from vns_sam.sam.checkpoints import load_weights, read_checkpoint, write_checkpoint
from vns_sam.sam.promptable import Preprocessing
from vns_sam.types import Geometry
from vns_sam.ws.backbones import Backbone, build_backbone, load_backbone
from vns_sam.ws.config import MODEL_TYPE, STRIDE, WsSamConfig
from vns_sam.ws.head import SegmentationHead, WsSamOutput


class WsSamModel(nn.Module):
    """A backbone and WS-SAM's head.

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

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

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
        height, width = image.shape[:2]
        side = self.config.image_size
        squashed = resize_image(image, Geometry(height, width, side, side, side))
        pixels = torch.from_numpy(squashed.copy()).to(self.device).permute(2, 0, 1)[None].float()
        logits = self(self.preprocessing.normalise(pixels)).prediction.float().cpu()
        full = F.interpolate(logits, (height, width), mode="bilinear", align_corners=False)
        probability: np.ndarray = full[0, 0].sigmoid_().numpy()
        return probability

    def save_pretrained(self, folder: str | Path, *, dtype: torch.dtype = torch.float32) -> None:
        """Writes ``config.json`` and ``model.safetensors``, the backbone included."""
        write_checkpoint(folder, self.config.to_dict(), self.state_dict(), dtype)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """Reads a folder of :meth:`save_pretrained` in eval mode; weights become float32.

        Raises:
            CheckpointError: The folder is missing, damaged or holds another kind of model.
        """
        values, state = read_checkpoint(folder, MODEL_TYPE)
        model = cls(WsSamConfig.from_dict(values))
        load_weights(model, state, folder)
        return model.eval()
