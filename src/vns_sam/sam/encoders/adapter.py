"""Adapters that teach a frozen image encoder (Table V, "+Encoder Adapter"): prompts made of the picture's high
frequencies and its patches, added to what flows through the encoder.

The ViT's is SAM-Adapter (Chen et al. 2023), which VNS-SAM cites; the tiny encoder's is the same idea on its stages.
Both start as exact no-ops. Shapes: I images, g x g' grid, r the adapter's width.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from vns_sam.sam.pointwise import PointwiseConv
from vns_sam.sam.recording import being_recorded

RATE = 0.25
"""Share of the spectrum's area, around its centre, that the high-pass removes."""


def high_frequencies(pixels: torch.Tensor, rate: float = RATE) -> torch.Tensor:
    """Magnitude of a picture without its low frequencies; half precision is widened.

    The rectangle of low frequencies is that of the rows' times that of the columns', so the picture is multiplied with
    one fixed matrix from each side: the same numbers as by two Fourier transforms, in a fraction of their time.

    Args:
        pixels: (I, 3, S, S') normalised.
        rate: Share of the spectrum's area that is removed: the centred square of side sqrt(S * S' * rate).

    Returns:
        (I, 3, S, S'), not negative.
    """
    wide = pixels if pixels.dtype == torch.float64 else pixels.float()
    height, width = pixels.shape[-2:]
    make = _low_pass if being_recorded() else _low_pass_once
    down, across = (make(*sides, rate, wide.device, wide.dtype) for sides in ((height, width), (width, height)))
    low = down.real @ wide @ across.real.mT - down.left @ (down.right.mT @ wide @ across.right) @ across.left.mT
    return (wide - low).abs_().to(pixels.dtype)


class _LowPass(NamedTuple):
    """The matrix that keeps the frequencies -half to half - 1 of a side. The lowest has no partner, so it is complex:
    ``real`` (S, S), and, of rank two, ``left @ right.mT``.
    """

    real: torch.Tensor
    left: torch.Tensor
    right: torch.Tensor


def _low_pass(side: int, other: int, rate: float, device: torch.device, dtype: torch.dtype) -> _LowPass:
    """For one side of a picture, told the other too, by sums of cosines in closed form: a graph that is recorded knows
    neither number.
    """
    places, across = (torch.arange(count, device=device).to(dtype) for count in (side, other))
    length = places[-1] + 1
    half = ((length * (across[-1] + 1) * rate).sqrt() / 2).floor()
    half = torch.minimum(half, (length / 2).floor())  # from there on all frequencies are kept

    def angle(halves: torch.Tensor) -> torch.Tensor:
        """So many half turns over the whole length, without the whole turns among them, which cost digits."""
        return torch.pi / length * (halves - 2 * length * (halves / (2 * length)).round())

    odd, phase = 2 * half - 1, angle(2 * half * places)
    near = torch.minimum(places, length - places)  # a row is even and goes round
    first = near == 0
    paired = torch.where(first, odd, angle(odd * near).sin() / torch.where(first, 1, angle(near).sin()))
    row = (paired + phase.cos()) / length
    left, right = (torch.stack(pair, dim=1) for pair in ((phase.sin(), phase.cos()), (phase.cos(), -phase.sin())))
    apart = (places[:, None] - places).abs().long()
    return _LowPass(row[apart], left / length, right)


_low_pass_once = lru_cache(maxsize=16)(torch.inference_mode(False)(_low_pass))


class VitAdapter(nn.Module):
    """SAM-Adapter: a prompt before every block, from one linear layer for each and one that all share.

    Args:
        channels: The ViT's width C; the adapter's is a 32nd of it.
        blocks: The ViT's depth.
        patch: Side of its patches in pixels.
    """

    def __init__(self, channels: int, blocks: int, patch: int = 16) -> None:
        super().__init__()
        width = max(1, channels // 32)
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.embed = nn.Linear(channels, width)
        self.mix = nn.ModuleList(nn.Linear(width, width) for _ in range(blocks))
        self.up = nn.Linear(width, channels)
        _silence(self.up)

    def cue(self, pixels: torch.Tensor, patches: torch.Tensor) -> torch.Tensor:
        """What all prompts are made of, (I, g, g', r), from pixels (I, 3, S, S') and patches (I, g, g', C)."""
        return self.patches(high_frequencies(pixels)).permute(0, 2, 3, 1) + self.embed(patches)

    def prompt(self, cue: torch.Tensor, block: int) -> torch.Tensor:
        """What is added to the tokens before a block, (I, g, g', C)."""
        return self.up(F.gelu(self.mix[block](cue)))


class TinyAdapter(nn.Module):
    """Prompts for the outputs of the tiny encoder's stages, from stride 4 on. Convolutional stages hand on no tokens
    that a shared cue could steer, so a prompt is made of the cue and of the stage's own output, mixed over 3 x 3 cells
    in a narrow layer. The stages differ in width, so each has its own.

    Args:
        channels: Channels of each stage's output.
        stem: Channels of the stem's output, at stride 2 or 4.
        first: The first stage with a prompt; its stride is 4.
        width: The adapter's width r.
    """

    def __init__(self, channels: tuple[int, ...], stem: int = 32, first: int = 1, width: int = 64) -> None:
        super().__init__()
        self.first = first
        self.patches = nn.Conv2d(3, width, 4, 4)
        self.embed = PointwiseConv(stem, width)
        self.down = nn.ModuleList(PointwiseConv(wide, width) for wide in channels[first:])
        self.mix = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1, groups=width) for _ in channels[first:])
        ups = [PointwiseConv(width, wide) for wide in channels[first:]]
        _silence(*ups)
        self.up = nn.ModuleList(ups)

    def cue(self, pixels: torch.Tensor, stem: torch.Tensor) -> torch.Tensor:
        """What all prompts share, (I, r, S / 4, S' / 4), from pixels (I, 3, S, S') and the stem's output."""
        seen = self.patches(high_frequencies(pixels).contiguous(memory_format=torch.channels_last))
        factor = stem.shape[-1] // seen.shape[-1]
        return seen + self.embed(F.avg_pool2d(stem, factor) if factor > 1 else stem)

    def add(self, output: torch.Tensor, cue: torch.Tensor, stage: int) -> tuple[torch.Tensor, torch.Tensor]:
        """A stage's output (I, C, h, w) and its prompt; and the cue (I, r, h, w) for the stages from here on."""
        if stage < self.first:
            return output, cue
        place, factor = stage - self.first, cue.shape[-1] // output.shape[-1]
        if factor > 1:
            cue = F.avg_pool2d(cue, factor)
        mixed = self.mix[place](cue + self.down[place](output))
        return output + self.up[place](F.gelu(mixed)), cue


EncoderAdapter = VitAdapter | TinyAdapter
"""One of them, to be given to the encoder it was made for."""


@torch.no_grad()
def weaken(adapter: EncoderAdapter, share: float) -> None:
    """Leaves an adapter a share of what it adds to the encoder: with 0 it is a no-op, with 1 nothing changes."""
    for parameter in adapter.up.parameters():
        parameter.mul_(share)


def _silence(*layers: nn.Linear | nn.Conv2d) -> None:
    for layer in layers:
        nn.init.zeros_(layer.weight)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
