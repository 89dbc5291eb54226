"""Pictures, sparse labels and pseudo-labels move together, and codes are never mixed."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from vns_sam.prompts.codes import BACKGROUND, OBJECT
from vns_sam.training.samples.views import WeakPicture, draw_view, move_codes

MIRROR = np.array([[-1.0, 0, 63], [0, 1, 0]])


def picture(height: int = 64, width: int = 64) -> WeakPicture:
    """A disk whose place is in the image, the target, the weights and the codes alike."""
    mask = np.zeros((height, width), np.uint8)
    cv2.circle(mask, (width // 3, height // 2), min(height, width) // 5, 255, -1)
    codes = np.where(cv2.erode(mask, np.ones((9, 9))) > 0, OBJECT, 0).astype(np.uint8)
    codes[:3] = BACKGROUND
    return WeakPicture(np.repeat(mask[..., None], 3, 2), codes, mask, 255 - mask, keep=True)


def test_a_mirrored_view_is_exact() -> None:
    given = picture()
    seen = given.view(MIRROR, 64)
    for name in ("image", "codes", "target", "weight"):
        np.testing.assert_array_equal(getattr(seen, name), getattr(given, name)[:, ::-1])


@pytest.mark.parametrize("seed", range(8))
def test_everything_moves_alike(seed: int) -> None:
    given = picture(90, 140)
    seen = given.view(draw_view(90, 140, 96, np.random.default_rng(seed)), 96)
    np.testing.assert_array_equal(seen.image[..., 0][seen.target == 255], 255)
    sure = seen.codes == OBJECT
    assert (seen.target[sure] == 255).all()
    inside = seen.weight > 0
    np.testing.assert_array_equal((seen.target > 200)[inside & (seen.weight == 255)], False)
    assert (seen.codes[seen.target == 255] != BACKGROUND).all()
    assert set(np.unique(seen.codes)) <= {0, OBJECT, BACKGROUND}


@pytest.mark.parametrize("seed", range(8))
def test_a_background_edge_never_becomes_object(seed: int) -> None:
    codes = np.zeros((80, 80), np.uint8)
    codes[::7] = BACKGROUND
    moved = move_codes(codes, draw_view(80, 80, 64, np.random.default_rng(seed)), (64, 64))
    assert OBJECT not in moved
    assert BACKGROUND in moved


def test_a_point_is_not_lost_in_a_smaller_view() -> None:
    codes = np.zeros((100, 100), np.uint8)
    codes[33, 57], codes[81, 9] = OBJECT, BACKGROUND
    given = WeakPicture(np.zeros((100, 100, 3), np.uint8), codes, codes, codes, keep=False)
    small = given.reduced(13)
    assert small.codes.shape == (13, 13)
    assert (small.codes[4, 7], small.codes[10, 1], np.count_nonzero(small.codes)) == (OBJECT, BACKGROUND, 2)
    assert given.reduced(100) is given


def test_beyond_the_picture_nothing_counts() -> None:
    full = np.full((9, 9), 255, np.uint8)
    seen = WeakPicture(np.dstack([full] * 3), full // 255, full, full, keep=True).view(np.eye(3)[:2], 20)
    assert (seen.codes[:9, :9] == OBJECT).all()
    for beyond in (seen.codes[10:], seen.target[10:], seen.weight[10:]):
        assert (beyond == 0).all()
    assert (seen.image[12, 12] == (124, 116, 104)).all()


def test_views_are_mirrored_half_of_the_time_and_stay_near_the_picture() -> None:
    views = [draw_view(100, 200, 64, np.random.default_rng(seed)) for seed in range(200)]
    assert 70 < sum(matrix[0, 0] < 0 for matrix in views) < 130
    scales = np.array([[np.linalg.norm(m[:, 0]) * 200 / 64, np.linalg.norm(m[:, 1]) * 100 / 64] for m in views])
    assert 0.65 < scales.min() < 0.9
    assert 1.6 < scales.max() < 2.2
