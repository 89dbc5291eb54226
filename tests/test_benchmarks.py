"""The scripts that measure: what they read of a report, and what they write of several runs."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from workshop import narrow_sam, write_disks

from vns_sam.cli.main import main
from vns_sam.evaluation.results import ResultRow, Results

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))  # they import each other

bundled, judging = importlib.import_module("bundled"), importlib.import_module("judging")


def test_a_score_is_judged_once_by_the_row_that_the_report_holds(tmp_path: Path) -> None:
    narrow_sam().save_pretrained(tmp_path / "narrow")
    data, out = write_disks(tmp_path / "disks", 4), tmp_path / "report"
    line = ["--quiet", "evaluate", str(tmp_path / "narrow"), "--data", str(data), "--metrics", "iou", "ap"]
    line += ["--workers", "0", "--out", str(out)]
    assert main(line) == 0
    before = {row.set: row for row in judging.measure(out)}
    assert before["disks"].count == 4
    (rows,) = (out / "rows").iterdir()
    kept = rows.read_text()
    *_, last = kept.splitlines()
    rows.write_text(kept.replace('"iou": ', '"iou": -') + kept[kept.index("\n") + 1 :] + last + "\n")
    assert {row.set: row for row in judging.measure(out)} == before
    (data / "images" / "003.png").unlink()
    (data / "masks" / "003.png").unlink()
    assert main(line) == 0
    assert {row.set: row.count for row in judging.measure(out)}["disks"] == 3


def test_rows_of_other_weights_are_removed(tmp_path: Path) -> None:
    model, data, out = tmp_path / "narrow", write_disks(tmp_path / "disks", 2), tmp_path / "report"
    narrow_sam().save_pretrained(model)
    line = ["--quiet", "evaluate", str(model), "--data", str(data), "--workers", "0", "--out", str(out)]
    assert main(line) == 0
    bundled.forget_others(out, [str(model)], "auto")
    assert (out / "report.json").is_file()
    narrow_sam(seed=1).save_pretrained(model)
    assert main(line) == 2
    bundled.forget_others(out, [str(model)], "auto")
    assert not out.exists()
    assert main(line) == 0


def test_what_several_runs_differ_by_is_told_for_each() -> None:
    def run(look: str) -> Results:
        row = ResultRow("m", "camo", "box", {})
        return Results(look, (row,), "1", settings={"second_look": look, "seed": 0}, models={"m": "digest"})

    joined = bundled.join({"two looks": run("on"), "one look": run("off")})
    assert joined.settings == {"second_look": {"two looks": "on", "one look": "off"}, "seed": 0}
    assert [row.model for row in joined.rows] == ["two looks", "one look"]
    assert joined.models == {"two looks": "digest", "one look": "digest"}
    assert bundled.join({"": run("on")}) == run("on")
