"""The mask decoder's attention and upscaling, in every form that their sizes choose, against the plain form."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode
from transformers.models.sam.configuration_sam import SamMaskDecoderConfig as TheirConfig
from transformers.models.sam.modeling_sam import SamMaskDecoder as TheirDecoder

from vns_sam.sam.attention import Attention
from vns_sam.sam.config import MaskDecoderConfig
from vns_sam.sam.keys import hf_key_to_own
from vns_sam.sam.mask_decoder import LayerNorm2d, SamMaskDecoder, Upscaled, as_maps, as_rows, rows_of

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


@pytest.mark.parametrize("rows", [1, 2])
@torch.no_grad()
def test_finer_maps_are_added_on_the_way(rows: int) -> None:
    decoder = SamMaskDecoder(replace(CONFIG, finer_maps=True)).eval()
    image, last, middle = random(2, 32, 3, 5), random(rows, 4, 12, 20), random(rows, 8, 6, 10)
    conv1, conv2, norm = decoder.upscale_conv1, decoder.upscale_conv2, decoder.upscale_layer_norm
    hidden = F.conv_transpose2d(image, conv1.weight, conv1.bias, 2) + middle
    hidden = F.gelu(norm(hidden.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)
    maps = F.gelu(F.conv_transpose2d(hidden, conv2.weight, conv2.bias, 2) + last)
    found = decoder.upscale(image.flatten(2).transpose(1, 2), (3, 5), (last, middle))
    torch.testing.assert_close(found.as_maps(), maps, atol=1e-5, rtol=1e-5)


def test_a_norm_of_maps_is_over_their_channels() -> None:
    maps = random(2, 6, 3, 5)
    expected = F.layer_norm(maps.permute(0, 2, 3, 1), (6,), eps=1e-6).permute(0, 3, 1, 2)
    torch.testing.assert_close(LayerNorm2d(6)(maps), expected)


def test_tensors_are_of_their_published_shapes() -> None:
    shapes = {
        name: (*value.shape,) for name, value in SamMaskDecoder(replace(CONFIG, object_token=True)).state_dict().items()
    }
    assert shapes["obj_score_token.weight"] == shapes["iou_token.weight"] == (1, 32)
    assert shapes["mask_tokens.weight"] == (4, 32)
    assert shapes["pred_obj_score_head.proj_out.weight"] == (1, 32)
    assert shapes["upscale_conv2.weight"] == (8, 4, 2, 2)


@torch.no_grad()
def test_masks_and_scores_are_those_of_transformers() -> None:
    numbers = {"hidden_size": 32, "mlp_dim": 64, "num_attention_heads": 4, "iou_head_hidden_dim": 32}
    theirs = TheirDecoder(TheirConfig(**numbers, layer_norm_eps=CONFIG.layer_norm_eps)).eval()
    for weight in theirs.parameters():
        weight.add_(0.1 * random(*weight.shape))
    state = {hf_key_to_own(f"mask_decoder.{key}"): value for key, value in theirs.state_dict().items()}
    ours = SamMaskDecoder(CONFIG).eval()
    ours.load_state_dict({str(key).removeprefix("mask_decoder."): value for key, value in state.items()})
    embedding, pe, sparse, dense = random(1, 32, 5, 5), random(1, 32, 5, 5), random(3, 2, 32), random(1, 32, 5, 5)
    masks, scores = ours(embedding, pe, sparse, dense)
    for several, part in ((True, slice(1, None)), (False, slice(0, 1))):
        found = theirs(embedding, pe, sparse[None], dense, several)
        torch.testing.assert_close(masks[:, part], found[0][0], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(scores[:, part], found[1][0], atol=1e-4, rtol=1e-4)


def test_an_unstable_first_mask_gives_way_to_the_best_of_the_others() -> None:
    config = replace(CONFIG, stability=0.75, stability_delta=0.05)
    masks = torch.stack([torch.full((4, 2, 2), float(k)) for k in range(4)])
    masks[0, 0] = torch.tensor([[1.0, 1.0], [1.0, 0.0]])  # 3 of 4 pixels are sure: as stable as asked for
    masks[1, 0] = torch.tensor([[1.0, 1.0], [0.01, 0.0]])  # 2 of 4
    masks[2, 0] = -1  # nothing is there: stable
    masks[3, 0] = torch.tensor([[0.04, -0.04], [-1.0, -1.0]])  # 0 of 2
    scores = torch.tensor([[0.1, 0.2, 0.9, 0.3]]).repeat(4, 1)
    mask, score = SamMaskDecoder(config).choose(masks, scores)
    assert score.tolist() == pytest.approx([0.1, 0.9, 0.1, 0.9])
    for row, kept in enumerate((0, 2, 0, 2)):
        assert torch.equal(mask[row, 0], masks[row, kept])
    assert torch.equal(SamMaskDecoder(CONFIG).choose(masks, scores)[0], masks[:, :1])


@torch.no_grad()
def test_a_mask_of_which_nothing_is_even_likely_is_stable() -> None:
    """And what is likely by one pixel is not, unless that pixel is sure; a value on the limit is not sure."""
    decoder = SamMaskDecoder(replace(CONFIG, stability=0.5, stability_delta=0.1))
    masks, scores = torch.full((6, 4, 8, 8), -5.0), torch.tensor([[0.1, 0.2, 0.9, 0.3]]).repeat(6, 1)
    masks[:, 2] = 3.0
    for row, value in ((1, 0.05), (2, 0.2), (3, 0.1), (5, 0.2)):
        masks[row, 0, 0, 0] = value
    masks[5, 0, 0, 1:3] = 0.05
    chosen, score = decoder.choose(masks, scores)
    assert [bool((chosen[row] == masks[row, :1]).all()) for row in range(6)] == [True, False, True, False, True, False]
    torch.testing.assert_close(score, torch.tensor([0.1, 0.9, 0.1, 0.9, 0.1, 0.9]))


def test_rows_of_images_are_those_of_the_prompts() -> None:
    images = random(2, 3, 4)
    index = torch.tensor([1, 0, 1])
    torch.testing.assert_close(rows_of(images, index), images[[1, 0, 1]])
    assert rows_of(images[:1], torch.zeros(3, dtype=torch.long)).shape == (1, 3, 4)


def test_rows_become_maps_again() -> None:
    maps = random(2, 6, 3, 5)
    torch.testing.assert_close(as_maps(as_rows(maps), (3, 5)), maps)


@torch.no_grad()
def test_grids_need_not_be_square() -> None:
    decoder = SamMaskDecoder(CONFIG).eval()
    size = CONFIG.hidden_size
    masks, _ = decoder(random(1, size, 4, 6), random(1, size, 4, 6), random(2, 2, size), random(1, size, 4, 6))
    assert masks.shape == (2, 4, 16, 24)


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
