"""The ViT of SAM's image encoder, most of whose blocks attend in windows (Li et al. 2022, Kirillov et al. 2023).

Its modules have the names of transformers' ``SamVisionEncoder``, so that a checkpoint's ``vision_encoder.*`` keys fit.
On a CPU a block works in strips of the grid: a window never looks beyond its row of windows, and where a block attends
over the whole grid its keys and values are made once for all strips. So what is in hand stays in the caches, nothing
as large as grid x MLP or grid x grid ever exists, and no cell that only pads a window is computed.

Shapes: I images, g x g' grid, C channels, strips of h x g' cells, n windows of side w, M maps of a head, d wide.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from vns_sam.sam.encoders.relative_attention import attend, distances, piecewise
from vns_sam.sam.mask_decoder import LayerNorm2d

STRIP_CELLS = 1024
"""Cells in a strip of a block without windows, about: products of matrices are at their best from there on."""
EPS = 1e-6


class Attention(nn.Module):
    """Multi-head attention with relative positions.

    Args:
        channels: C.
        heads: Heads, a divisor of C.
        side: Side of the grid or of the windows it attends over.
    """

    def __init__(self, channels: int, heads: int, side: int) -> None:
        super().__init__()
        self.heads, self.side, self.scale = heads, side, (channels // heads) ** -0.5
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * side - 1, channels // heads))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * side - 1, channels // heads))

    def keys_and_values(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Of whole grids (I, g, g, C), once for all their strips: each (I * heads, g * g, d)."""
        channels = self.proj.in_features
        both = F.linear(x, self.qkv.weight[channels:], self.qkv.bias[channels:])
        maps = both.unflatten(-1, (2, self.heads, -1)).permute(3, 0, 4, 1, 2, 5)
        keys, values = maps.flatten(3, 4).flatten(1, 2).contiguous().unbind()
        return keys, values

    def over_grid(self, x: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, first: int) -> torch.Tensor:
        """Attends from a strip (I, h, g, C) that begins at the grid's row ``first`` to the whole grid."""
        channels = self.proj.in_features
        q = F.linear(x, self.qkv.weight[:channels], self.qkv.bias[:channels]).unflatten(-1, (self.heads, -1))
        q = q.permute(0, 3, 1, 2, 4).flatten(0, 1)
        attended = self._attend(q, keys, values, first).unflatten(0, (x.shape[0], self.heads))
        return self.proj(attended.permute(0, 2, 3, 1, 4).flatten(3))

    def in_windows(self, x: torch.Tensor) -> torch.Tensor:
        """Attends within the windows of (I, h, g', C), where h begins with a row of windows.

        Windows at the right and at the bottom may reach beyond the grid.
        """
        rows = _whole_and_rest(self.qkv(x), self.side, dim=1)
        attended = [[self._equal_windows(part) for part in _whole_and_rest(row, self.side, dim=2)] for row in rows]
        return self.proj(torch.cat([torch.cat(row, dim=2) for row in attended], dim=1))

    def _equal_windows(self, qkv: torch.Tensor) -> torch.Tensor:
        """From (I, h, h', 3 * C), all of whose windows have one size, w x w or what of it lies in the grid, to
        (I, h, h', C).
        """
        images, height, width, _ = qkv.shape
        high, wide = min(height, self.side), min(width, self.side)
        cells = qkv.unflatten(-1, (3, self.heads, -1)).unflatten(2, (-1, wide)).unflatten(1, (-1, high))
        q, k, v = cells.permute(5, 0, 1, 3, 6, 2, 4, 7).flatten(1, 3).unbind()
        _, key_bias, value_bias = self.qkv.bias.unflatten(0, (3, self.heads, -1)).unbind()
        keys, values = (self._whole_windows(x, bias) for x, bias in ((k, key_bias), (v, value_bias)))
        attended = self._attend(q.flatten(0, 1), keys, values, 0)
        attended = attended.unflatten(0, (images, height // high, width // wide, self.heads))
        return attended.permute(0, 1, 4, 2, 5, 3, 6).reshape(images, height, width, -1)

    def _whole_windows(self, cells: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """Keys or values (n, heads, h, h', d) of windows as (n * heads, w * w, d). Cells beyond the grid are zero
        before ``qkv``, so they have its bias (heads, d).
        """
        if cells.shape[2:4] != (self.side, self.side):
            inside = cells
            cells = bias[None, :, None, None].repeat(inside.shape[0], 1, self.side, self.side, 1)
            cells[:, :, : inside.shape[2], : inside.shape[3]] = inside
        return cells.flatten(2, 3).flatten(0, 1)

    def _attend(self, q: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, first: int) -> torch.Tensor:
        down = distances(self.rel_pos_h, first, q.shape[1])
        across = distances(self.rel_pos_w, 0, q.shape[2])
        return attend(q, keys, values, down, across, self.scale)


class Mlp(nn.Module):
    """Two linear layers with GELU between."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.lin1 = nn.Linear(channels, width)
        self.lin2 = nn.Linear(width, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Keeps the shape (..., C)."""
        return self.lin2(F.gelu(self.lin1(x)))


class Block(nn.Module):
    """Attention and MLP, each after a norm and added to what came in.

    Args:
        channels: C.
        heads: Heads of the attention.
        mlp: Width of the MLP.
        grid: Side of the grid.
        window: Side of the windows, 0 for attention over the whole grid.
    """

    def __init__(self, channels: int, heads: int, mlp: int, grid: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.layer_norm1 = nn.LayerNorm(channels, EPS)
        self.attn = Attention(channels, heads, window or grid)
        self.layer_norm2 = nn.LayerNorm(channels, EPS)
        self.mlp = Mlp(channels, mlp)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Keeps the shape (I, g, g', C)."""
        if self.window:
            strips = x.split(self.window if piecewise(x) else x.shape[1], dim=1)
            parts = [self._add(strip, self.attn.in_windows(self.layer_norm1(strip))) for strip in strips]
        else:
            rows = max(1, STRIP_CELLS // x.shape[2]) if piecewise(x) else x.shape[1]
            keys, values = self.attn.keys_and_values(self.layer_norm1(x))
            parts = [
                self._add(strip, self.attn.over_grid(self.layer_norm1(strip), keys, values, number * rows))
                for number, strip in enumerate(x.split(rows, dim=1))
            ]
        return torch.cat(parts, dim=1)

    def _add(self, x: torch.Tensor, attended: torch.Tensor) -> torch.Tensor:
        x = x + attended
        return x + self.mlp(self.layer_norm2(x))


class Patches(nn.Module):
    """Pixels to tokens: one linear layer on square patches."""

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        self.projection = nn.Conv2d(3, channels, side, side)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Maps (I, 3, S, S') to (I, g, g', C)."""
        return self.projection(pixels).permute(0, 2, 3, 1)


class Neck(nn.Module):
    """Brings the last tokens to the channels of the embedding."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 1, bias=False)
        self.layer_norm1 = LayerNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.layer_norm2 = LayerNorm2d(out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps (I, g, g', C) to (I, out, g, g')."""
        x = self.layer_norm1(self.conv1(x.permute(0, 3, 1, 2)))
        return self.layer_norm2(self.conv2(x))


class VisionTransformer(nn.Module):
    """Patches, positions, blocks and neck; who runs them takes what comes between, see ``VitEncoder``.

    Args:
        channels: C.
        heads: Heads of every block.
        whole: Numbers of blocks, True where one attends over the whole grid.
        window: Side of the other blocks' windows, in grid cells.
        mlp: Width of the blocks' MLPs.
        image_size: Side of the square input in pixels.
        out: Channels of the embedding.
        patch: Side of a patch in pixels.
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        whole: tuple[bool, ...],
        window: int,
        mlp: int,
        image_size: int,
        out: int = 256,
        patch: int = 16,
    ) -> None:
        super().__init__()
        grid = image_size // patch
        self.patch_embed = Patches(channels, patch)
        self.pos_embed = nn.Parameter(torch.zeros(1, grid, grid, channels))
        self.layers = nn.ModuleList(Block(channels, heads, mlp, grid, 0 if all_ else window) for all_ in whole)
        self.neck = Neck(channels, out)


def _whole_and_rest(x: torch.Tensor, side: int, dim: int) -> list[torch.Tensor]:
    """Cuts a dimension into what whole windows cover and the narrower rest, of which either may be missing."""
    whole = x.shape[dim] // side * side
    sizes = [size for size in (whole, x.shape[dim] - whole) if size]
    return list(x.split(sizes, dim=dim))
