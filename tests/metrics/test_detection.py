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
from vns_sam.metrics.detection import Mask, average_precision

pytest.importorskip("faster_coco_eval", reason="the extra 'eval' is not installed")

OBJECT = np.zeros((20, 30), bool)
OBJECT[3:9, 4:11] = True
SHIFTED = np.roll(OBJECT, 1, axis=1)
"""IoU with OBJECT: 36 / 48 = 0.75, which passes the thresholds 0.50 to 0.75, six of ten."""
ELSEWHERE = np.roll(OBJECT, 10, axis=0)
EMPTY = np.zeros_like(OBJECT)


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
    result = average_precision(predictions, truths)
    assert tuple(result) == ("ap", "ap50", "ap75")
    assert tuple(result.values()) == pytest.approx(expected)


def test_codes_stand_for_their_masks() -> None:
    code = json.loads(json.dumps(encode_rle(SHIFTED)))
    assert code["size"] == [20, 30]
    assert average_precision([[(code, 0.9)]], [[encode_rle(OBJECT)]])["ap"] == pytest.approx(0.6)


def test_memory_does_not_grow_with_the_masks() -> None:
    def truths() -> Iterator[list[Mask]]:
        for _ in range(40):
            mask = np.zeros((500, 500), bool)
            mask[100:300, 100:300] = True
            yield [mask]

    predictions = ([(mask, 0.5) for mask in picture] for picture in truths())
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
        average_precision(predictions, truths)


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    with pytest.raises(MissingExtraError, match="average precision"):
        average_precision([], [])
