"""Cutting a map into square windows to attend in, and putting them together again.

Shapes: B maps, H x W cells, C channels, n windows of a map, w a window's side.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F

from vns_sam.sam.encoders.relative_attention import piecewise

STRIP_CELLS = 2048
"""Cells of a strip, about: what a block makes of them stays in a CPU's caches."""


def strips(x: torch.Tensor, side: int = 1) -> tuple[torch.Tensor, ...]:
    """Cuts (B, H, W, C) into strips of whole rows of windows where work is done in pieces: what a block makes of a
    window, and what an MLP makes of a cell, knows nothing of the others.
    """
    if not piecewise(x):
        return (x,)
    return x.split(side * max(1, STRIP_CELLS // (side * x.shape[2])), dim=1)


def in_strips(
    x: torch.Tensor,
    window: int,
    attend: Callable[[torch.Tensor], torch.Tensor],
    add_mlp: Callable[[torch.Tensor], torch.Tensor],
) -> torch.Tensor:
    """A block on (B, H, W, C): attention within windows of ``window`` cells, strip by strip, or over the whole where
    that is 0, then the MLP, which is always done by strips.
    """
    if window:
        return torch.cat([add_mlp(attend(strip)) for strip in strips(x, window)], dim=1)
    return torch.cat([add_mlp(strip) for strip in strips(attend(x))], dim=1)


def partition(x: torch.Tensor, side: int) -> torch.Tensor:
    """Cuts (B, H, W, C) into windows (B * n, side, side, C), row by row; at the right and the bottom it is padded with
    zeros to whole windows.
    """
    maps, height, width, channels = x.shape
    down, across = -height % side, -width % side
    if down or across:
        x = F.pad(x, (0, 0, 0, across, 0, down))
    rows, columns = (height + down) // side, (width + across) // side
    x = x.reshape(maps, rows, side, columns, side, channels).transpose(2, 3)
    return x.reshape(-1, side, side, channels)


def merge(windows: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Inverse of :func:`partition`: windows (B * n, w, w, C) become (B, height, width, C), without the padding."""
    side, channels = windows.shape[1], windows.shape[-1]
    rows, columns = -(-height // side), -(-width // side)
    x = windows.reshape(-1, rows, columns, side, side, channels).transpose(2, 3)
    return x.reshape(-1, rows * side, columns * side, channels)[:, :height, :width]
