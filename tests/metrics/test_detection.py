"""Average precision: right by hand, and with empty pictures, codes and mistakes."""

from __future__ import annotations

import json
import math
import sys
import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest

from vns_sam.errors import DataError, MissingExtraError
from vns_sam.formats.rle import encode_rle
from vns_sam.metrics.detection import Finding, Mask, Truth, average_precision, precision_by_class

pytest.importorskip("faster_coco_eval", reason="the extra 'eval' is not installed")

OBJECT = np.zeros((20, 30), bool)
OBJECT[3:9, 4:11] = True
SHIFTED = np.roll(OBJECT, 1, axis=1)
"""IoU with OBJECT: 36 / 48 = 0.75, which passes the thresholds 0.50 to 0.75, six of ten."""
ELSEWHERE = np.roll(OBJECT, 10, axis=0)
EMPTY = np.zeros_like(OBJECT)


def found(pictures: list[list[tuple[Mask, float]]]) -> list[list[Finding]]:
    return [[Finding(*each) for each in picture] for picture in pictures]


def true(pictures: list[list[Mask]]) -> list[list[Truth]]:
    return [[Truth(mask) for mask in picture] for picture in pictures]


@pytest.mark.parametrize(
    ("predictions", "truths", "expected"),
    [
        ([[(OBJECT, 0.9)]], [[OBJECT]], (1, 1, 1)),
        ([[(SHIFTED, 0.9)]], [[OBJECT]], (0.6, 1, 1)),
        ([[]], [[OBJECT]], (0, 0, 0)),
        ([[(ELSEWHERE, 0.9)]], [[OBJECT]], (0, 0, 0)),
        ([[(EMPTY, 0.9)]], [[OBJECT, EMPTY]], (0, 0, 0)),
        # A surer wrong find halves the precision at every recall; a less sure one costs nothing.
        ([[(ELSEWHERE, 0.9), (OBJECT, 0.5)]], [[OBJECT]], (0.5, 0.5, 0.5)),
        ([[(ELSEWHERE, 0.1), (OBJECT, 0.5)]], [[OBJECT]], (1, 1, 1)),
        ([[(OBJECT, 0.5)], [(OBJECT, 0.9)]], [[OBJECT], []], (0.5, 0.5, 0.5)),
        # One of two found: precision 1 at the recalls 0.00 to 0.50, 51 of 101.
        ([[(OBJECT, 0.9)]], [[OBJECT, ELSEWHERE]], (51 / 101, 51 / 101, 51 / 101)),
    ],
)
def test_by_hand(
    predictions: list[list[tuple[Mask, float]]], truths: list[list[Mask]], expected: tuple[float, ...]
) -> None:
    result = average_precision(found(predictions), true(truths))
    assert tuple(result) == ("ap", "ap50", "ap75")
    assert tuple(result.values()) == pytest.approx(expected)


def test_only_objects_of_one_class_compete() -> None:
    predictions = [[Finding(OBJECT, 0.5, "dog"), Finding(ELSEWHERE, 0.9, "cat")]]
    truths = [[Truth(OBJECT, "dog"), Truth(SHIFTED, "cat")]]
    assert precision_by_class(predictions, truths) == {
        "cat": {"ap": 0.0, "ap50": 0.0, "ap75": 0.0},
        "dog": {"ap": 1.0, "ap50": 1.0, "ap75": 1.0},
    }
    assert average_precision(predictions, truths)["ap"] == pytest.approx(0.5)
    one_class = [[Finding(each.mask, each.score) for each in predictions[0]]]
    joined = average_precision(one_class, [[Truth(OBJECT), Truth(SHIFTED)]])
    # The surer find is wrong, so precision is 1/2 up to recall 1/2: 51 of 101 recalls.
    assert joined["ap50"] == pytest.approx(51 / 101 / 2)


def test_a_class_without_true_objects_does_not_count() -> None:
    predictions = [[Finding(OBJECT, 0.5, "dog"), Finding(ELSEWHERE, 0.9, "cat")]]
    assert set(precision_by_class(predictions, [[Truth(OBJECT, "dog")]])) == {"dog"}


def test_codes_stand_for_their_masks() -> None:
    code = json.loads(json.dumps(encode_rle(SHIFTED)))
    assert code["size"] == [20, 30]
    assert average_precision([[Finding(code, 0.9)]], [[Truth(encode_rle(OBJECT))]])["ap"] == pytest.approx(0.6)


def test_memory_does_not_grow_with_the_masks() -> None:
    def truths() -> Iterator[list[Truth]]:
        for _ in range(40):
            mask = np.zeros((500, 500), bool)
            mask[100:300, 100:300] = True
            yield [Truth(mask)]

    predictions = ([Finding(each.mask, 0.5) for each in picture] for picture in truths())
    tracemalloc.start()
    result = average_precision(predictions, truths())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert result["ap"] == pytest.approx(1)
    assert peak < 6 * 500 * 500


@pytest.mark.parametrize(
    ("predictions", "truths", "says"),
    [
        ([[]], [[], [OBJECT]], "one list longer"),
        ([[], []], [[OBJECT]], "one list longer"),
        ([], [], "at least one true object"),
        ([[(OBJECT, 0.9)]], [[EMPTY]], "at least one true object"),
        ([[(OBJECT, math.nan)]], [[OBJECT]], "finite scores, found nan in picture 1"),
        ([[(OBJECT[1:], 0.9)]], [[OBJECT]], "masks of one size in picture 1"),
        ([[(OBJECT.astype(np.uint8), 0.9)]], [[OBJECT]], "expected a mask"),
    ],
)
def test_mistakes_are_told(predictions: list, truths: list, says: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(DataError, match=says):
        average_precision(found(predictions), true(truths))


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    with pytest.raises(MissingExtraError, match="average precision"):
        average_precision([], [])
