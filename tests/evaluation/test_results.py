"""Files of results: means and intervals of what was measured, written and read again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vns_sam.errors import DataError
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
