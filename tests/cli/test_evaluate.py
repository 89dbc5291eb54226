"""``vns-sam evaluate``: a table, a report, and one line and a code for each mistake."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from workshop import narrow_sam, write_disks

from vns_sam.cli.main import main
from vns_sam.evaluation.results import read_results


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the model ``narrow`` and, in ``sets``, the sets ``disks`` and ``more``."""
    root = tmp_path_factory.mktemp("shop")
    narrow_sam().save_pretrained(root / "narrow")
    write_disks(root / "sets" / "disks", 3)
    write_disks(root / "sets" / "more", 2, seed=1)
    return root


def test_scores_are_printed_and_written(shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, out = str(shop / "narrow"), tmp_path / "report"
    command = ["evaluate", model, "--data", str(shop / "sets"), "--prompt", "box", "points:2", "--seed", "3"]
    assert main([*command, "--out", str(out), "--workers", "0", "--quiet"]) == 0
    printed = capsys.readouterr()
    assert all(printed.out.count(line) == 1 for line in ("**box**: iou / biou", "**points:2**: iou / biou"))
    assert printed.out.count("| model | disks (3) | more (2) | mean |") == 2
    assert printed.err == ""
    assert (out / "report.md").read_text() in printed.out
    assert len((out / "report.csv").read_text().splitlines()) == 5
    report = json.loads((out / "report.json").read_text())
    assert report["settings"]["seed"] == 3
    rows = report["models"][model]["rows"]
    pictures = [*[("disks", f"00{i}") for i in range(3)], *[("more", f"00{i}") for i in range(2)]]
    expected = [(*picture, prompt) for picture in pictures for prompt in ("box", "points:2")]
    assert [(row["dataset"], row["stem"], row["prompt"]) for row in rows] == expected
    assert all(0 <= row["iou"] <= 1 and 0 <= row["biou"] <= 1 for row in rows)


def test_means_are_saved_with_their_intervals_and_the_command(
    shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "results" / "r.json"
    command = ["evaluate", str(shop / "narrow"), "--data", str(shop / "sets"), "--workers", "0", "--save", str(file)]
    assert main([*command, "--quiet"]) == 0
    assert str(file) in capsys.readouterr().out
    results = read_results(file)
    assert results.command == f"vns-sam {' '.join(command)}"
    assert [(row.set, row.count) for row in results.rows] == [("disks", 3), ("more", 2)]
    assert all(row.scores["iou"].low <= row.scores["iou"].mean <= row.scores["iou"].high for row in results.rows)


def test_maps_are_saved_as_they_are_scored(shop: Path, tmp_path: Path) -> None:
    line = ["--quiet", "evaluate", str(shop / "narrow"), "--data", str(shop / "sets"), "--workers", "0"]
    line += ["--metrics", "mae", "iou", "--out", str(tmp_path / "out")]
    assert main(line) == 0
    assert main([*line, "--save-maps", str(tmp_path / "maps")]) == 0  # rows are there, maps are not
    (own,) = (tmp_path / "maps").iterdir()
    found = sorted(path.relative_to(own).as_posix() for path in own.rglob("*.png"))
    assert found == [*(f"box/disks/00{i}.png" for i in range(3)), "box/more/000.png", "box/more/001.png"]
    rows = json.loads((tmp_path / "out" / "report.json").read_text())["models"][str(shop / "narrow")]["rows"]
    assert len(rows) == 5
    for row in rows:
        saved = cv2.imread(str(own / "box" / row["dataset"] / f"{row['stem']}.png"), cv2.IMREAD_UNCHANGED)
        truth = cv2.imread(str(shop / "sets" / row["dataset"] / "masks" / f"{row['stem']}.png"), 0) > 127
        assert saved.shape == truth.shape
        assert np.abs(saved / 255 - truth).mean() == pytest.approx(row["mae"], abs=0.003)


def test_a_stopped_run_goes_on_and_gives_the_same_report(shop: Path, tmp_path: Path) -> None:
    def report(out: Path) -> dict[str, object]:
        command = ["evaluate", str(shop / "narrow"), "--data", str(shop / "sets"), "--out", str(out)]
        assert main([*command, "--workers", "0", "--quiet"]) == 0
        read = json.loads((out / "report.json").read_text())
        for model in read["models"].values():
            del model["seconds"]
        return dict(read)

    whole = report(tmp_path / "whole")
    report(tmp_path / "cut")
    (rows,) = (tmp_path / "cut" / "rows").iterdir()
    lines = rows.read_text().splitlines()
    rows.write_text("\n".join([*lines[:3], lines[3][:20]]))
    assert report(tmp_path / "cut") == whole
    assert len(rows.read_text().splitlines()) > len(lines)


def test_two_processes_give_the_report_of_one(shop: Path, tmp_path: Path) -> None:
    options = ["evaluate", str(shop / "narrow"), "--data", str(shop / "sets"), "--prompt", "noise-box", "clicks:2"]
    options += ["--workers", "0", "--quiet", "--out"]
    assert main([*options, str(tmp_path / "one")]) == 0
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    run = subprocess.run(
        [*launcher, "-m", "vns_sam.cli.main", *options, str(tmp_path / "two")], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    one, two = (json.loads((tmp_path / name / "report.json").read_text()) for name in ("one", "two"))
    (alone,), (together,) = one["models"].values(), two["models"].values()
    assert alone["rows"] == together["rows"]
    assert alone["means"] == together["means"]
    assert len(list((tmp_path / "two" / "rows").iterdir())) == 2


def test_processes_of_the_command_give_the_report_of_one(shop: Path, tmp_path: Path) -> None:
    options = ["--quiet", "evaluate", str(shop / "narrow"), "--data", str(shop / "sets"), "--prompt", "box", "points:2"]
    for workers in "02":
        assert main([*options, "--workers", workers, "--out", str(tmp_path / workers)]) == 0
    one, two = (json.loads((tmp_path / name / "report.json").read_text()) for name in "02")
    for model in (*one["models"].values(), *two["models"].values()):
        del model["seconds"]
    assert one == two


def test_broken_pairs_are_counted(shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = write_disks(tmp_path / "broken", 4)
    (broken / "masks" / "001.png").write_bytes(b"no picture")
    (broken / "masks" / "003.png").unlink()
    command = ["evaluate", str(shop / "narrow"), "--data", str(broken), "--workers", "0"]
    assert main(command) == 0
    printed = capsys.readouterr()
    assert "| model | broken (2) |" in printed.out
    assert "2 pictures skipped" in printed.out
    assert printed.err.count("skipped: ") == 2
    assert main([*command, "--strict", "--quiet"]) == 3


def test_differences_of_two_models(shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    narrow_sam(seed=1).save_pretrained(tmp_path / "other")
    models = [str(shop / "narrow"), str(tmp_path / "other")]
    data = ["--data", str(shop / "sets" / "disks")]
    assert main(["evaluate", *models, *data, "--workers", "0", "--quiet", "--out", str(tmp_path / "out")]) == 0
    capsys.readouterr()
    report = tmp_path / "out" / "report.json"
    assert main(["evaluate", "--compare", *(f"{report}:{model}" for model in models)]) == 0
    assert "| box | disks | 3 | iou | " in capsys.readouterr().out


def written(path: Path, *, second_look: bool = False, stems: str = "xy", **settings: object) -> str:
    """A report of one model called as the file."""
    rows = [{"dataset": "camo", "stem": s, "target": "", "prompt": "box", "iou": len(path.stem) / 10} for s in stems]
    means = {"box": {"camo": {"iou": len(path.stem) / 10, "ap": 0.5, "count": float(len(stems))}}}
    model = {"rows": rows, "means": means, "second_look": second_look}
    path.write_text(json.dumps({"settings": {"resize": "fit", "seed": 0, **settings}, "models": {path.stem: model}}))
    return str(path)


@pytest.mark.parametrize(
    ("settings", "options", "says"),
    [
        ({"resize": "square"}, [], "expected two reports with one resize, found fit in "),
        ({"seed": 7}, [], "one seed, found 0 in "),
        ({"instances": True}, [], "one instances, found False in "),
        ({}, ["--metrics", "iuo"], "unknown metric 'iuo'"),
        ({}, ["--data", "sets"], "--compare does not look at --data"),
        ({}, ["--save", "r.json"], "--compare does not look at --save"),
        ({}, ["--second-look"], "--compare does not look at --second-look"),
    ],
)
def test_reports_that_asked_other_things_are_not_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], settings: dict[str, object], options: list[str], says: str
) -> None:
    first = written(tmp_path / "a.json", instances=False)
    second = written(tmp_path / "bb.json", **{"instances": False, **settings})
    assert main(["evaluate", "--compare", first, second, *options]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert says in printed.err


def test_models_beside_reports_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reports = [written(tmp_path / f"{name}.json") for name in ("a", "bb")]
    assert main(["evaluate", "vns-sam-tiny", "--compare", *reports]) == 2
    assert "--compare does not look at MODEL" in capsys.readouterr().err


def test_another_look_and_other_objects_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = written(tmp_path / "a.json"), written(tmp_path / "bb.json", second_look=True)
    assert main(["evaluate", "--compare", first, second]) == 0
    printed = capsys.readouterr()
    assert "the second look differs, so that the change is also its own: a: off, bb: on" in printed.err
    assert "| box | camo | 2 | iou | 0.100 | 0.200 | +0.100 |" in printed.out
    assert "| box | camo | 2 | ap | 0.500 | 0.500 | +0.000 | - |" in printed.out
    assert main(["evaluate", "--compare", first, second, "--metrics", "ap"]) == 0
    assert capsys.readouterr().out.count("| box |") == 1
    third = written(tmp_path / "ccc.json", stems="xyz")
    assert main(["evaluate", "--compare", first, third]) == 0
    printed = capsys.readouterr()
    assert "the reports hold other objects, so no means of whole sets: camo" in printed.err
    assert "| box | camo | 2 | iou |" in printed.out
    assert "| ap |" not in printed.out


def test_any_list_of_a_set_can_be_followed(shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    disks = write_disks(tmp_path / "disks", 3)
    (disks / "ns.txt").write_text("000\n002\n")
    command = ["evaluate", str(shop / "narrow"), "--workers", "0", "--quiet", "--data"]
    assert main([*command, str(disks), f"{disks}@ns", "--group", "hard=disks@ns"]) == 0
    assert "| model | disks (3) | disks@ns (2) | hard |" in capsys.readouterr().out
    assert main([*command, f"{disks}@s"]) == 3
    assert "s.txt" in capsys.readouterr().err


def test_limit_holds_for_each_set(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["evaluate", str(shop / "narrow"), "--data", str(shop / "sets"), "--limit", "1", "--quiet"]
    assert main([*command, "--group", "mine=more", "--workers", "0"]) == 0
    assert "| model | disks (1) | more (1) | mine |" in capsys.readouterr().out


def test_a_named_suite_finds_its_sets(shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("DIS-VD", "DIS-TE1"):
        folder = write_disks(tmp_path / "DIS5K" / name, 2)
        (folder / "images").rename(folder / "im")
        (folder / "masks").rename(folder / "gt")
    command = ["evaluate", str(shop / "narrow"), "--suite", "dis5k", "--data", str(tmp_path), "--workers", "0"]
    assert main([*command, "--quiet", "--metrics", "hce", "iou", "--out", str(tmp_path / "out"), "--figures", "1"]) == 0
    printed = capsys.readouterr()
    assert "| set | model | hce | iou |" in printed.out
    assert printed.out.count("| DIS-VD (2) |") == 1
    assert printed.err.count("not found: ") == 6
    assert "not found: DIS-TE2. Download DIS5K" in printed.err
    assert main([*command, "--out", str(tmp_path / "other"), "--figures", "1"]) == 2
    assert "figures are sorted by IoU" in capsys.readouterr().err
    assert main([*command, "--strict", "--quiet"]) == 3
    assert "expected the set DIS-TE2 and 5 more below" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("model", "data", "options", "code", "says"),
    [
        ("narrow", "sets", ["--prompt", "scribble"], 2, "unknown prompt 'scribble'"),
        ("narrow", "sets", ["--metrics", "iuo"], 2, "unknown metric 'iuo'"),
        ("narrow", "sets", ["--group", "unseen=nc4k"], 2, "names the set 'nc4k'"),
        ("narrow", "sets", ["--suite", "dis5"], 2, "did you mean dis5k"),
        ("narrow", "sets", ["--suite", "dis5k"], 3, "expected the set DIS-VD and 7 more below"),
        ("narrow", "sets", ["--group", "unseen"], 2, "expects NAME=SET,SET"),
        ("narrow", "sets", ["--figures", "3"], 2, "--out"),
        ("narrow", "nowhere", [], 3, "expected a data set folder"),
        ("narrow", "narrow", [], 3, "expected a folder images/"),
        ("sam-tinny", "sets", [], 2, "unknown model 'sam-tinny'"),
        ("narrow", "sets", ["--seed", "x"], 2, "--seed"),
        ("sets", "sets", [], 4, "no config.json"),
    ],
)
def test_mistakes_end_in_one_line_and_a_code(
    shop: Path, capsys: pytest.CaptureFixture[str], model: str, data: str, options: list[str], code: int, says: str
) -> None:
    name = str(shop / model) if (shop / model).exists() else model
    assert main(["evaluate", name, "--data", str(shop / data), *options, "--quiet"]) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert says in printed.err
    assert "Traceback" not in printed.err


def test_a_model_given_twice_is_refused_before_work(
    shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, out = str(shop / "narrow"), tmp_path / "out"
    assert main(["evaluate", model, model, "--data", str(shop / "sets"), "--out", str(out), "--quiet"]) == 2
    assert "expected each model once" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    ("names", "more", "own"),
    [
        (("a b", "a_b"), [], "a_b"),
        (("runs/x", "Runs_X"), [], "Runs_X"),
        (("x", "x_less_nsfm_mean"), ["--ablate", "nsfm"], "x_less_nsfm_mean"),
        (("x", "x_best_of_several"), ["--multimask"], "x_best_of_several"),
    ],
)
def test_models_that_would_share_a_folder_of_maps_are_refused_before_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], names: tuple[str, str], more: list[str], own: str
) -> None:
    maps = tmp_path / "maps"
    assert main(["evaluate", *names, *more, "--data", str(tmp_path), "--save-maps", str(maps), "--quiet"]) == 2
    told = capsys.readouterr().err
    assert f"expected a folder of maps for each model, found {maps / own} for both" in told
    assert names[1] in told
    assert not maps.exists()
