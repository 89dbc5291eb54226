"""NSFM, the non-salient feature mining module: from SAM's four exported maps to a mask and an edge feature.

VNS-SAM, section III-C. Shapes: I images, C_k channels of level k, n inner channels, d SAM's width (256), g x g' grid.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from vns_sam.errors import DataError
from vns_sam.sam.config import LevelChannels
from vns_sam.sam.mask_decoder import LayerNorm2d
from vns_sam.vns.switches import BandAttention, Wavelets


def haar(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The two diagonal bands of the orthonormal Haar transform.

    Args:
        x: (I, n, g, g') with even g and g'.

    Returns:
        The low band LL and the high band HH, each (I, n, g / 2, g' / 2).
    """
    a, b = x[..., 0::2, 0::2], x[..., 0::2, 1::2]
    c, d = x[..., 1::2, 0::2], x[..., 1::2, 1::2]
    return (a + b + c + d) / 2, (a - b - c + d) / 2


class ConvBnRelu(nn.Module):
    """Convolution without bias that keeps the size, batch norm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps (I, in_channels, h, w) to (I, out_channels, h, w)."""
        return F.relu(self.bn(self.conv(x)))


class ChannelAttention(nn.Module):
    """Weighs each channel by its maximum and those of its two neighbours."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 1, 3, padding=1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scales (I, n, h, w) channel by channel."""
        peak = F.adaptive_max_pool2d(x, 1)[..., 0].transpose(1, 2)
        return x * self.conv(peak).sigmoid().transpose(1, 2)[..., None]


class Aggregation(nn.Module):
    """Merges one band of the four levels; a residual block, then channel and spatial attention.

    Args:
        channels: Inner width n, a multiple of 4.
        attention: "gate" multiplies with the spatial attention, which is below 1 and may close for good; "residual"
            with 1 plus it (Wang et al. 2017), so that a band always passes.
    """

    def __init__(self, channels: int, attention: BandAttention = "gate") -> None:
        super().__init__()
        self.attention = attention
        self.reduce = ConvBnRelu(4 * channels, channels, 1)
        self.channel_attention = ChannelAttention()
        self.spatial_attention = nn.Sequential(
            nn.Conv2d(channels, channels // 4, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels // 4, 1, 3, padding=1),
            nn.Sigmoid(),
        )
        self.residual = ConvBnRelu(channels, channels, 3)

    def forward(self, bands: Sequence[torch.Tensor]) -> torch.Tensor:
        """Merges four bands (I, n, h, w), given shallow to deep, into one."""
        merged = self.reduce(torch.cat(list(reversed(bands)), dim=1))
        merged = self.channel_attention(merged + self.residual(merged))
        weight = self.spatial_attention(merged)
        return merged * (weight if self.attention == "gate" else 1 + weight)


class Nsfm(nn.Module):
    """Splits each level into a low and a high band, merges them over the levels and puts them together again:
    edges come from the high band with the shallowest level, masks from both, the low one with the deepest level.

    Args:
        level_channels: C_1 .. C_4.
        channels: Inner width n, a multiple of 4.
        hidden: SAM's width d.
        wavelets: Bands that are merged. "high" or "low" alone takes the place of both (Table X); "none" merges the
            levels undivided, and the edge head then widens to d, not the layer before it.
        edges: Whether there is an edge feature.
        attention: How spatial attention weighs the merged bands, see :class:`Aggregation`.
    """

    def __init__(
        self,
        level_channels: LevelChannels,
        channels: int,
        hidden: int,
        wavelets: Wavelets = "both",
        edges: bool = True,
        attention: BandAttention = "gate",
    ) -> None:
        super().__init__()
        self.level_channels = level_channels
        self.wavelets = wavelets
        masks = hidden // 8
        whole = wavelets == "none"
        merged, mined = (channels, channels) if whole else (channels // 4, hidden)
        self.inputs = nn.ModuleList(ConvBnRelu(width, channels, 1) for width in level_channels)
        self.low = None if wavelets == "high" else Aggregation(channels, attention)
        self.high = Aggregation(channels, attention) if wavelets in ("both", "high") else None
        self.low_with_deep = nn.Conv2d(merged + channels, channels, 1)
        self.high_with_shallow = nn.Conv2d(merged + channels, mined, 1)
        self.merge = nn.Conv2d(channels + mined, channels, 1)
        self.edge_head = nn.Conv2d(mined, hidden, 1) if edges else None
        self.mask_head = ConvBnRelu(channels, masks, 3)
        self.mask_upscale = nn.Sequential(
            nn.ConvTranspose2d(masks, masks, 2, 2),
            LayerNorm2d(masks),
            nn.GELU(),
            nn.ConvTranspose2d(masks, masks, 2, 2),
            LayerNorm2d(masks),
            nn.GELU(),
            nn.Conv2d(masks, masks, 3, padding=1),
        )

    def forward(self, levels: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """Mines I images.

        Args:
            levels: Four maps (I, g, g', C_k), shallow to deep; g and g' are even.

        Returns:
            Mask feature (I, d / 8, 4g, 4g') and, with edges, edge feature (I, d, g, g').

        Raises:
            DataError: The levels have other shapes.
        """
        self._check(levels)
        maps = [conv(x.permute(0, 3, 1, 2)) for conv, x in zip(self.inputs, levels, strict=True)]
        low, high = self._merge_bands(maps)
        high = self.high_with_shallow(torch.cat([high, maps[0]], dim=1))
        low = self.low_with_deep(torch.cat([low, maps[-1]], dim=1))
        mask = self.mask_upscale(self.mask_head(self.merge(torch.cat([high, low], dim=1))))
        return (mask,) if self.edge_head is None else (mask, self.edge_head(high))

    def _merge_bands(self, maps: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """The low and the high band of all levels on the grid; one and the same where only one is merged."""
        if self.wavelets == "none" and self.low is not None:
            merged = self.low(maps)
            return merged, merged
        low, high = zip(*map(haar, maps), strict=True)
        found = [
            F.pixel_shuffle(aggregation(bands), 2)
            for aggregation, bands in ((self.low, low), (self.high, high))
            if aggregation is not None
        ]
        return found[0], found[-1]

    def _check(self, levels: Sequence[torch.Tensor]) -> None:
        channels = tuple(level.shape[-1] for level in levels)
        if channels != tuple(self.level_channels):
            raise DataError(f"NSFM expects four levels with channels {self.level_channels}, got {channels}")
        height, width = levels[0].shape[1:3]
        if height % 2 or width % 2:
            raise DataError(
                f"NSFM halves the grid, so its sides must be even, got {height} x {width}",
                hint="take a model input whose sides are multiples of 32",
            )
