"""Any size, band by band: the result is that of the whole picture, and nothing shows where bands meet."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vns_sam.lowlight.generator import GeneratorConfig, ResnetGenerator
from vns_sam.lowlight.tiled import translate, translate_pixels

ROWS = 16
WIDTH = 4


@pytest.fixture(scope="module")
def generator() -> ResnetGenerator:
    """An untrained generator with strong weights, so that statistics matter."""
    torch.manual_seed(0)
    return ResnetGenerator(GeneratorConfig(WIDTH, 3)).eval()


@pytest.fixture(scope="module")
def smooth() -> ResnetGenerator:
    """A generator whose convolutions only blur: a smooth picture stays smooth."""
    torch.manual_seed(1)
    generator = ResnetGenerator(GeneratorConfig(WIDTH, 3)).eval()
    for name, value in generator.named_parameters():
        value.data = value.data.abs() if name.endswith("weight") else torch.zeros_like(value)
    generator.model[-2].weight.data *= 0.1
    return generator


def gradient(height: int, width: int) -> np.ndarray:
    """Black at the top to light at the bottom: every band has another mean."""
    ramp = np.linspace(0, 240, height)[:, None, None] * np.ones((1, width, 3)) * np.array([1.0, 0.8, 0.6])
    return ramp.astype(np.uint8)


def textured(height: int, width: int) -> np.ndarray:
    """A gradient with noise and bright squares."""
    rng = np.random.default_rng(0)
    image = gradient(height, width) * 0.5 + rng.normal(20, 10, (height, width, 3))
    for _ in range(12):
        top, left = int(rng.integers(height - 9)), int(rng.integers(width - 9))
        image[top : top + 9, left : left + 9] += rng.integers(0, 150, 3)
    return np.clip(image, 0, 255).astype(np.uint8)


def band_of(width: int) -> int:
    """Numbers in a band of ROWS rows."""
    return ROWS * width * WIDTH


def as_pixels(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)[None].float() / 127.5 - 1


@pytest.mark.parametrize("draw", [gradient, textured])
def test_bands_give_what_the_whole_gives(generator: ResnetGenerator, draw: object) -> None:
    pixels = as_pixels(draw(100, 64))  # type: ignore[operator]
    with torch.inference_mode():
        whole = generator(pixels)
        banded = translate_pixels(generator, pixels, band=band_of(64))
    assert banded.shape == whole.shape
    assert (banded - whole).abs().max() < 1e-3
    assert whole.std() > 0.05


def naive(generator: ResnetGenerator, image: np.ndarray) -> np.ndarray:
    """What tiles with statistics of their own give, even with a wide overlap."""
    out = np.empty_like(image)
    for start in range(0, len(image), ROWS):
        above, below = max(0, start - 8), min(len(image), start + ROWS + 8)
        out[start : start + ROWS] = translate(generator, image[above:below])[start - above :][:ROWS]
    return out


def step(made: np.ndarray) -> float:
    """Mean absolute difference of the two rows where bands meet."""
    jumps = np.abs(np.diff(made.astype(float), axis=0)).mean(axis=(1, 2))
    return float(jumps[ROWS - 1 :: ROWS].mean())


def test_no_step_where_bands_meet(smooth: ResnetGenerator) -> None:
    image = gradient(96, 64)
    whole = step(translate(smooth, image))
    assert step(translate(smooth, image, band=band_of(64))) == pytest.approx(whole, abs=0.1)
    assert step(naive(smooth, image)) > 5 * whole  # the test can see a seam


@pytest.mark.parametrize("size", [(1, 1), (5, 70), (37, 53), (70, 3)])
def test_any_size(generator: ResnetGenerator, size: tuple[int, int]) -> None:
    image = textured(96, 96)[: size[0], : size[1]]
    made = translate(generator, image, band=4 * 64 * WIDTH)
    assert made.shape == image.shape
    assert made.dtype == np.uint8
    assert np.abs(made.astype(int) - translate(generator, image)).max() <= 1
