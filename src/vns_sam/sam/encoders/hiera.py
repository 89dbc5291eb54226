"""SAM 2's image encoder: Hiera and a feature pyramid (Ravi et al. 2024, section 4; Ryali et al. 2023).

Transformers' class of the same network computes an attention that it throws away and position encodings that nothing
reads; this one does neither, and imports in no time. Shapes: I images, B maps or windows, H x W cells, C channels.
"""

from __future__ import annotations

from typing import Self, cast

import torch
import torch.nn.functional as F
from torch import nn

from vns_sam.sam.architectures import HieraConfig
from vns_sam.sam.encoders.adapter import TinyAdapter
from vns_sam.sam.encoders.windows import in_strips, merge, partition

EPS = 1e-6
"""Of the trunk's layer norms."""


class PoolingAttention(nn.Module):
    """Multi-head attention over all cells of a map or window; with pooling its queries, and so its output, are half as
    many in each direction.
    """

    def __init__(self, in_channels: int, out_channels: int, heads: int, *, pool: bool) -> None:
        super().__init__()
        self.heads, self.pool = heads, pool
        self.qkv = nn.Linear(in_channels, 3 * out_channels)
        self.proj = nn.Linear(out_channels, out_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps (B, H, W, C) to (B, H, W, C'), or to (B, H / 2, W / 2, C') with pooling."""
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        q = halve(q) if self.pool else q
        split = [y.flatten(1, 2).unflatten(-1, (self.heads, -1)).transpose(1, 2) for y in (q, k, v)]
        attended = F.scaled_dot_product_attention(*split)
        return cast(torch.Tensor, self.proj(attended.transpose(1, 2).flatten(2)).unflatten(1, q.shape[1:3]))


class Mlp(nn.Module):
    """Two linear layers, GELU between."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(channels, 4 * channels), nn.Linear(4 * channels, channels)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Keeps the shape (..., C)."""
        return cast(torch.Tensor, self.layers[1](F.gelu(self.layers[0](x))))


class HieraBlock(nn.Module):
    """A transformer block in windows or over the whole map; the first of a stage changes the width and may pool.

    Args:
        in_channels, out_channels, heads: Widths and attention heads.
        window: Side of the windows in cells of the input; 0 attends over the whole map.
        pool: Whether the output is half the input's size.
    """

    def __init__(self, in_channels: int, out_channels: int, heads: int, window: int, *, pool: bool) -> None:
        super().__init__()
        self.window, self.pool = window, pool
        self.norm1 = nn.LayerNorm(in_channels, EPS)
        self.attn = PoolingAttention(in_channels, out_channels, heads, pool=pool)
        self.norm2 = nn.LayerNorm(out_channels, EPS)
        self.mlp = Mlp(out_channels)
        self.proj = nn.Linear(in_channels, out_channels) if in_channels != out_channels else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps (B, H, W, C) to (B, H, W, C'), or to (B, H / 2, W / 2, C') with pooling."""
        return in_strips(x, self.window, self._attend, self._add_mlp)

    def _attend(self, x: torch.Tensor) -> torch.Tensor:
        normed = self.norm1(x)
        if self.proj is not None:
            x = self.proj(normed)
        x = halve(x) if self.pool else x
        if self.window:
            return x + merge(self.attn(partition(normed, self.window)), x.shape[1], x.shape[2])
        return cast(torch.Tensor, x + self.attn(normed))

    def _add_mlp(self, x: torch.Tensor) -> torch.Tensor:
        return cast(torch.Tensor, x + self.mlp(self.norm2(x)))


class HieraEncoder(nn.Module):
    """Hiera, the pyramid's maps that SAM 2's image decoder reads, and its mark of a picture without a past.

    Attributes:
        patch_embed: Patches of 7 x 7 pixels, 4 apart.
        pos_embed, pos_embed_window: Positions: a coarse grid stretched over the picture and a tile that is repeated.
        blocks: Of all stages; ``ends`` are the numbers of each stage's last.
        laterals: To the pyramid's width from each stage, the deepest first, as in the published files.
        finer: From the pyramid's maps at stride 4 and 8 to what the decoder adds when it upscales. The two maps are
            linear in the stages' outputs, so both steps are done as one.
        no_memory: (1, 1, hidden_size), added to the embedding: there is no earlier frame.
    """

    def __init__(self, architecture: HieraConfig, hidden_size: int = 256) -> None:
        super().__init__()
        widths, windows = architecture.widths, architecture.windows
        self.patch_embed = nn.Conv2d(3, widths[0], 7, 4, 3)
        self.pos_embed = nn.Parameter(torch.zeros(1, widths[0], architecture.background, architecture.background))
        self.pos_embed_window = nn.Parameter(torch.zeros(1, widths[0], windows[0], windows[0]))
        self.blocks, self.ends = nn.ModuleList(), list[int]()
        for stage, depth in enumerate(architecture.depths):
            for place in range(depth):
                before = stage - 1 if stage and not place else stage
                window = 0 if len(self.blocks) in architecture.global_blocks else windows[before]
                shape = (widths[before], widths[stage], architecture.heads[stage], window)
                self.blocks.append(HieraBlock(*shape, pool=before < stage))
            self.ends.append(len(self.blocks) - 1)
        self.laterals = nn.ModuleList(nn.Conv2d(width, hidden_size, 1) for width in reversed(widths))
        self.finer = nn.ModuleList(nn.Conv2d(hidden_size, hidden_size // part, 1) for part in (8, 4))
        self.no_memory = nn.Parameter(torch.zeros(1, 1, hidden_size))

    @classmethod
    def for_sam(cls, backbone: HieraConfig, hidden_size: int, image_size: int) -> Self:
        """The encoder of a SAM; its weights do not depend on the input's side ``image_size``."""
        return cls(backbone, hidden_size)

    @staticmethod
    def adapter_for(backbone: HieraConfig) -> TinyAdapter:
        """A fresh adapter for it."""
        return TinyAdapter(backbone.widths, stem=backbone.widths[0], first=0)

    def forward(
        self, pixels: torch.Tensor, adapter: TinyAdapter | None = None
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, ...], torch.Tensor, torch.Tensor]:
        """Encodes pixels (I, 3, S, S'), normalised; an adapter's prompts are added to the stages' outputs.

        Returns:
            The embedding (I, C, g, g') at stride 16; the stages' outputs as four levels (I, g, g', C_k) on its grid,
            the finer ones folded into channels and the coarsest stretched; and two finer maps for the decoder, (I, C /
            8, 4g, 4g') and (I, C / 4, 2g, 2g').
        """
        patches = self.patch_embed(pixels)
        cue = None if adapter is None else adapter.cue(pixels, patches)
        x = patches.permute(0, 2, 3, 1) + self._positions(patches.shape[-2:])
        maps: list[torch.Tensor] = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index == self.ends[len(maps)]:
                if adapter is not None and cue is not None:
                    prompted, cue = adapter.add(x.permute(0, 3, 1, 2), cue, len(maps))
                    x = prompted.permute(0, 2, 3, 1)
                maps.append(x.permute(0, 3, 1, 2))
                if len(maps) == len(self.ends):
                    break
        coarse = F.interpolate(self.laterals[0](maps[3]), scale_factor=2.0, mode="nearest")
        embedding = self.laterals[1](maps[2]) + coarse + self.no_memory.transpose(1, 2)[..., None]
        return embedding, self._levels(maps), self._finer(maps[0], 0), self._finer(maps[1], 1)

    def _positions(self, size: torch.Size) -> torch.Tensor:
        """Positions (1, H, W, C) of a grid of patches whose sides are multiples of the first window's."""
        side = self.pos_embed_window.shape[-1]
        stretched = F.interpolate(self.pos_embed, size=tuple(size), mode="bicubic")
        tiled = self.pos_embed_window.tile(1, 1, size[0] // side, size[1] // side)
        return (stretched + tiled).permute(0, 2, 3, 1)

    def _finer(self, stage: torch.Tensor, place: int) -> torch.Tensor:
        """A stage's map through its lateral and the decoder's convolution, both 1 x 1, as one."""
        lateral, last = cast(nn.Conv2d, self.laterals[3 - place]), cast(nn.Conv2d, self.finer[place])
        after = last.weight.flatten(1)
        weight = after @ lateral.weight.flatten(1)
        if lateral.bias is None or last.bias is None:
            raise TypeError("the pyramid's convolutions have biases")
        return F.conv2d(stage, weight[:, :, None, None], after @ lateral.bias + last.bias)

    @staticmethod
    def _levels(maps: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        grid = maps[2].shape[-2:]
        stretched = F.interpolate(maps[3], size=tuple(grid), mode="bilinear", align_corners=False)
        levels = (F.pixel_unshuffle(maps[0], 4), F.pixel_unshuffle(maps[1], 2), maps[2], stretched)
        return tuple(level.permute(0, 2, 3, 1) for level in levels)


def halve(x: torch.Tensor) -> torch.Tensor:
    """The largest of each 2 x 2 cells of (B, H, W, C)."""
    return F.max_pool2d(x.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)
