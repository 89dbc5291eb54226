"""Adapters of frozen encoders: what they compute, how large they are, that they start as nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from toy import toy_sam
from workshop import NARROW

from vns_sam.sam.config import SamConfig
from vns_sam.sam.encoders.adapter import VitAdapter, high_frequencies
from vns_sam.sam.model import SamModel, build_adapter

SMALL = {"tiny": NARROW, "vit": toy_sam(64)}


@pytest.mark.parametrize(("height", "width"), [(64, 64), (32, 96), (33, 35), (16, 256), (32, 512)])
def test_high_frequencies_leave_out_the_centre_of_the_spectrum(height: int, width: int) -> None:
    pixels = np.random.default_rng(0).normal(size=(2, 3, height, width))
    spectrum = np.fft.fftshift(np.fft.fft2(pixels), axes=(-2, -1))
    half = int((height * width * 0.25) ** 0.5 // 2)
    rows, columns = (slice(max(0, side // 2 - half), side // 2 + half) for side in (height, width))
    spectrum[..., rows, columns] = 0
    expected = np.abs(np.fft.ifft2(np.fft.ifftshift(spectrum, axes=(-2, -1))).real)
    found = high_frequencies(torch.from_numpy(pixels).float())
    torch.testing.assert_close(found, torch.from_numpy(expected).float(), atol=2e-6, rtol=0)


def test_half_precision_is_widened_and_given_back() -> None:
    pixels = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)).bfloat16()
    found = high_frequencies(pixels)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, high_frequencies(pixels.float()).bfloat16())


def test_a_flat_picture_has_none() -> None:
    assert high_frequencies(torch.full((1, 3, 32, 32), 2.0)).max() < 1e-5


def test_size_on_vit_l() -> None:
    assert sum(p.numel() for p in VitAdapter(1024, 24).parameters()) == 116_544


def test_size_on_the_tiny_encoder() -> None:
    """Stages of 24 to 320 channels, 768 in all: into 64 and back for each, six mixing layers, two that make the cue."""
    there, back, mixing, cue = 64 * (768 + 6), 65 * 768, 6 * 64 * 10, (3 * 16 + 1 + 32 + 1) * 64
    assert sum(p.numel() for p in build_adapter(NARROW).parameters()) == there + back + mixing + cue


@pytest.fixture(params=list(SMALL))
def config(request: pytest.FixtureRequest) -> SamConfig:
    return SMALL[request.param]


@torch.no_grad()
def test_it_starts_as_nothing_and_then_reaches_every_level(config: SamConfig) -> None:
    torch.manual_seed(0)
    sam, adapter = SamModel(config).eval(), build_adapter(config)
    for name, parameter in sam.image_encoder.named_parameters():
        if name.startswith("vit."):  # transformers' initial values all but silence the encoder
            parameter.add_(0.3 * torch.randn_like(parameter))
    pixels = torch.randn(2, 3, 64, 64)
    plain, fresh = sam.encode_pixels(pixels), sam.encode_pixels(pixels, adapter)
    assert torch.equal(plain.embedding, fresh.embedding)
    assert all(torch.equal(one, two) for one, two in zip(plain.levels, fresh.levels, strict=True))
    for name, parameter in adapter.named_parameters():
        if name.startswith("up."):
            parameter.normal_()
    taught = sam.encode_pixels(pixels, adapter)
    assert taught.embedding.shape == plain.embedding.shape
    for one, two in zip((plain.embedding, *plain.levels), (taught.embedding, *taught.levels), strict=True):
        assert one.shape == two.shape
        assert (one - two).abs().max() > 1e-3


@torch.no_grad()
def test_pictures_do_not_feel_each_other(config: SamConfig) -> None:
    torch.manual_seed(0)
    sam, adapter = SamModel(config).eval(), build_adapter(config)
    for parameter in adapter.parameters():
        parameter.normal_(std=0.1)
    pixels = torch.randn(2, 3, 64, 64)
    together = sam.encode_pixels(pixels, adapter).embedding
    alone = torch.cat([sam.encode_pixels(x[None], adapter).embedding for x in pixels])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_every_part_learns(config: SamConfig) -> None:
    torch.manual_seed(0)
    sam, adapter = SamModel(config).eval().requires_grad_(False), build_adapter(config)
    for parameter in adapter.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    features = sam.encode_pixels(torch.randn(1, 3, 64, 64), adapter)
    (features.embedding.square().mean() + sum(level.mean() for level in features.levels)).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in adapter.parameters())
    assert all(p.grad is None for p in sam.parameters())
