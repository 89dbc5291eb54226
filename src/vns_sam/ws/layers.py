"""Building blocks of WS-SAM's segmenter: normed convolution, texture block, and two kinds of attention."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from vns_sam.ws.config import REDUCTION


class ConvNorm(nn.Sequential):
    """Convolution without bias that keeps the size, batch norm, and ReLU unless linear.

    Args:
        in_ch, out_ch: Channels.
        kernel: One odd side, or height and width.
        dilation: Of the kernel.
        linear: Leaves the ReLU out.
    """

    def __init__(
        self, in_ch: int, out_ch: int, kernel: int | tuple[int, int] = 1, dilation: int = 1, *, linear: bool = False
    ) -> None:
        height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (dilation * (height // 2), dilation * (width // 2))
        conv = nn.Conv2d(in_ch, out_ch, (height, width), padding=padding, dilation=dilation, bias=False)
        act: nn.Module = nn.Identity() if linear else nn.ReLU(inplace=True)
        super().__init__(conv, nn.BatchNorm2d(out_ch), act)


class TextureBlock(nn.Module):
    """Lateral block of four branches whose receptive fields grow (the receptive field block of Liu et al. 2018).

    Args:
        in_ch: Channels of the level.
        channels: C.
        released: Whether both sums pass a ReLU before they are added.
    """

    def __init__(self, in_ch: int, channels: int, *, released: bool = False) -> None:
        super().__init__()
        self.point = ConvNorm(in_ch, channels)
        self.wide = nn.ModuleList(
            nn.Sequential(
                ConvNorm(in_ch, channels),
                ConvNorm(channels, channels, (1, size)),
                ConvNorm(channels, channels, (size, 1)),
                ConvNorm(channels, channels, 3, dilation=size),
            )
            for size in (3, 5, 7)
        )
        self.gather = ConvNorm(4 * channels, channels, 3, linear=not released)
        self.residual = ConvNorm(in_ch, channels, linear=not released)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps (B, in_ch, h, w) to (B, C, h, w)."""
        branches = torch.cat([self.point(x), *(branch(x) for branch in self.wide)], 1)
        return F.relu(self.gather(branches) + self.residual(x))


class SpatialChannelAttention(nn.Module):
    """Scales channels, then places, by what their means and maxima say (CBAM, Woo et al. 2018).

    Args:
        channels: C.
        bias: Whether the attention to places has one, as released.
    """

    def __init__(self, channels: int, *, bias: bool = False) -> None:
        super().__init__()
        self.channel = nn.Sequential(
            nn.Conv2d(channels, channels // REDUCTION, 1, bias=False),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels // REDUCTION, channels, 1, bias=False),
        )
        self.spatial = nn.Conv2d(2, 1, 7, padding=3, bias=bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Keeps the shape (B, C, h, w)."""
        mean, largest = x.mean((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
        x = x * (self.channel(mean) + self.channel(largest)).sigmoid()
        places = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)
        return x * self.spatial(places).sigmoid()


class ResidualAttention(nn.Module):
    """Two convolutions whose channels are scaled before they are added to the input (RCAB, Zhang et al. 2018)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1),
        )
        self.channel = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, channels // REDUCTION, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels // REDUCTION, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Keeps the shape (B, C, h, w)."""
        y = self.body(x)
        return x + y * self.channel(y)
