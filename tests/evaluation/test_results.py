"""Files of results: means and intervals of what was measured, written and read again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vns_sam.errors import DataError, UsageError
from vns_sam.evaluation.report import ModelResult, Report
from vns_sam.evaluation.results import Origin, gather, read_results, write_results
from vns_sam.evaluation.rows import Key, Row
from vns_sam.metrics.scoring import ImageScores

ORIGIN = Origin("vns-sam evaluate m --save r.json", "a machine", "1.2")
IOUS = np.linspace(0.2, 0.8, 50)


def report() -> Report:
    rows = [Row(Key("camo", f"{i:02d}", "", "box"), ImageScores({"iou": float(iou)})) for i, iou in enumerate(IOUS)]
    return Report({"seed": 3}, [ModelResult("m", "digest", rows)])


def test_means_and_intervals_survive_the_file(tmp_path: Path) -> None:
    results = gather(report(), ORIGIN)
    write_results(tmp_path / "r.json", results)
    assert read_results(tmp_path / "r.json") == results
    assert (results.command, results.machine, results.version) == (ORIGIN.command, ORIGIN.machine, ORIGIN.version)
    assert (results.settings, results.models) == ({"seed": 3}, {"m": "digest"})
    (row,) = results.rows
    assert (row.model, row.set, row.prompt, row.count) == ("m", "camo", "box", 50)
    score = row.scores["iou"]
    half = 1.96 * IOUS.std() / np.sqrt(50)
    assert score.mean == pytest.approx(0.5)
    assert (score.low, score.high) == pytest.approx((0.5 - half, 0.5 + half), abs=0.01)


def test_seeds_become_a_deviation_and_groups_rows_of_their_own() -> None:
    def of_seed(shift: float) -> ModelResult:
        keys = [Key(name, stem, "", "box") for name in ("camo", "nc4k") for stem in "ab"]
        rows = [Row(key, ImageScores({"iou": 0.4 + shift + 0.2 * (key.dataset == "camo")})) for key in keys]
        return ModelResult(f"seed {shift}", "digest", rows, line="trained")

    seeds = [of_seed(shift) for shift in (0.0, 0.1, 0.2)]
    rows = gather(Report({}, seeds, {"all": ("camo", "nc4k")}), ORIGIN).rows
    assert [(row.model, row.set, row.count) for row in rows] == [
        ("trained", "camo", 2),
        ("trained", "nc4k", 2),
        ("trained", "all", None),
    ]
    assert [(row.scores["iou"].mean, row.scores["iou"].sd) for row in rows] == [(0.7, 0.1), (0.5, 0.1), (0.6, 0.1)]
    assert rows[0].scores["iou"].low is None


def test_objects_of_one_picture_widen_the_interval() -> None:
    keys = [Key("camo", str(i), str(j), "box") for i in range(10) for j in range(5)]
    rows = [Row(key, ImageScores({"iou": int(key.stem) / 10})) for key in keys]
    (row,) = gather(Report({}, [ModelResult("m", "digest", rows)]), ORIGIN).rows
    score = row.scores["iou"]
    half = 1.96 * np.std([i / 10 for i in range(10)]) / np.sqrt(10)
    assert (score.low, score.high) == pytest.approx((0.45 - half, 0.45 + half), abs=0.02)


def test_a_model_given_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="'m' twice"):
        Report({}, [*report().models, *report().models])


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "invalid json"), ('{"command": "x", "version": "1"}', "rows"), ('{"command": "x", "rows": [3]}', "rows.0")],
)
def test_another_file_is_told(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(DataError, match=message):
        read_results(tmp_path / "r.json")
    with pytest.raises(DataError, match="cannot read"):
        read_results(tmp_path / "none.json")
