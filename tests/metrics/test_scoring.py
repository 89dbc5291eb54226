"""Scores of pictures and sets, as the library gives for a set."""

from __future__ import annotations

import importlib.util
import json
import sys

import numpy as np
import pytest

from vns_sam.errors import DataError, MissingExtraError, UsageError
from vns_sam.metrics.scoring import METRICS, ImageScores, check_installed, parse_metrics, score_image, summarise

needs_library = pytest.mark.skipif(
    importlib.util.find_spec("py_sod_metrics") is None, reason="the extra 'eval' is not installed"
)


def pictures(count: int, size: tuple[int, int] = (24, 32)) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Mask, map and truth of random blobs; the last truth is empty."""
    rng = np.random.default_rng(0)
    made = []
    for i in range(count):
        truth = np.zeros(size, bool)
        if i < count - 1:
            y, x = rng.integers(2, 12, 2)
            truth[y : y + 9, x : x + 11] = True
        gray = np.clip(truth * 150 + rng.integers(0, 106, size), 0, 255).astype(np.uint8)
        made.append((gray > 128, gray, truth))
    return made


@needs_library
def test_set_scores_equal_the_library() -> None:
    import py_sod_metrics as library

    made = pictures(6)
    ours = summarise(score_image(*picture, METRICS) for picture in made)
    measures = {
        "em": library.Emeasure(),
        "sm": library.Smeasure(),
        "wfm": library.WeightedFmeasure(),
        "mae": library.MAE(),
    }
    f = library.FmeasureV2({"f": library.FmeasureHandler(with_dynamic=True, with_adaptive=True, beta=0.3)})
    for _, gray, truth in made:
        for measure in (*measures.values(), f):
            measure.step(gray, truth.astype(np.uint8) * 255)
    theirs = {name: measure.get_results()[name] for name, measure in measures.items()}
    theirs_f = f.get_results()["f"]
    expected = {"mae": theirs["mae"], "s": theirs["sm"], "weighted_f": theirs["wfm"]}
    expected |= {"mean_e": theirs["em"]["curve"].mean(), "max_e": theirs["em"]["curve"].max()}
    expected |= {"adaptive_e": theirs["em"]["adp"], "mean_f": theirs_f["dynamic"].mean()}
    expected |= {"max_f": theirs_f["dynamic"].max(), "adaptive_f": theirs_f["adaptive"]}
    assert list(ours) == list(METRICS)
    for name, value in expected.items():
        assert ours[name] == pytest.approx(value, abs=1e-7), name


def test_max_is_that_of_the_mean_curve() -> None:
    early, late = np.zeros((2, 256), np.float32)
    early[0], late[255], late[7] = 1, 0.5, 0.4
    early[7] = 0.8
    sets = summarise([ImageScores({"iou": 1.0}, {"f": early}), ImageScores({"iou": 0.5}, {"f": late})])
    assert sets == pytest.approx({"iou": 0.75, "max_f": 0.6})


@needs_library
def test_json_keeps_the_scores_exactly() -> None:
    made = [score_image(*picture, METRICS) for picture in pictures(3)]
    again = [ImageScores.from_json(json.loads(json.dumps(scores.to_json(), allow_nan=False))) for scores in made]
    assert summarise(again) == summarise(made)
    assert len(json.dumps(made[0].to_json())) < 3500


@pytest.mark.parametrize("value", [{}, {"values": {}}, {"values": {"iou": "x"}, "curves": {}}, [], None])
def test_json_of_something_else_is_refused(value: object) -> None:
    with pytest.raises(DataError, match="expected the scores of a picture"):
        ImageScores.from_json(value)  # type: ignore[arg-type]


def test_a_short_curve_is_refused() -> None:
    with pytest.raises(DataError, match="a curve of 1 values"):
        ImageScores.from_json({"values": {}, "curves": {"e": "AAAAAA=="}})


def test_sets_that_have_no_score_are_refused() -> None:
    with pytest.raises(DataError, match="at least one scored picture"):
        summarise([])
    with pytest.raises(DataError, match="the same metrics"):
        summarise([ImageScores({"iou": 1.0}), ImageScores({"biou": 1.0})])


def test_names_of_metrics() -> None:
    assert parse_metrics(["max_e", "iou", "iou"]) == ("iou", "max_e")
    with pytest.raises(UsageError, match="unknown metric 'mean_g'") as error:
        parse_metrics(["mean_g"])
    assert "did you mean mean_" in error.value.hint
    with pytest.raises(UsageError, match="at least one"):
        parse_metrics([])


@needs_library
def test_a_mask_alone_is_scored_as_a_map() -> None:
    mask, _, truth = pictures(2)[0]
    assert score_image(mask, None, truth, ["mae"]).values["mae"] == pytest.approx(np.mean(mask != truth))


@pytest.mark.parametrize(
    ("position", "bad", "says"),
    [
        (0, np.zeros((24, 31), bool), "expected a mask of shape"),
        (1, np.zeros((24, 32), np.float32), "expected a map of uint8"),
        (2, np.zeros((24, 32), np.uint8), "expected a true mask of bool"),
        (2, np.zeros((0, 32), bool), "with pixels"),
    ],
)
def test_wrong_arrays_are_refused(position: int, bad: np.ndarray, says: str) -> None:
    picture = list(pictures(1)[0])
    picture[position] = bad
    with pytest.raises(DataError, match=says):
        score_image(*picture, ["iou"])


def test_the_extra_is_asked_for_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "py_sod_metrics", None)
    check_installed(["iou", "biou"])
    with pytest.raises(MissingExtraError):
        check_installed(["iou", "s"])
