"""MobileSAM's encoder: by hand, cell by cell, and by the numbers that are published."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from foundation_models import shaken
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from vns_sam.sam.architectures import TinyVitConfig
from vns_sam.sam.encoders.tiny_vit import ConvNorm, PatchMerging, TinyVitBlock, TinyVitEncoder, WindowAttention

SMALL = TinyVitConfig((8, 12, 16, 24), (1, 1, 2, 1), (1, 2, 2, 3), (7, 3, 4, 3))


def normed(x: torch.Tensor, conv: ConvNorm) -> torch.Tensor:
    """Convolution and norm one after the other."""
    return conv.bn(conv.c(x))


def attended(cells: torch.Tensor, attention: WindowAttention) -> torch.Tensor:
    """Attention of every cell of a window (w, w, C) to every other, pair by pair."""
    side, heads, channels = attention.side, attention.heads, cells.shape[-1]
    width = channels // heads
    projected = attention.qkv(attention.norm(cells)).reshape(side * side, heads, 3 * width)
    out = torch.zeros(side * side, heads, width)
    for one in range(side * side):
        for head in range(heads):
            query, scores = projected[one, head, :width], []
            for other in range(side * side):
                down, across = abs(one // side - other // side), abs(one % side - other % side)
                bias = attention.attention_biases[head, down * side + across]
                scores.append(query @ projected[other, head, width : 2 * width] / width**0.5 + bias)
            out[one, head] = torch.stack(scores).softmax(0) @ projected[:, head, 2 * width :]
    return attention.proj(out.flatten(1)).reshape(side, side, channels)


@torch.no_grad()
def test_a_block_is_attention_in_padded_windows_then_a_convolution_then_an_mlp() -> None:
    block = shaken(TinyVitBlock(6, 2, 3))
    x = torch.randn(1, 6, 4, 5, generator=torch.Generator().manual_seed(0))
    padded = F.pad(x, (0, 1, 0, 2))[0].permute(1, 2, 0)
    out = torch.zeros_like(padded)
    for top in (0, 3):
        for left in (0, 3):
            at = (slice(top, top + 3), slice(left, left + 3))
            out[at] = attended(padded[at], block.attn)
    cells = x + out[:4, :5].permute(2, 0, 1)[None]
    cells = normed(cells, block.local_conv).permute(0, 2, 3, 1)
    mlp = block.mlp
    expected = cells + mlp.fc2(F.gelu(mlp.fc1(mlp.norm(cells))))
    torch.testing.assert_close(block(x), expected.permute(0, 3, 1, 2), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_encoder_is_its_parts_in_the_order_of_the_authors() -> None:
    encoder = shaken(TinyVitEncoder(SMALL, 32))
    pixels = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    first, _, second = encoder.patch_embed.seq
    x = normed(F.gelu(normed(pixels, first)), second)
    outputs = []
    for i, stage in enumerate(encoder.layers):
        for block in stage.blocks:
            if i:
                x = block(x)
            else:
                wide = F.gelu(normed(F.gelu(normed(x, block.conv1)), block.conv2))
                x = F.gelu(x + normed(wide, block.conv3))
        outputs.append(x)
        if isinstance(stage.downsample, PatchMerging):
            down = stage.downsample
            x = normed(F.gelu(normed(F.gelu(normed(x, down.conv1)), down.conv2)), down.conv3)
    embedding, levels = encoder(pixels)
    torch.testing.assert_close(embedding, encoder.neck(x), atol=1e-4, rtol=1e-4)
    assert [tuple(out.shape[1:]) for out in outputs] == [(8, 16, 24), (12, 8, 12), (16, 4, 6), (24, 4, 6)]
    assert [tuple(level.shape[1:]) for level in levels] == [(4, 6, channels) for channels in SMALL.level_channels]
    assert SMALL.level_channels == (128, 48, 16, 24)
    for level, out, side in zip(levels, outputs, (4, 2, 1, 1), strict=True):
        torch.testing.assert_close(F.pixel_shuffle(level.permute(0, 3, 1, 2), side), out, atol=1e-4, rtol=1e-4)


@pytest.fixture(scope="module")
def published() -> TinyVitEncoder:
    """MobileSAM's own numbers, without weights."""
    with torch.device("meta"):
        return TinyVitEncoder(TinyVitConfig()).eval()


def test_parameters_are_those_of_the_published_encoder(published: TinyVitEncoder) -> None:
    """TinyViT-5M has 5,392,764 with its classifier (Wu et al. 2022); SAM's neck adds 672,768 and the file, which holds
    the classifier too, 10,130,092 with SAM's decoder and prompt encoder.
    """
    classifier = 2 * 320 + 320 * 1000 + 1000
    neck = 320 * 256 + 9 * 256 * 256 + 4 * 256
    assert neck == sum(value.numel() for value in published.neck.parameters()) == 672_768
    assert sum(value.numel() for value in published.parameters()) - neck + classifier == 5_392_764


def test_multiply_adds_at_the_published_size(published: TinyVitEncoder) -> None:
    """By hand for 1024 pixels: convolutions by their kernel, attention by its padded windows."""
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        embedding, _ = published(torch.zeros(1, 3, 1024, 1024))
    assert embedding.shape == (1, 256, 64, 64)

    def merging(before: int, after: int, grid: int, out: int) -> int:
        return grid**2 * before * after + out**2 * (9 * after + after * after)

    def blocks(count: int, width: int, grid: int, side: int) -> int:
        padded = -(-grid // side) * side
        attention = padded**2 * (4 * width * width + 2 * side * side * width)
        return count * (attention + grid**2 * (9 * width + 8 * width * width))

    stem = 512**2 * 27 * 32 + 256**2 * 9 * 32 * 64
    first = 2 * 256**2 * (2 * 64 * 256 + 9 * 256)
    total = stem + first + merging(64, 128, 256, 128) + blocks(2, 128, 128, 7)
    total += merging(128, 160, 128, 64) + blocks(6, 160, 64, 14) + merging(160, 320, 64, 64) + blocks(2, 320, 64, 7)
    total += 64**2 * (320 * 256 + 9 * 256 * 256)
    assert counter.get_total_flops() == 2 * total


def test_batch_norms_keep_their_statistics_in_training() -> None:
    encoder = TinyVitEncoder(SMALL, 32).train()
    norm = encoder.patch_embed.seq[0].bn
    before = norm.running_mean.clone()
    embedding, levels = encoder(torch.randn(2, 3, 64, 64))
    (embedding.square().mean() + sum(level.mean() for level in levels)).backward()
    assert torch.equal(norm.running_mean, before)
    trained = [value for value in encoder.parameters() if value.requires_grad]
    assert all(value.grad is not None for value in trained)
    assert not any(isinstance(module, nn.BatchNorm2d) and module.training for module in encoder.modules())
