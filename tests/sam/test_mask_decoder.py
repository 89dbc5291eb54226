"""The mask decoder's attention and upscaling, in every form that their sizes choose, against the plain form."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from vns_sam.sam.attention import Attention
from vns_sam.sam.config import MaskDecoderConfig
from vns_sam.sam.mask_decoder import SamMaskDecoder, Upscaled

CONFIG = MaskDecoderConfig(hidden_size=32, mlp_dim=64, num_attention_heads=4, iou_head_hidden_dim=32)
GENERATOR = torch.Generator().manual_seed(0)


def random(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=GENERATOR)


def plain(attention: Attention, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    rows = max(query.shape[0], key.shape[0])
    q, k, v = (
        project(x.expand(rows, -1, -1)).unflatten(-1, (attention.heads, -1)).transpose(1, 2)
        for project, x in ((attention.q_proj, query), (attention.k_proj, key), (attention.v_proj, value))
    )
    return attention.out_proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


@pytest.mark.parametrize("rate", [1, 2])
@pytest.mark.parametrize(("few", "many"), [(3, 40), (9, 40), (5, 5)])
@pytest.mark.parametrize(("tokens", "images"), [(1, 1), (3, 3), (3, 1)])
@pytest.mark.parametrize("recorded", [False, True])
@torch.no_grad()
def test_attention_is_the_plain_one(
    rate: int, few: int, many: int, tokens: int, images: int, recorded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vns_sam.sam.attention.being_recorded", lambda: recorded)
    attention = Attention(CONFIG, rate)
    for bias in (attention.q_proj.bias, attention.k_proj.bias, attention.v_proj.bias, attention.out_proj.bias):
        bias.copy_(random(*bias.shape))
    words, other_words, image, other_image = (
        random(rows, count, 32) for rows, count in [(tokens, few)] * 2 + [(images, many)] * 2
    )
    for given in ((words, image, other_image), (image, words, other_words)):
        torch.testing.assert_close(attention(*given), plain(attention, *given), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("grid", [(4, 4), (3, 5)])
@torch.no_grad()
def test_upscaling_is_two_transposed_convolutions(grid: tuple[int, int]) -> None:
    decoder = SamMaskDecoder(CONFIG).eval()
    image, vectors = random(2, 32, *grid), random(2, 4, 4)
    conv1, conv2, norm = decoder.upscale_conv1, decoder.upscale_conv2, decoder.upscale_layer_norm
    hidden = F.conv_transpose2d(image, conv1.weight, conv1.bias, 2).permute(0, 2, 3, 1)
    hidden = F.gelu(norm(hidden)).permute(0, 3, 1, 2)
    maps = F.gelu(F.conv_transpose2d(hidden, conv2.weight, conv2.bias, 2))
    found = decoder.upscale(image.flatten(2).transpose(1, 2), grid)
    assert isinstance(found, Upscaled)
    torch.testing.assert_close(found.as_maps(), maps, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.read(vectors), torch.einsum("pmc,pchw->pmhw", vectors, maps), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_dense_map_for_all_prompts_is_as_good_as_one_for_each() -> None:
    decoder = SamMaskDecoder(CONFIG).eval()
    embedding, pe, sparse, dense = random(1, 32, 8, 8), random(1, 32, 8, 8), random(5, 2, 32), random(1, 32, 8, 8)
    shared = decoder(embedding, pe, sparse, dense)
    apart = decoder(embedding.expand(5, -1, -1, -1), pe, sparse, dense.expand(5, -1, -1, -1))
    for found, expected in zip(shared, apart, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_prompt_more_costs_less_than_half_of_the_plain_decoder() -> None:
    """Counted on SAM's own sizes: the plain one multiplies 256 x 128 for each of 4096 cells, nine times."""
    decoder = SamMaskDecoder(MaskDecoderConfig()).eval()

    def operations(prompts: int) -> int:
        with FlopCounterMode(display=False) as counter:
            decoder(random(1, 256, 64, 64), random(1, 256, 64, 64), random(prompts, 2, 256), random(1, 256, 64, 64))
        return counter.get_total_flops()

    projections = 2 * 4096 * 256 * 128 * 9
    upscaling = 2 * 4096 * (256 * 256 + 4 * 64 * 128)
    assert operations(3) - operations(2) < 0.55 * (projections + upscaling)
    assert operations(1) < 0.65 * (projections + upscaling)
