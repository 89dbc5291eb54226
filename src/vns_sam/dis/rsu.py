"""Residual U-blocks (Qin et al. 2020, U2-Net, section 3.1), the bricks of IS-Net. Module names are the release's."""

from __future__ import annotations

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import nn


class ConvNormRelu(nn.Sequential):
    """3x3 convolution with bias, batch norm, ReLU; the size stays.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        dilation: Of the convolution, and its padding.
    """

    def __init__(self, in_channels: int, out_channels: int, dilation: int = 1) -> None:
        super().__init__(
            OrderedDict(
                conv_s1=nn.Conv2d(in_channels, out_channels, 3, padding=dilation, dilation=dilation),
                bn_s1=nn.BatchNorm2d(out_channels),
                relu_s1=nn.ReLU(inplace=True),
            )
        )


def enlarge(x: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Brings (B, C, h, w) to the height and width of ``like``, bilinear."""
    return F.interpolate(x, (like.shape[-2], like.shape[-1]), mode="bilinear", align_corners=False)


def halve(x: torch.Tensor) -> torch.Tensor:
    """Maximum over 2x2 pixels; an odd last row or column is kept."""
    return F.max_pool2d(x, 2, 2, ceil_mode=True)


class Rsu(nn.Module):
    """Residual U-block of L levels: a small U-Net inside, its input's first convolution added to its output.

    Args:
        levels: L, 4 to 7; the block looks at its input at L - 1 sizes.
        in_channels: Channels of the input.
        mid_channels: Channels inside.
        out_channels: Channels of the output.
    """

    def __init__(self, levels: int, in_channels: int, mid_channels: int, out_channels: int) -> None:
        super().__init__()
        self.levels = levels
        self.rebnconvin = ConvNormRelu(in_channels, out_channels)
        for level in range(1, levels + 1):
            first, dilation = (out_channels if level == 1 else mid_channels), (2 if level == levels else 1)
            self.add_module(f"rebnconv{level}", ConvNormRelu(first, mid_channels, dilation))
        for level in range(levels - 1, 0, -1):
            last = out_channels if level == 1 else mid_channels
            self.add_module(f"rebnconv{level}d", ConvNormRelu(2 * mid_channels, last))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps (B, in, h, w) to (B, out, h, w)."""
        residual = self.rebnconvin(x)
        x, skips = residual, []
        for level in range(1, self.levels):
            x = self.get_submodule(f"rebnconv{level}")(x if level == 1 else halve(x))
            skips.append(x)
        x = self.get_submodule(f"rebnconv{self.levels}")(x)
        for level in range(self.levels - 1, 0, -1):
            skip = skips.pop()
            x = self.get_submodule(f"rebnconv{level}d")(torch.cat([enlarge(x, skip), skip], 1))
        return x + residual


class DilatedRsu(nn.Module):
    """RSU-4F: the residual U-block of the coarse stages, with dilations 1, 2, 4, 8 in place of pooling.

    Args:
        in_channels: Channels of the input.
        mid_channels: Channels inside.
        out_channels: Channels of the output.
    """

    def __init__(self, in_channels: int, mid_channels: int, out_channels: int) -> None:
        super().__init__()
        self.rebnconvin = ConvNormRelu(in_channels, out_channels)
        self.rebnconv1 = ConvNormRelu(out_channels, mid_channels)
        self.rebnconv2 = ConvNormRelu(mid_channels, mid_channels, 2)
        self.rebnconv3 = ConvNormRelu(mid_channels, mid_channels, 4)
        self.rebnconv4 = ConvNormRelu(mid_channels, mid_channels, 8)
        self.rebnconv3d = ConvNormRelu(2 * mid_channels, mid_channels, 4)
        self.rebnconv2d = ConvNormRelu(2 * mid_channels, mid_channels, 2)
        self.rebnconv1d = ConvNormRelu(2 * mid_channels, out_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps (B, in, h, w) to (B, out, h, w)."""
        residual = self.rebnconvin(x)
        x1 = self.rebnconv1(residual)
        x2 = self.rebnconv2(x1)
        x3 = self.rebnconv3(x2)
        x4 = self.rebnconv4(x3)
        x3 = self.rebnconv3d(torch.cat([x4, x3], 1))
        x2 = self.rebnconv2d(torch.cat([x3, x2], 1))
        return self.rebnconv1d(torch.cat([x2, x1], 1)) + residual
