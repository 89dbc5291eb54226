"""Clicks: in the right place and with the right label."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vns_sam.prompts.clicks import Click, deepest_click, next_click

SMALL_MASKS = arrays(bool, (9, 13), elements=st.booleans())


def block(top: int, bottom: int, left: int, right: int, side: int = 64) -> np.ndarray:
    mask = np.zeros((side, side), bool)
    mask[top:bottom, left:right] = True
    return mask


@pytest.mark.parametrize(
    ("pred", "gt", "expected"),
    [
        (block(0, 0, 0, 0), block(10, 15, 20, 25), Click(22, 12, 1)),
        (block(10, 15, 20, 25), block(0, 0, 0, 0), Click(22, 12, 0)),
        (block(0, 3, 0, 3) | block(50, 59, 50, 59), block(50, 59, 50, 59), Click(1, 1, 0)),
        (block(30, 35, 30, 35), block(0, 21, 0, 21), Click(10, 10, 1)),
        (block(30, 35, 30, 35), block(0, 5, 0, 5), Click(2, 2, 1)),
    ],
    ids=["missed", "excess", "excess-in-the-corner", "the-larger-error", "of-equals-what-is-missed"],
)
def test_correction_hits_the_middle_of_the_largest_error(pred: np.ndarray, gt: np.ndarray, expected: Click) -> None:
    assert next_click(pred, gt) == expected


def test_correction_takes_the_largest_connected_part() -> None:
    parts = block(0, 5, 0, 5) | block(0, 5, 10, 15) | block(30, 37, 30, 37)
    assert next_click(np.zeros((64, 64), bool), parts) == Click(33, 33, 1)


def test_nothing_to_correct() -> None:
    assert next_click(block(3, 9, 3, 9), block(3, 9, 3, 9)) is None


@settings(max_examples=40, deadline=None)
@given(pred=SMALL_MASKS, gt=SMALL_MASKS)
def test_correction_is_always_an_error_with_the_label_of_the_truth(pred: np.ndarray, gt: np.ndarray) -> None:
    click = next_click(pred, gt)
    if click is None:
        assert np.array_equal(pred, gt)
    else:
        assert pred[click.y, click.x] != gt[click.y, click.x]
        assert click.label == gt[click.y, click.x]


def test_the_deepest_error_is_clicked_whatever_its_area() -> None:
    thin, thick = block(60, 63, 0, 63), block(10, 21, 10, 21)
    gt = thin | thick
    assert thin.sum() > thick.sum()
    empty = np.zeros_like(gt)
    assert next_click(empty, gt) == Click(1, 61, 1)
    assert deepest_click(empty, gt) == Click(15, 15, 1)
    assert deepest_click(thick, thin) == Click(15, 15, 0)


def test_of_equally_deep_errors_the_excess_is_clicked() -> None:
    assert deepest_click(block(30, 35, 30, 35), block(0, 5, 0, 5)) == Click(32, 32, 0)


def test_no_pixel_is_clicked_twice() -> None:
    empty, gt = np.zeros((64, 64), bool), block(10, 13, 10, 13)
    clicks: list[Click] = []
    while click := deepest_click(empty, gt, clicks):
        clicks.append(click)
    assert clicks[0] == Click(11, 11, 1)
    assert sorted(clicks) == [Click(x, y, 1) for x in range(10, 13) for y in range(10, 13)]


@settings(max_examples=40, deadline=None)
@given(pred=SMALL_MASKS, gt=SMALL_MASKS)
def test_the_deepest_click_is_that_of_the_published_rule(pred: np.ndarray, gt: np.ndarray) -> None:
    def depth(wrong: np.ndarray) -> np.ndarray:
        ys, xs = np.nonzero(~np.pad(wrong, 1))
        rows, columns = (np.arange(1, side + 1) for side in wrong.shape)
        squares = (rows[:, None, None] - ys) ** 2 + (columns[None, :, None] - xs) ** 2
        return np.sqrt(squares.min(axis=2)) * wrong

    missed, excess = depth(gt & ~pred), depth(pred & ~gt)
    click = deepest_click(pred, gt)
    if click is None:
        assert np.array_equal(pred, gt)
        return
    assert click.label == (missed.max() > excess.max())
    deep = missed if click.label else excess
    assert (click.y, click.x) == tuple(np.argwhere(np.isclose(deep, deep.max()))[0])
