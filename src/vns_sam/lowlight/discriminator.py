"""The 70 x 70 PatchGAN, with the tensor names of its authors' code."""

from __future__ import annotations

import torch
from torch import nn


class PatchDiscriminator(nn.Module):
    """Says of each patch of 70 x 70 pixels whether it is real (Isola et al. 2017; Zhu et al. 2017).

    Args:
        ndf: Channels of the first layer; 64 is the published width, 2,764,737 parameters.

    Attributes:
        model: All layers in a row.
    """

    def __init__(self, ndf: int = 64) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, ndf, 4, stride=2, padding=1), nn.LeakyReLU(0.2, inplace=True)]
        for channels, stride in ((ndf, 2), (2 * ndf, 2), (4 * ndf, 1)):
            layers += [
                nn.Conv2d(channels, 2 * channels, 4, stride=stride, padding=1),
                nn.InstanceNorm2d(2 * channels),
                nn.LeakyReLU(0.2, inplace=True),
            ]
        layers.append(nn.Conv2d(8 * ndf, 1, 4, padding=1))
        self.model = nn.Sequential(*layers)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Scores (B, 1, H / 8 - 2, W / 8 - 2) of pixels (B, 3, H, W) in [-1, 1]: near 1 real, near 0 made."""
        return self.model(pixels)
