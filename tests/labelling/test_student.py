"""Points of a student join those of the marks and never contradict them."""

from __future__ import annotations

import numpy as np

from vns_sam.data.sparse import SparseLabel
from vns_sam.labelling.points import prompts_from
from vns_sam.labelling.student import add_points
from vns_sam.prompts.codes import BACKGROUND, OBJECT
from vns_sam.types import Prompts


def scene() -> tuple[SparseLabel, np.ndarray]:
    """A mark on the left of two squares; the student is sure of both, and of a marked background corner."""
    codes = np.zeros((60, 80), np.uint8)
    codes[28:32, 18:22] = OBJECT
    codes[20:22, 10:20] = BACKGROUND
    probability = np.full((60, 80), 0.5, np.float32)
    probability[20:40, 10:30] = probability[20:40, 50:70] = 0.95
    probability[50:] = 0.02
    return SparseLabel("scribble", codes), probability


def test_points_lie_where_the_student_is_sure_and_the_marks_agree() -> None:
    label, probability = scene()
    rng = np.random.default_rng(0)
    own = prompts_from(label, 4, rng)
    joined = add_points(own, label, probability, 5, rng)
    assert own.points is not None
    assert joined.points is not None
    assert joined.labels is not None
    count = own.points.shape[1]
    np.testing.assert_array_equal(joined.points[0, :count], own.points[0])
    added = joined.points[0, count:].astype(int)
    labels = joined.labels[0, count:]
    assert (labels == 1).sum() == (labels == 0).sum() == 5
    for (x, y), is_object in zip(added, labels, strict=True):
        assert (probability[y, x] > 0.9) == is_object
        assert label.codes[y, x] != (BACKGROUND if is_object else OBJECT)
        assert x < 40 or not is_object, "the unmarked square is not the object"


def test_an_unsure_student_adds_nothing() -> None:
    label, probability = scene()
    rng = np.random.default_rng(0)
    own = prompts_from(label, 4, rng)
    joined = add_points(own, label, np.full_like(probability, 0.5), 5, rng)
    np.testing.assert_array_equal(joined.points, own.points)


def test_boxes_stay_as_they_are() -> None:
    label, probability = scene()
    boxes = Prompts(boxes=np.array([[5, 5, 40, 40]], np.float32))
    assert add_points(boxes, label, probability, 5, np.random.default_rng(0)) is boxes
