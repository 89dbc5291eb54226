"""E, F, weighted F, S and MAE: those of PySODMetrics and of the authors, and finite everywhere."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from safetensors.torch import load_file

from vns_sam.errors import DataError, MissingExtraError
from vns_sam.metrics.maps import MAP_METRICS, map_scores, saliency_map

library = pytest.importorskip("py_sod_metrics", reason="the extra 'eval' is not installed")

EMPTY = np.zeros((40, 60), bool)
BLOCK = np.pad(np.ones((20, 20), bool), ((10, 10), (20, 20)))


def constant(value: int) -> np.ndarray:
    """A map of one gray level."""
    return np.full(EMPTY.shape, value, np.uint8)


def test_maps_and_scores_equal_the_authors(fixtures_dir: Path) -> None:
    reference = load_file(fixtures_dir / "vns" / "aux.safetensors")
    truths = reference["metric.gt"][:, 0].numpy() > 128
    logits = F.interpolate(reference["metric.logits"], truths.shape[1:], mode="bilinear", align_corners=False)
    for i, truth in enumerate(truths):
        found = saliency_map(logits[i, 0].numpy())
        assert np.array_equal(found, reference["metric.pred_u8"][i].numpy())
        values, _ = map_scores(found, truth, ("mean_e", "weighted_f"))
        assert values["mean_e"] == pytest.approx(float(reference["metric.meanEm_each"][i]), abs=1e-9)
        assert values["weighted_f"] == pytest.approx(float(reference["metric.wFm_each"][i]), abs=1e-9)


def test_scores_equal_the_recorded_pairs(fixtures_dir: Path) -> None:
    folder = fixtures_dir / "dis" / "metric_pairs"
    recorded = json.loads((folder / "values.json").read_text())["pairs"]
    names = {"mae": "MAE", "s": "S", "weighted_f": "wF", "mean_e": "meanE", "adaptive_e": "adpE"}
    names |= {"mean_f": "meanF", "adaptive_f": "adpF"}
    for stem, answers in recorded.items():
        truth = cv2.imread(str(folder / f"{stem}_gt.png"), cv2.IMREAD_GRAYSCALE) > 128
        gray = cv2.imread(str(folder / f"{stem}_pred.png"), cv2.IMREAD_GRAYSCALE)
        values, curves = map_scores(gray, truth, MAP_METRICS)
        expected = answers["pysodmetrics"]
        for ours, theirs in names.items():
            assert values[ours] == pytest.approx(expected[theirs], abs=1e-9), (stem, ours)
        assert curves["e"].max() == pytest.approx(expected["maxE"], abs=1e-6)
        assert curves["f"].max() == pytest.approx(expected["maxF"], abs=1e-6)


def test_only_what_is_asked_for_is_given() -> None:
    assert map_scores(constant(0), BLOCK, ["weighted_f"]) == ({"weighted_f": 0.0}, {})
    values, curves = map_scores(constant(0), BLOCK, ["max_f", "mean_e", "s"])
    assert (set(values), set(curves)) == ({"mean_e", "s"}, {"f"})
    assert curves["f"].shape == (256,)


# The table of docs/metrics.md: MAE, S, weighted F, mean E, adaptive E, mean F, adaptive F. An empty map's own threshold
# is 0, which every pixel reaches.
@pytest.mark.parametrize(
    ("gray", "truth", "expected"),
    [
        (constant(0), EMPTY, (0, 1, 0, 255 / 256, 0, 0, 0)),
        (constant(255), EMPTY, (1, 0, 0, 0, 0, 0, 0)),
        (constant(0), BLOCK, (1 / 6, 5 / 12, 0, 0.25, 0.25, 1.3 / 6.3 / 256, 1.3 / 6.3)),
        (constant(255), BLOCK, (5 / 6, None, None, 0.25, 0.25, 1.3 / 6.3, 1.3 / 6.3)),
        (constant(0), ~EMPTY, (1, 0, None, 1 / 256, 1, 1 / 256, 1)),
        (constant(255), ~EMPTY, (0, 1, 1, 1, 1, 1, 1)),
    ],
    ids=["both-empty", "empty-truth", "empty-map", "full-map", "full-truth-empty-map", "both-full"],
)
def test_empty_and_full(gray: np.ndarray, truth: np.ndarray, expected: tuple[float | None, ...]) -> None:
    names = ("mae", "s", "weighted_f", "mean_e", "adaptive_e", "mean_f", "adaptive_f")
    values, _ = map_scores(gray, truth, names)
    pixels = truth.size
    for name, value in zip(names, expected, strict=True):
        if value is not None:
            scale = pixels / (pixels - 1) if name.endswith("_e") else 1  # E divides by pixels - 1
            assert values[name] == pytest.approx(value * scale, abs=1e-9), name


@settings(max_examples=150, deadline=None)
@given(data=st.data(), shape=array_shapes(min_dims=2, max_dims=2, max_side=6))
def test_every_score_is_finite(data: st.DataObject, shape: tuple[int, int]) -> None:
    gray = data.draw(arrays(np.uint8, shape))
    truth = data.draw(arrays(bool, shape))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        values, curves = map_scores(gray, truth, MAP_METRICS)
    bound = max(1.0, truth.size / max(1, truth.size - 1)) + 1e-6
    for value in (*values.values(), *curves["e"], *curves["f"]):
        assert 0 <= value <= bound


def test_object_in_the_last_corner_has_an_s() -> None:
    truth = np.zeros((8, 8), bool)
    truth[7, 7] = True
    values, _ = map_scores(truth.astype(np.uint8) * 255, truth, ["s"])
    assert values["s"] == pytest.approx(1, abs=1e-6)


def test_constant_logits_make_a_constant_map() -> None:
    assert np.unique(saliency_map(np.zeros((3, 4)))).tolist() == [127]
    assert np.unique(saliency_map(np.full((3, 4), -200.0))).tolist() == [0]
    assert np.unique(saliency_map(np.full((3, 4), 200.0))).tolist() == [255]
    assert np.unique(saliency_map(np.array([[-1.0, 2.0]]))).tolist() == [0, 255]


@pytest.mark.parametrize("logits", [np.array([[0.0, np.nan]]), np.zeros((0, 3))])
def test_logits_that_are_no_map_are_refused(logits: np.ndarray) -> None:
    with pytest.raises(DataError, match="expected logits"):
        saliency_map(logits)


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "py_sod_metrics", None)
    with pytest.raises(MissingExtraError) as error:
        map_scores(constant(0), BLOCK, ["s"])
    assert "vns-sam[eval]" in error.value.hint
