"""Pictures of any size through a generator, band by band, with the result of the whole.

An instance norm takes its statistics from the picture, so a tile alone comes out in another tone than its neighbours.
Here each norm first gathers its statistics over all bands; then bands are translated with these, overlapping by the
reach of the convolutions. The result is that of the whole picture in one piece, up to rounding: there is nothing to
blend. Only maps on the stride-4 grid are kept whole; finer ones, at which memory is lost, are computed anew for each
norm, which costs about a fifth more time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np
import torch
from torch import nn

from vns_sam.lowlight.generator import ResnetBlock, ResnetGenerator

BAND = 16 * 2**20
"""Numbers in the largest map of a band: 64 MiB."""

STRIDE = 4
SMALLEST = 8
"""Least side, in pixels, that the reflected convolutions take."""

_HALO = 8
"""Rows by which bands overlap at each end, a multiple of the stride; the head reaches 6 rows, the tail 3."""


class _SettledNorm(nn.Module):
    """An instance norm with given statistics."""

    def __init__(self, mean: torch.Tensor, scale: torch.Tensor) -> None:
        super().__init__()
        self.mean, self.scale = mean, scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x - self.mean) * self.scale


@torch.inference_mode()
def translate(generator: ResnetGenerator, image: np.ndarray, *, band: int = BAND) -> np.ndarray:
    """Translates a picture of any size.

    Args:
        generator: In evaluation mode; its device is used.
        image: (H, W, 3) uint8 RGB.
        band: Numbers in the largest map of a band; memory beside three maps (4 ngf, H / 4, W / 4) is a few times this.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    height, width = image.shape[:2]
    device = next(generator.parameters()).device
    pixels = torch.from_numpy(_padded(image)).to(device).permute(2, 0, 1)[None].float() / 127.5 - 1
    made = translate_pixels(generator, pixels, band=band)[0, :, :height, :width]
    return ((made + 1) * 127.5).round().clamp(0, 255).byte().permute(1, 2, 0).contiguous().cpu().numpy()


def translate_pixels(generator: ResnetGenerator, pixels: torch.Tensor, *, band: int = BAND) -> torch.Tensor:
    """:meth:`ResnetGenerator.forward` for one picture (1, 3, H, W), with memory as told at :func:`translate`."""
    width = generator.config.ngf
    if pixels.shape[-2] * pixels.shape[-1] * width <= band:
        return generator(pixels)
    layers = list(generator.model)
    blocks = [layer for layer in layers if isinstance(layer, ResnetBlock)]
    first = layers.index(blocks[0])
    x = _run(layers[:first], pixels, _rows(pixels, width, band))
    rows = _rows(x, 4 * width, band)
    for block in blocks:
        x += _run_block(list(block.conv_block), x, rows)
    return _run(layers[first + len(blocks) :], x, _rows(x, width * STRIDE**2, band))


def _padded(image: np.ndarray) -> np.ndarray:
    """Repeats the last row and column until both sides are multiples of the stride."""
    grown = (max(SMALLEST, -(-side // STRIDE) * STRIDE) - side for side in image.shape[:2])
    return np.pad(image, [*((0, more) for more in grown), (0, 0)], mode="edge")


def _rows(source: torch.Tensor, channels: int, band: int) -> int:
    """Rows of a band whose largest map has ``channels`` numbers for each pixel of ``source``."""
    return max(STRIDE, band // (channels * source.shape[-1]) // STRIDE * STRIDE)


def _run(layers: Sequence[nn.Module], source: torch.Tensor, rows: int) -> torch.Tensor:
    """Applies the head or the tail; every norm is settled before what follows it is looked at."""
    settled: list[nn.Module] = []
    for layer in layers:
        if isinstance(layer, nn.InstanceNorm2d):
            layer = _settle(layer, (values for _, values in _bands(settled, source, rows)))
        settled.append(layer)
    return _gather(settled, source, rows)


def _run_block(layers: Sequence[nn.Module], source: torch.Tensor, rows: int) -> torch.Tensor:
    """Applies a block's branch; its maps are small enough to be kept, so no convolution is computed twice."""
    x, waiting = source, list[nn.Module]()
    for layer in layers:
        if isinstance(layer, nn.InstanceNorm2d):
            x = _gather(waiting, x, rows)
            norm = _settle(layer, [x])
            x.sub_(norm.mean).mul_(norm.scale)
            waiting = []
        else:
            waiting.append(layer)
    return x


def _gather(layers: Sequence[nn.Module], source: torch.Tensor, rows: int) -> torch.Tensor:
    """Applies layers without unsettled norms and puts the bands together."""
    whole: torch.Tensor | None = None
    scale = _scale(layers)
    for top, values in _bands(layers, source, rows):
        if whole is None:
            whole = values.new_empty(1, values.shape[1], int(source.shape[-2] * scale), values.shape[-1])
        whole[:, :, top : top + values.shape[-2]] = values
    assert whole is not None
    return whole


def _bands(layers: Sequence[nn.Module], source: torch.Tensor, rows: int) -> Iterator[tuple[int, torch.Tensor]]:
    """Results of layers band by band, each with its first row; they tile the result without overlap."""
    height, scale = source.shape[-2], _scale(layers)
    for start in range(0, height, rows):
        stop = min(height, start + rows)
        above, below = max(0, start - _HALO), min(height, stop + _HALO)
        x = source[:, :, above:below].clone()  # the first layer may work in place
        for layer in layers:
            x = layer(x)
        top = int((start - above) * scale)
        yield int(start * scale), x[:, :, top : top + int((stop - start) * scale)]


def _scale(layers: Sequence[nn.Module]) -> Fraction:
    """Rows of the result for each row of the source."""
    scale = Fraction(1)
    for layer in layers:
        if isinstance(layer, nn.ConvTranspose2d):
            scale *= layer.stride[0]
        elif isinstance(layer, nn.Conv2d):
            scale /= layer.stride[0]
    return scale


def _settle(norm: nn.InstanceNorm2d, bands: Iterator[torch.Tensor] | Sequence[torch.Tensor]) -> _SettledNorm:
    """The norm with the statistics of all bands (1, C, h, w) together."""
    count, total, squares = 0, torch.zeros(()), torch.zeros(())
    for values in bands:
        count += values.shape[-2] * values.shape[-1]
        total = total.to(values.device) + values.sum((0, 2, 3), dtype=torch.float64)
        squares = squares.to(values.device) + values.square().sum((0, 2, 3), dtype=torch.float64)
    mean = total / count
    variance = (squares / count - mean.square()).clamp(min=0)
    scale = (variance + norm.eps).rsqrt()
    return _SettledNorm(mean.float()[:, None, None], scale.float()[:, None, None])
