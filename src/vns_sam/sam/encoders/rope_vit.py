"""SAM 3's image encoder: a ViT with rotary positions and a simple pyramid (Carion et al. 2025; Li et al. 2022).

Shapes: I images, B maps or windows, H x W cells, C channels, h heads, d channels of a head.
"""

from __future__ import annotations

from typing import Self, cast

import torch
import torch.nn.functional as F
from torch import nn

from vns_sam.sam.architectures import RopeVitConfig
from vns_sam.sam.encoders.adapter import VitAdapter
from vns_sam.sam.encoders.windows import in_strips, merge, partition

EPS = 1e-6


def rotations(height: int, width: int, channels: int, theta: float, scale: float) -> torch.Tensor:
    """Angles by which a head's pairs of channels are turned: half of them by the column, half by the row.

    Args:
        height: Rows of the map attended over.
        width: Its columns.
        channels: Of a head, d, a multiple of 4.
        theta: Base of the frequencies.
        scale: Cells are this far apart: less than 1 fits the whole grid into the range of one window.

    Returns:
        Cosines and sines, (2, H * W, d / 2).
    """
    frequencies = theta ** -(torch.arange(0, channels // 2, 2).float() / (channels // 2))
    y, x = torch.meshgrid(torch.arange(height).float(), torch.arange(width).float(), indexing="ij")
    angles = torch.cat([(place.flatten() * scale)[:, None] * frequencies for place in (x, y)], dim=-1)
    return torch.stack([angles.cos(), angles.sin()])


class RotaryAttention(nn.Module):
    """Multi-head attention over all cells of a map or window, whose queries and keys are turned by their place."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, x: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
        """Keeps the shape (B, H, W, C); turns (2, H * W, d / 2)."""
        split = self.qkv(x.flatten(1, 2)).unflatten(-1, (3, self.heads, -1))
        q, k, v = split.permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(_turn(q, turns), _turn(k, turns), v)
        return cast(torch.Tensor, self.proj(attended.transpose(1, 2).flatten(2)).view_as(x))


class Mlp(nn.Module):
    """Two linear layers, GELU between."""

    def __init__(self, channels: int, wide: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, wide)
        self.fc2 = nn.Linear(wide, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Keeps the shape (..., C)."""
        return cast(torch.Tensor, self.fc2(F.gelu(self.fc1(x))))


class RopeBlock(nn.Module):
    """A transformer block in windows, or over the whole map where ``window`` is 0."""

    def __init__(self, channels: int, heads: int, mlp: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.norm1 = nn.LayerNorm(channels, EPS)
        self.attn = RotaryAttention(channels, heads)
        self.norm2 = nn.LayerNorm(channels, EPS)
        self.mlp = Mlp(channels, mlp)

    def forward(self, x: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
        """Keeps the shape (B, H, W, C)."""
        return in_strips(x, self.window, lambda part: self._attend(part, turns), self._add_mlp)

    def _attend(self, x: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
        normed = self.norm1(x)
        if self.window:
            return x + merge(self.attn(partition(normed, self.window), turns), x.shape[1], x.shape[2])
        return cast(torch.Tensor, x + self.attn(normed, turns))

    def _add_mlp(self, x: torch.Tensor) -> torch.Tensor:
        return cast(torch.Tensor, x + self.mlp(self.norm2(x)))


class PyramidLayer(nn.Module):
    """The last map at 4, 2 or 1 times its size, in the pyramid's width."""

    def __init__(self, channels: int, hidden_size: int, doublings: int) -> None:
        super().__init__()
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(channels >> step, channels >> (step + 1), 2, 2) for step in range(doublings)
        )
        self.proj1 = nn.Conv2d(channels >> doublings, hidden_size, 1)
        self.proj2 = nn.Conv2d(hidden_size, hidden_size, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps (I, C, g, g') to (I, hidden_size, s * g, s * g'); GELU between two enlargements alone."""
        for step, up in enumerate(self.up):
            x = up(F.gelu(x) if step else x)
        return cast(torch.Tensor, self.proj2(self.proj1(x)))


class RopeVitEncoder(nn.Module):
    """The ViT, the pyramid of SAM 3's tracker, and its mark of a picture without a past.

    Attributes:
        patch_embed: Patches, without bias.
        pos_embed: (1, n * n, C) positions of the grid that the ViT was pretrained on, tiled over the picture.
        norm: Before the first block.
        pyramid: At strides 3.5, 7 and 14.
        finer: From the finer two to what the decoder adds when it upscales.
        no_memory: (1, 1, hidden_size), added to the embedding: there is no earlier frame.
    """

    def __init__(self, architecture: RopeVitConfig, hidden_size: int = 256) -> None:
        super().__init__()
        self.architecture = architecture
        width, patch = architecture.width, architecture.patch
        self.patch_embed = nn.Conv2d(3, width, patch, patch, bias=False)
        self.pos_embed = nn.Parameter(torch.zeros(1, architecture.pretrained_grid**2, width))
        self.norm = nn.LayerNorm(width, EPS)
        self.blocks = nn.ModuleList(
            RopeBlock(
                width,
                architecture.heads,
                architecture.mlp,
                0 if index in architecture.global_blocks else architecture.window,
            )
            for index in range(architecture.depth)
        )
        self.pyramid = nn.ModuleList(PyramidLayer(width, hidden_size, doublings) for doublings in (2, 1, 0))
        self.finer = nn.ModuleList(nn.Conv2d(hidden_size, hidden_size // part, 1) for part in (8, 4))
        self.no_memory = nn.Parameter(torch.zeros(1, 1, hidden_size))

    @classmethod
    def for_sam(cls, backbone: RopeVitConfig, hidden_size: int, image_size: int) -> Self:
        """The encoder of a SAM; its weights do not depend on the input's side ``image_size``."""
        return cls(backbone, hidden_size)

    @staticmethod
    def adapter_for(backbone: RopeVitConfig) -> VitAdapter:
        """A fresh adapter for it."""
        return VitAdapter(backbone.width, backbone.depth, backbone.patch)

    def forward(
        self, pixels: torch.Tensor, adapter: VitAdapter | None = None
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, ...], torch.Tensor, torch.Tensor]:
        """Encodes pixels (I, 3, S, S'), normalised; an adapter's prompts are added before every block.

        Returns:
            The embedding (I, C, g, g') at the patches' stride, the outputs of the global blocks as four levels (I, g,
            g', width), and two finer maps for the decoder, (I, C / 8, 4g, 4g') and (I, C / 4, 2g, 2g').
        """
        patches = self.patch_embed(pixels).permute(0, 2, 3, 1)
        height, width = patches.shape[1:3]
        cue = None if adapter is None else adapter.cue(pixels, patches)
        x = self.norm(patches + self._positions(height, width))
        turns = self._turns(height, width, x.device)
        levels = []
        for index, block in enumerate(self.blocks):
            if adapter is not None and cue is not None:
                x = x + adapter.prompt(cue, index)
            x = block(x, turns[index not in self.architecture.global_blocks])
            if index in self.architecture.global_blocks:
                levels.append(x)
        last = x.permute(0, 3, 1, 2)
        fine, middle, embedding = (layer(last) for layer in self.pyramid)
        embedding = embedding + self.no_memory.transpose(1, 2)[..., None]
        return embedding, tuple(levels), self.finer[0](fine), self.finer[1](middle)

    def _positions(self, height: int, width: int) -> torch.Tensor:
        """Learned positions (1, g, g', C), tiled from the top left."""
        side = self.architecture.pretrained_grid
        grid = self.pos_embed.unflatten(1, (side, side))
        return grid.tile(1, -(-height // side), -(-width // side), 1)[:, :height, :width]

    def _turns(self, height: int, width: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Rotations over the whole grid, and within a window."""
        one = self.architecture
        channels = one.width // one.heads
        whole = rotations(height, width, channels, one.theta, one.window / width)
        return whole.to(device), rotations(one.window, one.window, channels, one.theta, 1.0).to(device)


def _turn(x: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
    """Turns neighbouring channels of (B, h, L, d) as pairs."""
    first, second = x.unflatten(-1, (-1, 2)).unbind(-1)
    cosines, sines = turns.to(x.dtype)
    return torch.stack([first * cosines - second * sines, first * sines + second * cosines], dim=-1).flatten(-2)
