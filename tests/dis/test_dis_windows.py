"""Where IS-Net looks, and how what it sees becomes one map: every number by hand."""

from __future__ import annotations

import numpy as np
import pytest

from vns_sam.dis.windows import Fusion, boundary_windows, surroundings, uncertainty
from vns_sam.images.windows import Window


@pytest.mark.parametrize(
    ("box", "margin", "expected"),
    [
        ((40, 30, 60, 70), 0.25, (20, 80, 30, 70)),  # a quarter of 40 on every side
        ((40, 30, 80, 50), 0.25, (20, 60, 30, 90)),
        ((40, 30, 60, 70), 0.0, (30, 70, 40, 60)),
        ((50, 50, 54, 52), 0.5, (42, 60, 42, 62)),  # at least 8 of 16 pixels around a small one
        ((0, 0, 100, 90), 0.5, (0, 100, 0, 120)),  # cut at the rim
        ((40.4, 30.6, 60.2, 70.2), 0.0, (30, 71, 40, 61)),  # whole pixels, none lost
        ((119.5, 99.5, 120, 100), 0.0, (99, 100, 119, 120)),
        ((130, 110, 140, 120), 0.0, (99, 100, 119, 120)),  # beside the picture: its last pixel
    ],
)
def test_surroundings_of_a_box(box: tuple[float, ...], margin: float, expected: tuple[int, ...]) -> None:
    found = surroundings(np.array(box, np.float32), margin, 100, 120)
    assert (found.top, found.bottom, found.left, found.right) == expected


def halves(height: int = 5, width: int = 40, cut: int = 20) -> np.ndarray:
    mask = np.zeros((height, width), bool)
    mask[:, :cut] = True
    return mask


def test_doubt_falls_from_the_rim() -> None:
    mask = halves()
    doubt = uncertainty(mask.astype(np.float32), mask, mask, reach=8)
    rim = [19, 20]  # the last pixel of the object and the first beside it
    away = np.abs(np.arange(40)[:, None] - rim).min(axis=1)
    expected = np.clip(2 - 0.955 * away / 4, 0, 1)  # OpenCV's distance of a step in its 3 x 3 mask
    assert np.abs(doubt[2] - expected).max() < 1e-5
    assert (doubt[:, 15:25] == 1).all()
    turned = uncertainty(mask.T.astype(np.float32), mask.T, mask.T, reach=8)
    assert (turned == doubt.T).all()


@pytest.mark.parametrize(("value", "unsure"), [(0.04, False), (0.06, True), (0.5, True), (0.94, True), (0.96, False)])
def test_alpha_in_between_is_in_doubt(value: float, unsure: bool) -> None:
    nothing = np.zeros((9, 9), bool)
    alpha = np.full((9, 9), value, np.float32)
    doubt = uncertainty(alpha, nothing, nothing, reach=4)
    assert (doubt == float(unsure)).all()


def test_what_contradicts_the_coarse_mask_is_in_doubt() -> None:
    coarse, found = np.zeros((2, 9, 60), bool)
    coarse[4, 50] = True
    doubt = uncertainty(found.astype(np.float32), found, coarse, reach=4)
    assert doubt[4, 50] == doubt[4, 51] == 1
    assert not doubt[:, :44].any()


def test_windows_with_most_doubt_are_taken() -> None:
    doubt = np.zeros((40, 100), np.float32)
    doubt[10:20, 10:20] = 0.5
    doubt[10:20, 85:95] = 1.0
    every = boundary_windows(doubt, 40, 100)
    assert all(window.shape == (40, 40) and doubt[window.index].any() for window in every)
    sums = [doubt[window.index].sum() for window in every]
    assert sums == sorted(sums, reverse=True)
    assert [window.right for window in boundary_windows(doubt, 40, 1)] == [100]
    assert boundary_windows(np.zeros((40, 100), np.float32), 40, 5) == []


def test_closer_looks_are_taken_where_there_is_doubt() -> None:
    doubt = np.zeros((8, 32), np.float32)
    doubt[:, 4:28] = 1
    doubt[:, 16] = 0.25
    fusion = Fusion(np.full((8, 32), 0.2, np.float32), doubt)
    fusion.add(Window(0, 8, 0, 32), np.full((8, 32), 0.8, np.float32))
    alpha = fusion.finish()
    assert (alpha[:, :4] == np.float32(0.2)).all()
    assert alpha[4, 15] == pytest.approx(0.8)
    assert alpha[4, 16] == pytest.approx(0.2 + 0.25 * 0.6)
    bell = 0.001 + np.sin(np.pi * (np.arange(32) + 0.5) / 32) ** 2
    rows = 0.001 + np.sin(np.pi * (np.arange(8) + 0.5) / 8) ** 2
    weak = min(1.0, rows[0] * bell[5] / 0.25)  # a window's rim counts for less
    assert weak < 0.5
    assert alpha[0, 5] == pytest.approx(0.2 + weak * 0.6, abs=1e-5)


def test_overlapping_looks_are_averaged_by_how_near_their_middle_is() -> None:
    fusion = Fusion(np.zeros((8, 24), np.float32), np.ones((8, 24), np.float32))
    fusion.add(Window(0, 8, 0, 16), np.full((8, 16), 0.4, np.float32))
    fusion.add(Window(0, 8, 8, 24), np.full((8, 16), 1.0, np.float32))
    alpha = fusion.finish()
    bell = 0.001 + np.sin(np.pi * (np.arange(16) + 0.5) / 16) ** 2
    for column in (9, 12, 14):
        first, second = bell[column], bell[column - 8]
        expected = (0.4 * first + 1.0 * second) / (first + second)
        assert alpha[4, column] == pytest.approx(expected, abs=1e-5)


def test_a_box_above_the_picture_is_its_first_pixel() -> None:
    assert surroundings(np.array([-30, -30, -20, -20]), 0.0, 50, 60) == Window(0, 1, 0, 1)


def test_a_little_doubt_is_looked_at() -> None:
    doubt = np.zeros((64, 64), np.float32)
    doubt[3, 3] = 0.5
    assert [window.index for window in boundary_windows(doubt, 32, 9)] == [Window(0, 32, 0, 32).index]


def test_where_nobody_looked_again_the_first_look_stays() -> None:
    fusion = Fusion(np.full((20, 30), 0.25, np.float32), np.ones((20, 30), np.float32))
    fusion.add(Window(0, 10, 0, 10), np.ones((10, 10), np.float32))
    after = fusion.finish()
    assert (after[10:] == 0.25).all()
    assert (after[:, 10:] == 0.25).all()
    assert after[5, 5] == pytest.approx(1)
