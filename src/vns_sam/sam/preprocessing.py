"""How pictures enter a network: the numbers, and the fitted square; torch is needed for tensors alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vns_sam.images.geometry import fit, resize_image, stretch
from vns_sam.types import Geometry

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Preprocessing:
    """The numbers that turn a picture into network input; stored in the checkpoint.

    Attributes:
        image_size: Side of the square input in pixels, a multiple of twice the stride.
        mean, std: Per RGB channel on the 0..255 scale.
        stride: Of the embedding's grid in pixels.
        stretched: Whether a picture is stretched over the square, instead of padded.
    """

    image_size: int
    mean: tuple[float, float, float] = (123.675, 116.28, 103.53)
    std: tuple[float, float, float] = (58.395, 57.12, 57.375)
    stride: int = 16
    stretched: bool = False

    @property
    def grid(self) -> int:
        """Side g of the embedding's grid."""
        return self.image_size // self.stride

    def __call__(self, image: np.ndarray, device: torch.device) -> tuple[torch.Tensor, Geometry]:
        """Fits one picture (H, W, 3) uint8 RGB: pixels (3, S, S) normalised, padded with zeros, and geometry."""
        import torch
        import torch.nn.functional as F

        geometry = self.place(image)
        resized = torch.from_numpy(resize_image(image, geometry).copy()).to(device).permute(2, 0, 1).float()
        pixels = self.normalise(resized)
        pad = (0, geometry.side - geometry.fitted_width, 0, geometry.side - geometry.fitted_height)
        return F.pad(pixels, pad), geometry

    def place(self, image: np.ndarray) -> Geometry:
        """How a picture (H, W, 3) lies in the square."""
        return (stretch if self.stretched else fit)(image.shape[0], image.shape[1], self.image_size)

    def square(self, image: np.ndarray) -> tuple[np.ndarray, Geometry]:
        """The same for a network that normalises itself: (3, S, S) float32 in 0..255, padded with the mean."""
        geometry = self.place(image)
        square = np.empty((3, geometry.side, geometry.side), np.float32)
        square[:] = np.array(self.mean, np.float32)[:, None, None]
        fitted = resize_image(image, geometry).transpose(2, 0, 1)
        square[:, : geometry.fitted_height, : geometry.fitted_width] = fitted
        return square, geometry

    def normalise(self, pixels: torch.Tensor) -> torch.Tensor:
        """Normalises (..., 3, H, W) pixels in 0..255."""
        mean = pixels.new_tensor(self.mean)[:, None, None]
        return (pixels - mean) / pixels.new_tensor(self.std)[:, None, None]
