"""Windows: they cover what they are to cover, overlap as asked, and move boxes into their own pixels."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from vns_sam.images.windows import Window, grid, whole


@pytest.mark.parametrize("shared", [0.0, 0.25, 0.5])
@pytest.mark.parametrize("within", [whole(300, 400), Window(20, 70, 5, 399), Window(0, 100, 0, 100)])
def test_windows_cover_a_part_and_overlap(within: Window, shared: float) -> None:
    seen = np.zeros((400, 400), int)
    windows = list(grid(within, 100, shared))
    for window in windows:
        assert window.shape == (min(100, within.shape[0]), 100)
        seen[window.index] += 1
    assert np.all(seen[within.index] > 0)
    assert seen.sum() == seen[within.index].sum()
    columns = sorted({(window.left, window.right) for window in windows})
    for (_, right), (left, _) in itertools.pairwise(columns):
        assert right - left >= 100 * shared - 1


def test_there_are_no_more_windows_than_are_needed() -> None:
    assert [window.left for window in grid(whole(100, 250), 100, 0.5)] == [0, 50, 100, 150]
    assert list(grid(whole(100, 100), 100, 0.5)) == [whole(100, 100)]


def test_the_whole_picture_is_all_of_it() -> None:
    assert whole(3, 5) == Window(0, 3, 0, 5)


def test_boxes_move_into_a_window() -> None:
    window = Window(10, 60, 20, 120)
    assert window.move(np.array([0, 20, 300, 50], np.float32)).tolist() == [0, 10, 100, 40]
    assert window.move(np.array([30, 0, 40, 300], np.float32)).tolist() == [10, 0, 20, 50]
