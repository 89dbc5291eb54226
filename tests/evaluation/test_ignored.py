"""Pixels that are neither object nor background have no part in any measure."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from fakes import FakeModel
from workshop import write_disks

from vns_sam.errors import DataError
from vns_sam.evaluation.gallery import write_figures
from vns_sam.evaluation.measure import Measure
from vns_sam.evaluation.suite import make_suite
from vns_sam.images.read import read_image
from vns_sam.metrics.scoring import METRICS, parse_metrics, saliency_map, score_image

OF_MAPS = tuple(name for name in METRICS if name not in ("iou", "biou", "hce"))


def halves() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits (40, 60) that are never low, a disk, and the left half of the picture, in which all of the disk is."""
    y, x = np.mgrid[:40, :60]
    disk = (x - 14) ** 2 + (y - 20) ** 2 < 80
    logits = np.where(disk, 2.0, -0.5) + np.random.default_rng(0).normal(0, 0.5, disk.shape)
    return logits.astype(np.float32), disk, x < 30


def scores(logits: np.ndarray, truth: np.ndarray, counted: np.ndarray | None) -> dict[str, float]:
    found = logits > 0 if counted is None else (logits > 0) & counted
    made = score_image(found, saliency_map(logits, counted), truth, METRICS, counted=counted)
    return made.values | {f"max_{letter}": float(curve.max()) for letter, curve in made.curves.items()}


@pytest.mark.parametrize("metric", OF_MAPS)
def test_half_a_picture_scores_as_if_it_were_the_whole(metric: str) -> None:
    pytest.importorskip("py_sod_metrics")
    logits, disk, left = halves()
    alone = scores(logits[:, :30], disk[:, :30], None)
    assert scores(logits, disk, left)[metric] == pytest.approx(alone[metric], abs=1e-9)
    other = np.where(left, logits, 9).astype(np.float32)  # whatever was said about the others
    assert scores(other, disk, left) == scores(logits, disk, left)


@pytest.mark.parametrize("metric", OF_MAPS)
def test_where_all_pixels_count_nothing_changes(metric: str) -> None:
    pytest.importorskip("py_sod_metrics")
    logits, disk, left = halves()
    everything = np.ones_like(left)
    assert scores(logits, disk, everything)[metric] == pytest.approx(scores(logits, disk, None)[metric], abs=1e-12)


def test_masks_must_be_empty_where_pixels_do_not_count() -> None:
    _, disk, left = halves()
    with pytest.raises(DataError, match="expected a true mask that is empty"):
        score_image(disk & ~left, None, ~left, parse_metrics(["iou"]), counted=left)
    with pytest.raises(DataError, match="expected pixels that count"):
        score_image(disk, None, disk, parse_metrics(["iou"]), counted=np.zeros_like(disk))


def ignoring(folder: Path, columns: int) -> Path:
    """A set of one picture whose first columns do not count."""
    write_disks(folder, 1)
    (folder / "masks_ignore").mkdir()
    ignored = np.zeros((48, 64), np.uint8)
    ignored[:, :columns] = 255
    cv2.imwrite(str(folder / "masks_ignore" / "000.png"), ignored)
    return folder


def test_evaluation_scores_the_pixels_that_count(tmp_path: Path) -> None:
    pytest.importorskip("py_sod_metrics")
    folder, maps = ignoring(tmp_path / "disks", 20), tmp_path / "maps"
    run = make_suite([folder], Measure(metrics=("iou", "mae"))).run(FakeModel(), "fake", maps=maps)
    list(run)
    (row,) = run.result().rows
    shades = cv2.imread(str(maps / "fake" / "box" / "disks" / "000.png"), cv2.IMREAD_GRAYSCALE)
    truth = cv2.imread(str(folder / "masks" / "000.png"), cv2.IMREAD_GRAYSCALE) > 127
    assert not shades[:, :20].any()
    assert row.scores.values["mae"] == pytest.approx(np.abs(shades[:, 20:] / 255 - truth[:, 20:]).mean())


def test_a_picture_of_which_nothing_counts_is_skipped(tmp_path: Path) -> None:
    folder = ignoring(tmp_path / "disks", 64)
    run = make_suite([folder], Measure(prompts=("image",))).run(FakeModel(), "fake")
    assert ["found every pixel ignored" in outcome.error for outcome in run] == [True]


def test_figures_show_no_errors_where_pixels_do_not_count(tmp_path: Path) -> None:
    folder = ignoring(tmp_path / "disks", 60)
    truth = np.zeros((48, 64), np.uint8)
    truth[10:30, 61:64] = 255
    cv2.imwrite(str(folder / "masks" / "000.png"), truth)
    suite = make_suite([folder], Measure(prompts=("image",)))
    run = suite.run(FakeModel(), "fake")
    list(run)
    path = next(
        path
        for path in write_figures(tmp_path / "out", [run], suite.report([run]).models, suite, count=1)
        if "side" in path.name
    )
    pixels = read_image(path).astype(int)
    wrong = (np.abs(pixels - (238, 92, 66)).sum(axis=2) < 60).mean()
    assert wrong < 0.03
