"""Skeletons equal scikit-image's, which the published HCE is computed with."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from vns_sam.metrics.thinning import skeleton


def blobs(rng: np.random.Generator, sigma: float) -> np.ndarray:
    noise = cv2.GaussianBlur(rng.standard_normal((110, 130)).astype(np.float32), (0, 0), sigma)
    return noise > rng.normal() * noise.std() / 2


def test_equal_to_scikit_image() -> None:
    skeletonize = pytest.importorskip("skimage.morphology").skeletonize
    rng = np.random.default_rng(0)
    small = [rng.random(rng.integers(1, 20, 2)) < rng.choice([0.3, 0.7, 0.9, 1.0]) for _ in range(600)]
    large = [blobs(rng, sigma) for sigma in (1, 2, 4, 8) for _ in range(4)]
    for mask in small + large:
        np.testing.assert_array_equal(skeleton(mask), skeletonize(mask))


def test_a_bar_becomes_its_middle_line() -> None:
    bar = np.zeros((9, 30), bool)
    bar[2:7, 3:27] = True
    lines = skeleton(bar)
    assert lines[4].sum() > 18
    assert not lines[[0, 1, 2, 6, 7, 8]].any()


def test_objects_at_the_border_and_nothing() -> None:
    assert skeleton(np.ones((1, 1), bool)).tolist() == [[True]]
    assert not skeleton(np.zeros((5, 7), bool)).any()
    row = np.ones((1, 12), bool)
    assert skeleton(row).sum() >= 10


def test_parts_stay_parts() -> None:
    mask = blobs(np.random.default_rng(5), 3)
    parts, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    lines = skeleton(mask)
    assert not (lines & ~mask).any()
    assert cv2.connectedComponents(lines.astype(np.uint8), connectivity=8)[0] == parts
    assert set(np.unique(labels[lines])) == set(range(1, parts))
