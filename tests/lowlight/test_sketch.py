"""The quick night of training samples."""

from __future__ import annotations

import numpy as np
import pytest

from vns_sam.lowlight.sketch import sketch_night

SEEDS = range(12)


def test_the_generator_decides_alone() -> None:
    image = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    before = image.copy()
    first, again, other = (sketch_night(image, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert np.array_equal(image, before)


@pytest.mark.parametrize(("value", "low", "high"), [(255, 25, 125), (128, 10, 65), (0, 0, 15)])
def test_darkened_pictures_are_as_dark_as_their_exposure(value: int, low: float, high: float) -> None:
    image = np.full((40, 60, 3), value, np.uint8)
    for seed in SEEDS:
        dark = sketch_night(image, np.random.default_rng(seed))
        assert dark.dtype == np.uint8
        assert dark.shape == image.shape
        assert low <= dark.mean() <= high


def test_darkness_keeps_the_order_of_brightness_and_adds_noise() -> None:
    image = np.repeat(np.array([60, 140, 220], np.uint8), 40)[None, :, None] * np.ones((40, 1, 3), np.uint8)
    for seed in SEEDS:
        bands = sketch_night(image, np.random.default_rng(seed)).reshape(40, 3, 40, 3).astype(float)
        means = bands.mean(axis=(0, 2, 3))
        assert means[0] < means[1] < means[2]
        assert bands.std(axis=(0, 2)).min() > 0
