import pytest
import torch
from toy import toy_sam
from transformers import SamVisionConfig
from transformers.models.sam.modeling_sam import SamVisionEncoder

from vns_sam.sam.encoders import relative_attention, vision_transformer
from vns_sam.sam.encoders.vit import VitEncoder
from vns_sam.sam.model import SamModel

SIDES = [32, 64, 96, 128, 160]
"""Grids of 2 to 10 cells, in windows of 3: smaller than one, whole ones, with a rest of one and of two cells."""


def randomised(config):
    encoder = VitEncoder(config.backbone, config.image_size, config.mask_decoder.hidden_size).eval()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for value in encoder.parameters():
            value.add_(0.3 * torch.randn(value.shape, generator=generator))
    return encoder


def theirs_of(encoder, side):
    """Transformers' encoder, by its plain attention, with the same weights."""
    numbers = {name: value for name, value in vars(toy_sam(side).backbone).items() if name != "kind"}
    config = SamVisionConfig(**numbers, image_size=side, output_channels=256, attn_implementation="eager")
    theirs = SamVisionEncoder(config).eval()
    theirs.load_state_dict(encoder.vit.state_dict())
    return theirs


@pytest.mark.parametrize("side", SIDES)
@torch.inference_mode()
def test_levels_and_embedding_are_those_of_transformers(side):
    encoder = randomised(toy_sam(side))
    pixels = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    embedding, levels = encoder(pixels)
    theirs = theirs_of(encoder, side)(pixels, output_hidden_states=True)
    assert embedding.shape == (2, 256, side // 16, side // 16)
    torch.testing.assert_close(embedding, theirs.last_hidden_state, atol=1e-4, rtol=0)
    assert len(levels) == 4
    for index, level in zip((1, 3, 5, 7), levels, strict=True):
        torch.testing.assert_close(level, theirs.hidden_states[index + 1], atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("scores", [1, 40, 200, 10**9])
@pytest.mark.parametrize("side", [64, 128])
@torch.inference_mode()
def test_neither_blocks_nor_strips_change_the_answer(side, scores, monkeypatch):
    encoder = randomised(toy_sam(side))
    pixels = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(vision_transformer, "piecewise", lambda _: False)
    monkeypatch.setattr(relative_attention, "piecewise", lambda _: False)
    whole = encoder(pixels)
    monkeypatch.undo()
    monkeypatch.setattr(relative_attention, "SCORES_AT_ONCE", scores)
    monkeypatch.setattr(vision_transformer, "STRIP_CELLS", 20)
    pieces = encoder(pixels)
    torch.testing.assert_close(pieces, whole, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("side", [64, 96, 128])
@torch.inference_mode()
def test_attention_in_windows_and_over_the_grid_is_that_of_the_paper(side):
    """Head by head and window by window, positions indexed directly (Li et al. 2022, eq. 4 of MViTv2)."""
    encoder = randomised(toy_sam(side)).double()  # float32 has other last digits on each kind of CPU
    grid = side // 16
    tokens = torch.randn(1, grid, grid, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for layer, window in ((encoder.vit.layers[0], 3), (encoder.vit.layers[1], grid)):
        x = layer.layer_norm1(tokens)
        padded = -(-grid // window) * window
        x = torch.nn.functional.pad(x, (0, 0, 0, padded - grid, 0, padded - grid))
        attended = torch.zeros_like(x)
        for top in range(0, padded, window):
            for left in range(0, padded, window):
                at = (0, slice(top, top + window), slice(left, left + window))
                attended[at] = attend(x[at], layer.attn)
        expected = tokens + attended[:, :grid, :grid]
        expected = expected + layer.mlp(layer.layer_norm2(expected))
        torch.testing.assert_close(layer(tokens), expected, atol=1e-10, rtol=1e-10)


def attend(x, attention, heads=2):
    """Multi-head attention with decomposed relative positions among the cells of x (w, w, C)."""
    side, _, channels = x.shape
    width = channels // heads
    q, k, v = attention.qkv(x).reshape(side * side, 3, heads, width).permute(1, 2, 0, 3)
    y, x_ = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    y, x_ = y.flatten(), x_.flatten()
    rel_h = attention.rel_pos_h[y[:, None] - y[None] + side - 1]
    rel_w = attention.rel_pos_w[x_[:, None] - x_[None] + side - 1]
    out = []
    for head in range(heads):
        scores = q[head] @ k[head].T / width**0.5
        scores = scores + torch.einsum("qc,qkc->qk", q[head], rel_h + rel_w)
        out.append(scores.softmax(-1) @ v[head])
    return attention.proj(torch.cat(out, dim=-1)).reshape(side, side, channels)


def test_a_training_run_reaches_the_encoder():
    model = SamModel(toy_sam(64))
    features = model.encode_pixels(torch.randn(1, 3, 64, 64))
    (features.embedding.square().mean() + sum(level.mean() for level in features.levels)).backward()
    assert all(value.grad is not None for value in model.image_encoder.parameters())
