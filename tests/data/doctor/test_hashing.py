"""Perceptual hashes: the same for copies, in all orientations, and far apart for other pictures."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from frogs import picture

from vns_sam.data.doctor.hashing import (
    MAX_DISTANCE,
    MIN_CORRELATION,
    ORIENTATIONS,
    candidates,
    correlation,
    hashes,
    oriented,
    thumbnail,
)


def gray(seed: int) -> np.ndarray:
    return cv2.cvtColor(picture(seed)[0], cv2.COLOR_RGB2GRAY)


def hashed(image: np.ndarray) -> np.ndarray:
    found = hashes(image)
    assert found is not None
    return found


def recoded(image: np.ndarray) -> np.ndarray:
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 50])[1], cv2.IMREAD_GRAYSCALE)


@pytest.mark.parametrize("change", [recoded, lambda a: cv2.resize(a, (96, 72)), lambda a: cv2.resize(a, (190, 140))])
def test_copies_are_near(change) -> None:  # type: ignore[no-untyped-def]
    image = gray(0)
    copy = change(image)
    assert np.bitwise_count(hashed(image)[0] ^ hashed(copy)[0]) <= MAX_DISTANCE
    assert correlation(thumbnail(image), thumbnail(copy)) > MIN_CORRELATION


def test_other_pictures_are_far() -> None:
    images = [gray(seed) for seed in range(20)]
    close = list(candidates(np.stack([hashed(image) for image in images])))
    assert len(close) <= 2  # of 190
    assert all(correlation(thumbnail(images[i]), thumbnail(images[j])) < MIN_CORRELATION for i, j, _ in close)
    assert correlation(thumbnail(images[0]), thumbnail(images[1])) < MIN_CORRELATION


@pytest.mark.parametrize("orientation", range(len(ORIENTATIONS)))
def test_one_transform_gives_the_hashes_of_all_orientations(orientation: int) -> None:
    image = np.random.default_rng(1).integers(0, 255, (8, 8), dtype=np.uint8).repeat(12, 0).repeat(12, 1)
    turned = np.ascontiguousarray(oriented(image, orientation))
    assert np.bitwise_count(hashed(image)[orientation] ^ hashed(turned)[0]) <= 1


@pytest.mark.parametrize(
    ("name", "turned"),
    [("mirrored", lambda a: a[:, ::-1]), ("rotated to the left", np.rot90), ("transposed", np.transpose)],
)
def test_orientations_are_what_they_are_called(name: str, turned) -> None:  # type: ignore[no-untyped-def]
    image = gray(3)
    np.testing.assert_array_equal(oriented(image, ORIENTATIONS.index(name)), turned(image))


def test_flipped_copies_are_found_only_when_asked_for() -> None:
    images = [gray(seed) for seed in range(5)] + [recoded(np.ascontiguousarray(gray(2)[:, ::-1]))]
    table = np.stack([hashed(image) for image in images])
    assert list(candidates(table)) == []
    assert list(candidates(table, flips=True)) == [(2, 5, ORIENTATIONS.index("mirrored"))]


def test_all_pairs_are_found_across_blocks() -> None:
    table = np.random.default_rng(0).integers(0, 2**63, (200, 8), dtype=np.uint64)
    table[[150, 199]] = table[3] ^ np.uint64(1)
    assert list(candidates(table)) == [(3, 150, 0), (3, 199, 0), (150, 199, 0)]


def test_a_flat_picture_has_no_hash() -> None:
    assert hashes(np.full((50, 60), 77, np.uint8)) is None
    assert correlation(np.full((64, 64), 7, np.uint8), thumbnail(gray(0))) == 0.0
