"""The augmentation that VNS-SAM is trained with: horizontal flip and large-scale jitter.

The paper does not describe it; this is the authors' code. What is drawn (:class:`Jitter`) is kept apart from
what is done with it, so that one draw changes a picture, its label and its edge alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

IMAGE_PADDING = 128.0
"""Value of the image beyond its border; labels and edges are 0 there."""


@dataclass(frozen=True)
class Jitter:
    """The numbers of one augmentation.

    Attributes:
        flip: Whether left and right change places.
        scale: Longer side of the picture, relative to the side of the result.
        offset: (vertical, horizontal) place of the crop, each in [0, 1): 0 is the first possible place.
    """

    flip: bool
    scale: float
    offset: tuple[float, float]

    def apply(self, maps: torch.Tensor, side: int, fill: float) -> torch.Tensor:
        """Flips, scales (bilinear, not antialiased, aspect kept), crops, pads right and bottom.

        Args:
            maps: (C, H, W) float.
            side: Side of the square result in pixels.
            fill: Value of the padding.

        Returns:
            (C, side, side) float.
        """
        height, width = maps.shape[1:]
        factor = min(side * self.scale / height, side * self.scale / width)
        size = [max(1, round(height * factor)), max(1, round(width * factor))]
        turned = maps.flip(-1) if self.flip else maps
        scaled = F.interpolate(turned[None], size, mode="bilinear", align_corners=False)[0]
        top, left = (int(place * (max(length - side, 0) + 1)) for place, length in zip(self.offset, size, strict=True))
        crop = scaled[:, top : top + side, left : left + side]
        return F.pad(crop, (0, side - crop.shape[2], 0, side - crop.shape[1]), value=fill)


@dataclass(frozen=True)
class LargeScaleJitter:
    """Random flip and large-scale jitter (Ghiasi et al. 2021) to a square.

    Attributes:
        side: Side of the result in pixels.
        scales: Range of the uniform scale.
    """

    side: int = 1024
    scales: tuple[float, float] = (0.1, 2.0)

    def draw(self, generator: torch.Generator) -> Jitter:
        """Draws four uniform numbers: flip (one in two), scale, and place of the crop."""
        flip, scale, top, left = torch.rand(4, generator=generator, dtype=torch.float64).tolist()
        low, high = self.scales
        return Jitter(flip >= 0.5, low + (high - low) * scale, (top, left))

    def __call__(
        self, image: torch.Tensor, label: torch.Tensor, edge: torch.Tensor, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Augments one sample.

        The object may fall outside the crop or vanish in it: the label may come out empty.

        Args:
            image: (3, H, W), 0 to 255.
            label: (1, H, W), 0 to 255.
            edge: (1, H, W), 0 to 1.
            generator: Source of the draws.

        Returns:
            Image (3, S, S) uint8, truncated as the authors do; label and edge (1, S, S) float32, soft.
        """
        jitter = self.draw(generator)
        picture = jitter.apply(image.float(), self.side, IMAGE_PADDING).to(torch.uint8)
        return picture, jitter.apply(label.float(), self.side, 0), jitter.apply(edge.float(), self.side, 0)
