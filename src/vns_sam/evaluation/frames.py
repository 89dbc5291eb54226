"""How a picture is brought to the model when it is measured: its aspect kept, or squashed as the authors do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F

from vns_sam.images.geometry import maps_to_original
from vns_sam.types import DecoderOutput, ImageFeatures

Resize = Literal["fit", "square"]
SQUARE_SIDE = 1024
"""Side of the authors' square in pixels."""


@dataclass(frozen=True)
class Frame:
    """A picture as the model sees it; prompts are drawn in its pixels.

    Attributes:
        image: (H', W', 3) uint8 RGB.
        size: Height and width of the original.
        resize: "fit" is the original itself, which every model fits into its input with the aspect kept; "square"
            is resized to 1024 x 1024 first.
    """

    image: np.ndarray
    size: tuple[int, int]
    resize: Resize

    def truth(self, mask: np.ndarray) -> np.ndarray:
        """Brings a true mask (H, W) bool into the frame."""
        return mask if self.resize == "fit" else _square(mask[..., None].astype(np.float32) * 255)[..., 0] > 128

    def masks_back(self, logits: torch.Tensor, features: ImageFeatures) -> torch.Tensor:
        """Brings the decoder's maps (P, 1, h, h) of one picture to (P, H, W) at the original size."""
        if self.resize == "fit":
            return maps_to_original(logits.float(), features.geometry[0])
        return F.interpolate(logits.float(), self.size, mode="bilinear", align_corners=False)[:, 0]

    def answer(self, output: DecoderOutput, row: int, features: ImageFeatures) -> np.ndarray:
        """Logits (1, H, W) of one prompt at the original size, from its matte where the model gives one."""
        if output.mattes is None:
            return self.masks_back(output.mask_logits[row : row + 1], features).cpu().numpy()
        logits = output.mattes[row].logits[None]
        if self.resize == "square":
            enlarged = F.interpolate(torch.from_numpy(logits)[None], self.size, mode="bilinear", align_corners=False)
            logits = enlarged[0].numpy()
        return logits


def frame(image: np.ndarray, resize: Resize) -> Frame:
    """Frames a picture (H, W, 3) uint8 RGB."""
    size = (image.shape[0], image.shape[1])
    if resize == "fit":
        return Frame(image, size, resize)
    return Frame(_square(image.astype(np.float32)).astype(np.uint8), size, resize)


def _square(values: np.ndarray) -> np.ndarray:
    """Bilinear without antialiasing, (H, W, C) float32 to (1024, 1024, C)."""
    maps = torch.from_numpy(values).permute(2, 0, 1)[None]
    squashed = F.interpolate(maps, (SQUARE_SIDE, SQUARE_SIDE), mode="bilinear", align_corners=False)
    return squashed[0].permute(1, 2, 0).numpy()
