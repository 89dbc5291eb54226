"""How a picture is brought to the model when it is measured: its aspect kept, or squashed as the authors do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F

from vns_sam.inference.answers import Asker, full_size
from vns_sam.types import Answers, Prompts

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

    def answer(self, asker: Asker, answers: Answers, row: int, prompts: Prompts | None) -> np.ndarray:
        """Logits (H, W) of one prompt at the original size, with a second look, in the frame, where it is wanted."""
        if self.resize == "square" and not asker.asks_crops:
            return answers.logits(row, self.size, direct=True)
        found = full_size(asker, self.image, answers, [row], prompts)
        if self.resize == "fit":
            return found.logits[0]
        if not found.changed:
            return answers.logits(row, self.size, direct=True)
        squashed = torch.from_numpy(found.logits)[None]
        return F.interpolate(squashed, self.size, mode="bilinear", align_corners=False)[0, 0].numpy()


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
