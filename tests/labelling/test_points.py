import numpy as np
import pytest

from vns_sam.data.sparse import SparseLabel
from vns_sam.errors import DataError
from vns_sam.labelling.points import prompts_from, spread_points


def strokes() -> np.ndarray:
    marks = np.zeros((80, 120), bool)
    marks[10:13, 10:100] = True
    marks[50:53, 20:40] = True
    marks[70, 110] = True
    return marks


@pytest.mark.parametrize("sampler", ["fps", "grid", "random"])
def test_points_lie_on_strokes_and_each_stroke_has_one(sampler: str) -> None:
    points = spread_points(strokes(), 10, np.random.default_rng(0), sampler).astype(int)
    assert len(np.unique(points, axis=0)) == len(points)
    assert 5 <= len(points) <= 10
    assert strokes()[points[:, 1], points[:, 0]].all()
    assert set(points[:, 1] // 30) == {0, 1, 2}


def test_the_farthest_points_reach_the_ends() -> None:
    marks = np.zeros((20, 101), bool)
    marks[10] = True
    xs = sorted(spread_points(marks, 5, np.random.default_rng(0))[:, 0])
    assert xs == [0, 25, 50, 75, 100]


def test_one_point_lies_in_the_middle() -> None:
    marks = np.zeros((20, 101), bool)
    marks[10] = True
    assert spread_points(marks, 1, np.random.default_rng(0)).tolist() == [[50, 10]]


def test_with_few_points_the_longest_strokes_get_them() -> None:
    points = spread_points(strokes(), 2, np.random.default_rng(0))
    assert sorted(points[:, 1] // 30) == [0, 1]


def test_single_pixels_are_all_taken() -> None:
    marks = np.zeros((9, 9), bool)
    marks[[1, 4, 7], [1, 6, 2]] = True
    assert sorted(map(tuple, spread_points(marks, 10, np.random.default_rng(0)))) == [(1, 1), (2, 7), (6, 4)]


def test_prompts_hold_object_and_background_in_one_row() -> None:
    codes = strokes().astype(np.uint8)
    codes[50:53] *= 2
    prompts = prompts_from(SparseLabel("scribble", codes), 4, np.random.default_rng(0))
    assert prompts.points.shape == (1, 8, 2)
    assert prompts.labels.tolist() == [[1] * 4 + [0] * 4]
    for (x, y), label in zip(prompts.points[0].astype(int), prompts.labels[0], strict=True):
        assert codes[y, x] == 2 - label


def test_boxes_are_asked_as_they_are() -> None:
    boxes = np.array([[1, 2, 30, 40], [50, 50, 60, 60]], np.float32)
    prompts = prompts_from(SparseLabel("box", np.zeros((80, 80), np.uint8), boxes), 5, np.random.default_rng(0))
    assert prompts.points is None
    assert (prompts.boxes == boxes).all()


def test_no_object_no_prompt() -> None:
    with pytest.raises(DataError, match="at least one mark"):
        prompts_from(SparseLabel("scribble", np.full((4, 4), 2, np.uint8)), 5, np.random.default_rng(0))
