"""Flip and large-scale jitter: equal to the authors' code on the same draws, and the draws themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from vns_sam.training.samples.augment import IMAGE_PADDING, Jitter, LargeScaleJitter

SIDE = 256


@pytest.mark.parametrize("seed", [0, 3])
def test_jitter_equals_the_authors(fixtures_dir: Path, seed: int) -> None:
    reference = load_file(fixtures_dir / "vns" / "aux.safetensors")
    out = {k: reference[f"aug.seed{seed}.{k}"] for k in ("image", "label", "edge", "flip", "scale")}
    jitter = Jitter(bool(out["flip"]), float(out["scale"]), official_offset(seed, float(out["scale"])))
    for name, fill in (("image", IMAGE_PADDING), ("label", 0), ("edge", 0)):
        found = jitter.apply(reference[f"aug.in.{name}"], SIDE, fill)
        torch.testing.assert_close(found, out[name], rtol=0, atol=1e-4)


def official_offset(seed: int, scale: float, height: int = 120, width: int = 160) -> tuple[float, float]:
    """The authors draw whole offsets with NumPy's global generator; here as the middle of their interval."""
    rng = np.random.RandomState(seed)
    rooms = [max(round(length * SIDE * scale / max(height, width)) - SIDE, 0) + 1 for length in (height, width)]
    top, left = ((rng.randint(room) + 0.5) / room for room in rooms)
    return top, left


def ramp(height: int = 4, width: int = 8) -> torch.Tensor:
    return torch.arange(width).float().expand(1, height, width)


def test_identity_pads_below() -> None:
    out = Jitter(False, 1.0, (0.0, 0.0)).apply(ramp(), 8, 7.0)
    assert torch.equal(out[:, :4], ramp())
    assert (out[:, 4:] == 7).all()


def test_flip_mirrors_columns() -> None:
    out = Jitter(True, 1.0, (0.0, 0.0)).apply(ramp(), 8, 0)
    assert torch.equal(out[:, :4], ramp().flip(-1))


@pytest.mark.parametrize(("place", "first"), [(0.0, 0), (0.5, 2), (0.999, 4)])
def test_offset_reaches_every_crop(place: float, first: int) -> None:
    out = Jitter(False, 2.0, (0.0, place)).apply(ramp(2, 8), 4, 0)
    assert out.shape == (1, 4, 4)
    assert out[0, 0].tolist() == [first, first + 1, first + 2, first + 3]


@pytest.mark.parametrize("shape", [(1, 200), (200, 1), (3, 5)])
def test_thin_pictures_never_vanish(shape: tuple[int, int]) -> None:
    out = Jitter(False, 0.1, (0.5, 0.5)).apply(torch.ones(1, *shape), 64, 0)
    assert out.shape == (1, 64, 64)
    assert out.sum() >= 1


def test_draws_cover_their_ranges_and_repeat() -> None:
    jitter, generator = LargeScaleJitter(side=64), torch.Generator().manual_seed(0)
    draws = [jitter.draw(generator) for _ in range(2000)]
    scales = np.array([d.scale for d in draws])
    assert scales.min() < 0.15
    assert 1.95 < scales.max() < 2.0
    assert scales.mean() == pytest.approx(1.05, abs=0.05)
    assert np.mean([d.flip for d in draws]) == pytest.approx(0.5, abs=0.05)
    assert jitter.draw(torch.Generator().manual_seed(0)) == draws[0]


def test_sample_keeps_picture_and_label_together() -> None:
    label = torch.zeros(1, 40, 60)
    label[:, 10:30, 20:50] = 255
    image = label.expand(3, -1, -1)
    generator = torch.Generator().manual_seed(1)
    for _ in range(20):
        picture, mask, edge = LargeScaleJitter(side=32)(image, label, label / 255, generator)
        assert (picture.dtype, picture.shape, mask.shape) == (torch.uint8, (3, 32, 32), (1, 32, 32))
        padding = picture[0] == IMAGE_PADDING
        assert torch.equal(picture[0][~padding], mask[0].to(torch.uint8)[~padding])
        torch.testing.assert_close(edge * 255, mask, rtol=0, atol=1e-3)
