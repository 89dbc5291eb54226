"""MobileSAM's image encoder: TinyViT, distilled from SAM's ViT-H (Zhang et al. 2023; Wu et al. 2022).

Module names are those of MobileSAM's published file, so its weights load as they are. Maps are kept channels last:
convolutions and attention then read the same memory. Shapes: I images, B maps, H x W cells, C channels, L = w * w cells
of a window.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self, cast

import torch
import torch.nn.functional as F
from torch import nn

from vns_sam.sam.architectures import TinyVitConfig
from vns_sam.sam.encoders.adapter import TinyAdapter
from vns_sam.sam.encoders.norms import WithStoredNorms
from vns_sam.sam.encoders.windows import merge, partition
from vns_sam.sam.mask_decoder import LayerNorm2d

STRIDE = 16
"""Of the embedding's grid."""
EXPANSION = 4
"""Of the convolution blocks and of the MLPs."""


class ConvNorm(nn.Module):
    """Convolution without bias and batch norm; padding keeps the size at stride 1."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.c = nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps (B, in_channels, H, W) to (B, out_channels, H / stride, W / stride). A norm with stored statistics is
        put into the convolution's weights, which cost less than its map.
        """
        mean, var = self.bn.running_mean, self.bn.running_var
        if self.bn.training or mean is None or var is None:
            return cast(torch.Tensor, self.bn(self.c(x)))
        scale = self.bn.weight * (var + self.bn.eps).rsqrt()
        weight, bias = self.c.weight * scale[:, None, None, None], self.bn.bias - mean * scale
        return F.conv2d(x, weight, bias, self.c.stride, self.c.padding, groups=self.c.groups)


class PatchEmbed(nn.Module):
    """Two convolutions of stride 2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.seq = nn.Sequential(ConvNorm(3, channels // 2, 3, 2), nn.GELU(), ConvNorm(channels // 2, channels, 3, 2))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Maps (I, 3, S, S') to (I, C, S / 4, S' / 4)."""
        return cast(torch.Tensor, self.seq(pixels))


class MbConv(nn.Module):
    """Inverted residual block; the activation comes after the sum."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        wide = EXPANSION * channels
        self.conv1 = ConvNorm(channels, wide)
        self.conv2 = ConvNorm(wide, wide, 3, groups=wide)
        self.conv3 = ConvNorm(wide, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Keeps the shape (B, C, H, W)."""
        return F.gelu(x + self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x))))))


class PatchMerging(nn.Module):
    """From one stage to the next: another width and, with stride 2, half the size."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(in_channels, out_channels)
        self.conv2 = ConvNorm(out_channels, out_channels, 3, stride, groups=out_channels)
        self.conv3 = ConvNorm(out_channels, out_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps (B, C, H, W) to (B, C', H / stride, W / stride)."""
        return cast(torch.Tensor, self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x))))))


class WindowAttention(nn.Module):
    """Multi-head attention among the cells of a window, with a learned bias for each distance of two cells.

    Attributes:
        attention_biases: (heads, w * w), by the distance down times w plus the distance across.
    """

    def __init__(self, channels: int, heads: int, side: int) -> None:
        super().__init__()
        self.heads, self.side = heads, side
        self.norm = nn.LayerNorm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        self.attention_biases = nn.Parameter(torch.zeros(heads, side * side))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Keeps the shape (B, L, C). A head's query, key and value lie side by side in ``qkv``."""
        q, k, v = self.qkv(self.norm(x)).unflatten(-1, (self.heads, 3, -1)).permute(3, 0, 2, 1, 4)
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=self._bias())
        return cast(torch.Tensor, self.proj(attended.transpose(1, 2).flatten(2)))

    def _bias(self) -> torch.Tensor:
        """The bias of each pair of cells, (1, heads, L, L)."""
        place = torch.arange(self.side, device=self.attention_biases.device)
        apart = (place[:, None] - place).abs()
        pairs = self.side * apart[:, None, :, None] + apart[None, :, None, :]
        return self.attention_biases[:, pairs.flatten()].view(1, self.heads, self.side**2, self.side**2)


class Mlp(nn.Module):
    """Norm, two linear layers, GELU between."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.fc1 = nn.Linear(channels, EXPANSION * channels)
        self.fc2 = nn.Linear(EXPANSION * channels, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Keeps the shape (..., C)."""
        return cast(torch.Tensor, self.fc2(F.gelu(self.fc1(self.norm(x)))))


class TinyVitBlock(nn.Module):
    """Attention in windows, a depthwise convolution over their borders, an MLP.

    The map is padded to whole windows before the attention's norm, as the authors do: padding is no zero to a cell.
    """

    def __init__(self, channels: int, heads: int, side: int) -> None:
        super().__init__()
        self.attn = WindowAttention(channels, heads, side)
        self.local_conv = ConvNorm(channels, channels, 3, groups=channels)
        self.mlp = Mlp(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Keeps the shape (B, C, H, W)."""
        cells, side = x.permute(0, 2, 3, 1), self.attn.side
        windows = partition(cells, side)
        attended = self.attn(windows.flatten(1, 2)).view_as(windows)
        cells = cells + merge(attended, cells.shape[1], cells.shape[2])
        cells = self.local_conv(cells.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return (cells + self.mlp(cells)).permute(0, 3, 1, 2)


class Stage(nn.Module):
    """Blocks, and what leads to the next stage; the last has None."""

    def __init__(self, blocks: list[nn.Module], downsample: PatchMerging | None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.downsample = downsample

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Runs the blocks on (B, C, H, W)."""
        for block in self.blocks:
            x = block(x)
        return x

    def leave(self, x: torch.Tensor) -> torch.Tensor:
        """What the next stage takes."""
        return x if self.downsample is None else cast(torch.Tensor, self.downsample(x))


class TinyVitEncoder(WithStoredNorms):
    """TinyViT and SAM's neck. Batch norms use their stored statistics always: batches of a promptable model are mixed.

    Args:
        architecture: Widths and depths.
        hidden_size: Channels of the embedding.
    """

    def __init__(self, architecture: TinyVitConfig, hidden_size: int = 256) -> None:
        super().__init__()
        widths, side = architecture.widths, architecture.windows
        self.patch_embed = PatchEmbed(widths[0])
        self.layers = nn.ModuleList()
        for i, (width, depth, heads) in enumerate(zip(widths, architecture.depths, architecture.heads, strict=True)):
            blocks: list[nn.Module] = [
                TinyVitBlock(width, heads, side[i]) if i else MbConv(width) for _ in range(depth)
            ]
            down = PatchMerging(width, widths[i + 1], 2 if i < 2 else 1) if i < 3 else None
            self.layers.append(Stage(blocks, down))
        self.neck = nn.Sequential(
            nn.Conv2d(widths[-1], hidden_size, 1, bias=False),
            LayerNorm2d(hidden_size),
            nn.Conv2d(hidden_size, hidden_size, 3, padding=1, bias=False),
            LayerNorm2d(hidden_size),
        )

    @classmethod
    def for_sam(cls, backbone: TinyVitConfig, hidden_size: int, image_size: int) -> Self:
        """The encoder of a SAM; its weights do not depend on the input's side ``image_size``."""
        return cls(backbone, hidden_size)

    @staticmethod
    def adapter_for(backbone: TinyVitConfig) -> TinyAdapter:
        """A fresh adapter for it."""
        return TinyAdapter(backbone.widths, stem=backbone.widths[0], first=0)

    def forward(
        self, pixels: torch.Tensor, adapter: TinyAdapter | None = None
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        """Encodes pixels (I, 3, S, S'), normalised; an adapter's prompts are added to the stages' outputs.

        Returns:
            The embedding (I, hidden_size, S / 16, S' / 16), and the outputs of the four stages on its grid, (I, S / 16,
            S' / 16, C_k), the finer ones folded into channels.
        """
        x = self.patch_embed(pixels.contiguous(memory_format=torch.channels_last))
        cue = None if adapter is None else adapter.cue(pixels, x)
        maps = []
        for i, stage in enumerate(cast(list[Stage], list(self.layers))):
            x = stage(x)
            if adapter is not None and cue is not None:
                x, cue = adapter.add(x, cue, i)
            maps.append(x)
            x = stage.leave(x)
        levels = (F.pixel_unshuffle(maps[0], 4), F.pixel_unshuffle(maps[1], 2), maps[2], maps[3])
        return self.neck(x), tuple(level.permute(0, 2, 3, 1) for level in levels)

    def third_entry(self, levels: Sequence[torch.Tensor]) -> torch.Tensor:
        """What entered the third stage, (I, S / 16, S' / 16, C), from the levels that :meth:`forward` gave without an
        adapter: HQ-SAM light reads it.
        """
        second = F.pixel_shuffle(levels[1].permute(0, 3, 1, 2), 2)
        return cast(Stage, self.layers[1]).leave(second).permute(0, 2, 3, 1)
