"""How pictures enter a network: the numbers, and the fitted picture; torch is needed for tensors alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from vns_sam.images.geometry import fit, resize_image, stretch
from vns_sam.types import Geometry, Size

if TYPE_CHECKING:
    import torch

Fit = Literal["pad", "stretch", "tight"]
"""A picture is padded to the square, stretched over it, or padded no further than the network's strides want."""


@dataclass(frozen=True)
class Preprocessing:
    """The numbers that turn a picture into network input; stored in the checkpoint.

    Attributes:
        image_size: Longer side of the input in pixels, a multiple of twice the stride.
        mean, std: Per RGB channel on the 0..255 scale.
        stride: Of the embedding's grid in pixels.
        fit: How a picture becomes the input, see :data:`Fit`.
    """

    image_size: int
    mean: tuple[float, float, float] = (123.675, 116.28, 103.53)
    std: tuple[float, float, float] = (58.395, 57.12, 57.375)
    stride: int = 16
    fit: Fit = "pad"

    @property
    def grid(self) -> int:
        """Longer side of the embedding's grid."""
        return self.image_size // self.stride

    @property
    def unit(self) -> int:
        """What the input's sides are multiples of: methods halve the grid once."""
        return 2 * self.stride

    def cells(self, geometry: Geometry, times: int = 1) -> Size:
        """Height and width of the embedding's grid below a picture, or of a map so many times as fine."""
        return times * geometry.input_height // self.stride, times * geometry.input_width // self.stride

    def __call__(self, image: np.ndarray, device: torch.device) -> tuple[torch.Tensor, Geometry]:
        """Fits one picture (H, W, 3) uint8 RGB: pixels (3, S, S') normalised, padded with zeros, and geometry."""
        import torch
        import torch.nn.functional as F

        geometry = self.place(*image.shape[:2])
        resized = torch.from_numpy(resize_image(image, geometry).copy()).to(device).permute(2, 0, 1).float()
        pixels = self.normalise(resized)
        right, bottom = geometry.input_width - geometry.fitted_width, geometry.input_height - geometry.fitted_height
        return F.pad(pixels, (0, right, 0, bottom)), geometry

    def place(self, height: int, width: int) -> Geometry:
        """How a picture lies in the input."""
        if self.fit == "stretch":
            return stretch(height, width, self.image_size)
        return fit(height, width, self.image_size, self.unit if self.fit == "tight" else None)

    def padded(self, image: np.ndarray) -> tuple[np.ndarray, Geometry]:
        """The same for a network that normalises itself: (3, S, S') float32 in 0..255, padded with the mean."""
        geometry = self.place(*image.shape[:2])
        pixels = np.empty((3, *geometry.input), np.float32)
        pixels[:] = np.array(self.mean, np.float32)[:, None, None]
        fitted = resize_image(image, geometry).transpose(2, 0, 1)
        pixels[:, : geometry.fitted_height, : geometry.fitted_width] = fitted
        return pixels, geometry

    def normalise(self, pixels: torch.Tensor) -> torch.Tensor:
        """Normalises (..., 3, H, W) pixels in 0..255."""
        mean = pixels.new_tensor(self.mean)[:, None, None]
        return (pixels - mean) / pixels.new_tensor(self.std)[:, None, None]
