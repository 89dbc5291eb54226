"""Human correction effort: recorded numbers of the published protocol, cases worked out by hand, kept skeletons."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vns_sam.errors import DataError
from vns_sam.metrics import hce as module
from vns_sam.metrics.hce import Effort, correction_effort, hce, truth_skeleton
from vns_sam.metrics.scoring import score_image, summarise

PAIRS = (
    "00_identical",
    "01_shift3",
    "02_missing_spokes",
    "03_holes_blobs",
    "04_soft_noisy",
    "05_border",
    "06_empty_pred",
    "07_complex",
    "08_threshold_128",
    "09_low_contrast",
    "10_empty_gt",
)
PROTOCOLS = {
    "relax0": (0, 2.0),
    "relax1": (1, 2.0),
    "relax3": (3, 2.0),
    "relax5": (5, 2.0),
    "relax5_eps1": (5, 1.0),
}


@pytest.fixture(scope="module")
def recorded(fixtures_dir: Path) -> dict[str, Any]:
    pairs = json.loads((fixtures_dir / "dis" / "metric_pairs" / "values.json").read_text())["pairs"]
    return {
        name: next(values for opencv, values in pair["hce"].items() if "<=4.12" in opencv)
        for name, pair in pairs.items()
    }


def read_pair(fixtures_dir: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    folder = fixtures_dir / "dis" / "metric_pairs"
    found, truth = (np.asarray(Image.open(folder / f"{name}_{kind}.png").convert("L")) for kind in ("pred", "gt"))
    return found, truth > 128


@pytest.mark.parametrize("name", PAIRS)
def test_recorded_pairs(fixtures_dir: Path, recorded: dict[str, Any], name: str) -> None:
    found, truth = read_pair(fixtures_dir, name)
    for protocol, (relax, epsilon) in PROTOCOLS.items():
        effort = correction_effort(found > 128, truth, relax=relax, epsilon=epsilon)
        parts = [effort.extra_points, effort.extra_regions, effort.lacking_points, effort.lacking_regions]
        assert [*parts, effort.total] == recorded[name][protocol], protocol
    assert truth_skeleton(truth).sum() == recorded[name]["skeleton_pixels"]
    assert hce(found, truth) == recorded[name]["relax5"][-1]


def disk(row: int, column: int, radius: int) -> np.ndarray:
    y, x = np.mgrid[:80, :100]
    return (y - row) ** 2 + (x - column) ** 2 <= radius**2


def test_regions_that_one_click_mends_and_outlines() -> None:
    object_, speck, stain, hole = disk(40, 30, 20), disk(10, 85, 3), disk(40, 80, 12), disk(40, 30, 8)
    assert correction_effort(object_, object_) == Effort(0, 0, 0, 0)
    assert correction_effort(object_ | stain, object_) == Effort(0, 1, 0, 0)
    assert correction_effort(object_ | speck, object_) == Effort(0, 0, 0, 0)  # opening removes it
    assert correction_effort(object_ & ~hole, object_) == Effort(0, 0, 0, 1)
    assert correction_effort(object_, object_ & ~hole).extra_points >= 4  # a filled hole is drawn anew
    assert correction_effort(object_, object_ | stain).lacking_points >= 4
    assert correction_effort(object_, object_ | speck) == Effort(0, 0, 2, 0)  # the two pixels of its skeleton


def test_a_missing_half_is_cut_by_its_edge() -> None:
    truth = np.zeros((60, 80), bool)
    truth[10:50, 10:70] = True
    found = truth.copy()
    found[:, 40:] = False
    effort = correction_effort(found, truth)
    assert effort.extra_points == effort.extra_regions == effort.lacking_regions == 0
    assert 2 <= effort.lacking_points <= 8


@pytest.mark.parametrize(
    ("found", "truth", "effort"),
    [(0, 0, (0, 0, 0, 0)), (1, 1, (0, 0, 0, 0)), (1, 0, (0, 1, 0, 0)), (0, 1, (0, 0, 0, 1))],
)
def test_empty_and_full(found: int, truth: int, effort: tuple[int, ...]) -> None:
    assert correction_effort(np.full((30, 40), bool(found)), np.full((30, 40), bool(truth))) == Effort(*effort)
    assert hce(np.full((1, 1), 255 * found, np.uint8), np.full((1, 1), bool(truth))) == sum(effort)


def test_what_is_beyond_the_objects_decides_nothing() -> None:
    truth = disk(40, 50, 35)
    found = disk(40, 60, 38) & (np.random.default_rng(3).random(truth.shape) > 0.02)
    inside = [np.pad(mask, ((60, 140), (40, 110))) for mask in (found, truth)]
    assert correction_effort(*inside) == correction_effort(*(mask[58:142, 38:142].copy() for mask in inside))


def test_the_border_of_the_picture_does_not_erode() -> None:
    strip, nothing = np.zeros((2, 40, 50), bool)
    strip[:, :8] = True
    assert correction_effort(strip, nothing).total == 1
    assert correction_effort(np.roll(strip, 20, axis=1), nothing).total == 0


def test_only_above_128_is_found() -> None:
    truth = disk(40, 50, 25)
    assert hce(truth * np.uint8(129), truth) == 0
    assert hce(truth * np.uint8(128), truth) > 0


@pytest.mark.parametrize(
    ("line", "corners"),
    [
        ([(0, 0)], 1),
        ([(0, 0), (1, 0)], 2),
        ([(0, 0), (1, 0), (2, 0), (3, 0)], 2),
        ([(i, 0) for i in range(9)] + [(8, i) for i in range(1, 9)], 3),
        ([(i, 0) for i in range(9)] + [(8, 1), (8, 2)], 2),
    ],
)
def test_corners_of_lines(line: list[tuple[int, int]], corners: int) -> None:
    assert module._corners(np.array(line), 2.0) == corners


def test_corners_are_those_of_older_opencv() -> None:
    """A sampled sine that has 22 corners for OpenCV 4.10 and 19 for OpenCV 4.14."""
    x = np.arange(200)
    line = np.stack([x, np.round(40 * np.sin(x / 5)).astype(int)], axis=1)
    assert module._corners(line, 2.0) == 22


def test_skeletons_are_kept_and_damaged_ones_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    truth, found = disk(40, 50, 25), disk(40, 50, 8)
    score = correction_effort(found, truth, skeletons=tmp_path)
    (kept,) = tmp_path.iterdir()
    with monkeypatch.context() as patch:
        patch.setattr(module, "skeleton", None)
        assert correction_effort(found, truth, skeletons=tmp_path) == score
    for damage in (b"", b"no array", kept.read_bytes()[:-3]):
        kept.write_bytes(damage)
        with caplog.at_level(logging.WARNING):
            np.testing.assert_array_equal(truth_skeleton(truth, tmp_path), truth_skeleton(truth))
        assert kept.name in caplog.text
        caplog.clear()
    truth_skeleton(truth[:, :90], tmp_path)
    truth_skeleton(truth.reshape(100, 80), tmp_path)
    assert len(list(tmp_path.iterdir())) == 3


def test_scores_keep_skeletons(tmp_path: Path) -> None:
    truths = [disk(40, 50, 25), disk(30, 30, 18)]
    found = disk(40, 52, 22)
    taken = [score_image(found, None, truth, ["iou", "hce"], tmp_path) for _ in range(2) for truth in truths][2:]
    assert [scores.values for scores in taken] == [score_image(found, None, t, ["hce", "iou"]).values for t in truths]
    assert summarise(taken)["hce"] == np.mean([hce(found * np.uint8(255), truth) for truth in truths])
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("found", "truth", "says"),
    [
        (np.zeros((4, 5), np.uint8), np.zeros((4, 4), bool), "of one size"),
        (np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint8), "true mask of bool"),
        (np.zeros((4, 4), np.float32), np.zeros((4, 4), bool), "map of uint8"),
    ],
)
def test_wrong_arrays(found: np.ndarray, truth: np.ndarray, says: str) -> None:
    with pytest.raises(DataError, match=says):
        hce(found, truth)


def test_a_large_picture_takes_a_second() -> None:
    y, x = np.mgrid[:1329, :1374]
    truth = np.sin(x / 60) + np.sin(y / 45) > 0.3
    found = np.sin(x / 60) + np.sin(y / 45) + 0.5 * np.sin(x / 3) * np.sin(y / 4) > 0.3
    start = time.process_time()
    correction_effort(found, truth)
    assert time.process_time() - start < 1.5
