from dataclasses import replace

import numpy as np
import pytest

from vns_sam.data.sparse import SparseLabel, rasterise
from vns_sam.errors import UsageError
from vns_sam.labelling.gates import LEFT_OUT, STROKED, Agreement, Gates, agreement, marked_parts


def test_agreement_with_strokes() -> None:
    codes = np.zeros((10, 10), np.uint8)
    codes[2, :5], codes[8, :] = 1, 2
    mask = np.zeros((10, 10), bool)
    mask[2, 1:5], mask[8, 0] = True, True
    assert agreement(mask, SparseLabel("scribble", codes)) == Agreement(0.8, 0.1, 0.05, 0.0, 0.05, 0.1)


def test_nothing_marked_is_nothing_against_it() -> None:
    found = agreement(np.zeros((4, 4), bool), SparseLabel("point", np.zeros((4, 4), np.uint8)))
    assert (found.recall, found.violation, found.span) == (1, 0, 0)


def test_limits_may_be_nothing_and_all() -> None:
    assert Gates(recall=0, area_max=1).passes(Agreement(0, 0, 1, 0))


@pytest.mark.parametrize(("area", "left"), [(0.4, 0.6), (0.75, 0.25), (0.97, LEFT_OUT), (1.0, LEFT_OUT)])
def test_marks_beside_the_object_count_as_strokes_by_how_much_the_answer_leaves_out(area: float, left: float) -> None:
    for beside, largest in ((STROKED * left, 1.0), (0.9 * STROKED * left, 0.5)):
        assert Gates().largest(Agreement(1, 0, area, 0, beside=beside)) == largest


@pytest.mark.parametrize(
    ("rows", "columns", "gap"),
    [
        *(((20, 60), (10, 60), 0.0), ((24, 60), (10, 60), 0.1), ((20, 50), (10, 60), 0.25)),  # top, bottom
        *(((20, 60), (15, 60), 0.1), ((20, 60), (10, 35), 0.5), ((0, 5), (0, 5), 1.0)),  # left, right, not there
    ],
)
def test_an_answer_should_fill_its_box(rows: tuple[int, int], columns: tuple[int, int], gap: float) -> None:
    mask = np.zeros((80, 90), bool)
    mask[slice(*rows), slice(*columns)] = True
    found = agreement(mask, rasterise((80, 90), "t", boxes=[[10, 20, 60, 60]]))
    assert found.gap == pytest.approx(gap)


@pytest.mark.parametrize(
    ("change", "passes"),
    [
        ({}, True),
        ({"recall": 0.79}, False),
        ({"violation": 0.11}, False),
        ({"area": 0.001}, True),
        ({"area": 0.0009}, False),
        ({"area": 0.501}, False),
        ({"gap": 0.11}, False),
    ],
)
def test_each_gate_can_close_and_its_limit_passes(change: dict[str, float], passes: bool) -> None:
    on_the_limits = {"recall": 0.8, "violation": 0.1, "area": 0.5, "gap": 0.1}
    assert Gates().passes(Agreement(**{**on_the_limits, **change})) is passes


@pytest.mark.parametrize(
    ("marks", "largest"),
    [
        ({"points": [[5, 5]], "labels": [1]}, 0.5),
        ({"points": [[0, 0], [99, 79]], "labels": [1, 1]}, 1.0),
        ({"points": [[10, 10], [89, 59]], "labels": [1, 1]}, 1.5 * 0.8 * 0.5),
        ({"boxes": [[10, 0, 90, 60]]}, 1.0),
        ({"points": [[10, 10], [5, 90]], "labels": [1, 0]}, 0.5),
    ],
)
def test_large_objects_are_believed_where_their_marks_reach_far(
    marks: dict[str, list[list[int]]], largest: float
) -> None:
    label = rasterise((100, 100), "t", **marks)
    found = agreement(np.ones((100, 100), bool), label)
    assert Gates().largest(found) == pytest.approx(largest)
    assert Gates(area_max=0.3).largest(found) == 0.3


def test_a_refusal_says_what_and_how_much() -> None:
    fine = Agreement(0.9, 0.05, 0.4, 0.0)
    assert Gates().refusal(fine) == ""
    assert Gates().refusal(replace(fine, area=0.62)) == "covers 62% of the picture, more than 50%"
    assert Gates().refusal(replace(fine, area=0.62, span=0.42)) == ""
    assert Gates().refusal(replace(fine, area=0.97, beside=0.004)) == ""
    assert Gates().refusal(replace(fine, recall=0.5)) == "finds 50% of the marked object, not 80%"


def test_a_gate_out_of_range() -> None:
    with pytest.raises(UsageError, match="'recall'"):
        Gates(recall=80)
    with pytest.raises(UsageError, match="'gap'"):
        Gates(gap=1.01)
    assert Gates(area_max=1).area_max == 1


def test_parts_without_a_mark_are_dropped() -> None:
    mask = np.zeros((10, 10), bool)
    mask[1:4, 1:4], mask[4, 4], mask[6:9, 6:9] = True, True, True
    codes = np.zeros((10, 10), np.uint8)
    codes[2, 2], codes[0, 9] = 1, 1
    kept = marked_parts(mask, SparseLabel("scribble", codes))
    assert kept.sum() == 10
    assert kept[4, 4]
    assert not kept[6:, 6:].any()


def test_an_object_that_a_box_alone_tells_of_stays_beside_strokes_on_another() -> None:
    mask = np.zeros((20, 20), bool)
    stroked, boxed, beside, crumb = (slice(1, 4), slice(1, 4)), (slice(8, 12), slice(8, 12)), (19, 19), (1, 19)
    for part in (stroked, boxed, beside, crumb):
        mask[part] = True
    codes = np.zeros((20, 20), np.uint8)
    codes[2, 2] = 1
    boxes = np.array([[0, 0, 20, 5], [8, 8, 14, 14]], np.float32)  # the first holds the stroke, and a crumb
    kept = marked_parts(mask, SparseLabel("box", codes, boxes))
    assert kept[stroked].all()
    assert kept[boxed].all()
    assert not kept[beside]
    assert not kept[crumb]


def test_without_a_mark_all_parts_stay() -> None:
    mask = np.eye(4, dtype=bool)
    assert marked_parts(mask, SparseLabel("box", np.full((4, 4), 2, np.uint8))) is mask
