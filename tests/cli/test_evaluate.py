"""``vns-sam evaluate``: a table, a report, and one line and a code for each mistake."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from workshop import narrow_sam, write_disks

from vns_sam.cli.main import main


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the model ``narrow`` and the sets ``disks`` and ``more``."""
    root = tmp_path_factory.mktemp("shop")
    narrow_sam().save_pretrained(root / "narrow")
    write_disks(root / "disks", 3)
    write_disks(root / "more", 2, seed=1)
    return root


def test_scores_are_printed_and_written(shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, out = str(shop / "narrow"), tmp_path / "report.json"
    sets = [str(shop / "disks"), str(shop / "more")]
    command = ["evaluate", model, "--data", *sets, "--prompt", "box", "points:2", "--seed", "3", "--out", str(out)]
    assert main([*command, "--quiet"]) == 0
    printed = capsys.readouterr()
    assert "seed 3" in printed.out
    assert all(printed.out.count(line) == 1 for line in ("| box | pictures | ", "| points:2 | pictures | "))
    assert all(printed.out.count(line) == 2 for line in ("| disks | 3 | ", "| more | 2 | "))
    assert printed.err == ""
    report = json.loads(out.read_text())
    rows = report["models"][model]["rows"]
    pictures = [*[("disks", f"00{i}") for i in range(3)], *[("more", f"00{i}") for i in range(2)]]
    expected = [(*picture, prompt) for picture in pictures for prompt in ("box", "points:2")]
    assert [(row["dataset"], row["stem"], row["prompt"]) for row in rows] == expected
    assert all(0 <= row["iou"] <= 1 and 0 <= row["biou"] <= 1 and row["seconds"] > 0 for row in rows)


def test_limit_holds_for_each_set(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sets = [str(shop / "disks"), str(shop / "more")]
    assert main(["evaluate", str(shop / "narrow"), "--data", *sets, "--limit", "1", "--quiet"]) == 0
    printed = capsys.readouterr().out
    assert "| disks | 1 | " in printed
    assert "| more | 1 | " in printed


def test_a_prompt_named_twice_is_measured_once(shop: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.json"
    command = ["evaluate", str(shop / "narrow"), "--data", str(shop / "disks"), "--limit", "1", "--out", str(out)]
    assert main([*command, "--prompt", "points", "points:10", "--quiet"]) == 0
    (answer,) = json.loads(out.read_text())["models"].values()
    assert len(answer["rows"]) == 1


@pytest.mark.parametrize(
    ("model", "data", "options", "code", "says"),
    [
        ("narrow", "disks", ["--prompt", "scribble"], 2, "unknown prompt 'scribble'"),
        ("narrow", "nowhere", [], 3, "expected a data set folder"),
        ("narrow", "narrow", [], 3, "expected a folder images/"),
        ("sam-tinny", "disks", [], 2, "unknown model 'sam-tinny'"),
        ("narrow", "disks", ["--seed", "x"], 2, "--seed"),
        ("disks", "disks", [], 4, "no config.json"),
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
