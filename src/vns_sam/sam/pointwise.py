"""Convolutions that are products of matrices and run as such."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from vns_sam.sam.recording import being_recorded


def pointwise(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """A convolution of 1 x 1 on (B, in, H, W), which ``channels_last`` memory makes free of copies, to (B, out, H, W).

    Args:
        x: (B, in, H, W).
        weight: (out, in, 1, 1).
        bias: (out,) or None.
    """
    if being_recorded():  # who runs the graph has its own memory formats
        return F.conv2d(x, weight, bias)
    return F.linear(x.permute(0, 2, 3, 1), weight.flatten(1), bias).permute(0, 3, 1, 2)


class PointwiseConv(nn.Conv2d):
    """A convolution of 1 x 1 that runs as :func:`pointwise`."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps (B, in, H, W) to (B, out, H, W)."""
        return pointwise(x, self.weight, self.bias)


class ThinConv(nn.Conv2d):
    """A convolution of 3 x 3 on a few channels: one product with each pixel's surroundings written out, where a general
    convolution is busy with channels that are not there.
    """

    bias: nn.Parameter

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps (B, in, H, W) to (B, out, H, W)."""
        if x.device.type != "cpu" or being_recorded():
            return super().forward(x)
        around = F.unfold(x, 3, padding=1)
        weight = self.weight.flatten(1).expand(x.shape[0], -1, -1)
        return torch.baddbmm(self.bias[:, None], weight, around).unflatten(2, x.shape[2:])
