"""``vns-sam data check`` and ``data import``: what they print, write and return."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest

from vns_sam.cli import data_check, data_import
from vns_sam.cli.main import Parser
from vns_sam.errors import DataError


def call(module: ModuleType, *arguments: object) -> int:
    parser = Parser()
    module.add_arguments(parser)
    args = parser.parse_args([str(argument) for argument in arguments])
    args.quiet, args.json = True, False
    return int(module.run(args))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "frogs"
    rng = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for stem in ("a", "b", "c"):
        coarse = rng.integers(0, 255, (6, 8, 3), dtype=np.uint8)
        cv2.imwrite(str(root / "images" / f"{stem}.jpg"), cv2.resize(coarse, (80, 60)))
        mask = np.zeros((60, 80), np.uint8)
        mask[20:40, 30:60] = 255
        cv2.imwrite(str(root / "masks" / f"{stem}.png"), mask)
    return root


def test_findings_are_grouped_and_counted(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "masks" / "a.png").unlink()
    cv2.imwrite(str(root / "masks" / "b.png"), np.eye(60, 80, dtype=np.uint8))
    report = tmp_path / "report.json"
    assert call(data_check, root, "--report", report) == 0
    printed = capsys.readouterr().out
    assert "frogs  3 pictures" in printed
    assert "error: 1 x no-mask: pictures without mask\n  frogs/images/a.jpg" in printed
    assert "note: 1 x zero-one: masks of 0 and 1 (1 can be repaired with --fix)\n  frogs/masks/b.png" in printed
    assert "3 pictures in" in printed
    assert "1 error, 0 warnings, 1 note" in printed
    written = json.loads(report.read_text())
    assert written["counts"] == {"no-mask": 1, "zero-one": 1}
    assert [f["file"] for f in written["findings"]] == ["images/a.jpg", "masks/b.png"]


def test_strict_fails_on_errors_only(root: Path) -> None:
    assert call(data_check, root, "--strict") == 0
    cv2.imwrite(str(root / "masks" / "b.png"), np.zeros((60, 80), np.uint8))
    assert call(data_check, root, "--strict") == 0
    (root / "masks" / "a.png").unlink()
    assert call(data_check, root, "--strict") == 3
    assert call(data_check, root) == 0


def test_fix_repairs_and_then_finds_nothing(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = cv2.imread(str(root / "masks" / "a.png"), cv2.IMREAD_GRAYSCALE)[::2, ::2]
    cv2.imwrite(str(root / "masks" / "a.png"), small)
    assert call(data_check, root, "--strict") == 3
    assert "1 x size" in capsys.readouterr().out
    assert call(data_check, root, "--fix", "--strict") == 0
    printed = capsys.readouterr().out
    assert "1 repaired; originals and a log are in .doctor/" in printed
    assert "0 errors, 0 warnings, 0 notes" in printed
    assert call(data_check, root, "--fix", "--strict") == 0
    assert "repaired" not in capsys.readouterr().out


@pytest.mark.parametrize("name", ["absent", "empty"])
def test_no_set_is_one_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="expected") as refused:
        call(data_check, tmp_path / name)
    assert refused.value.exit_code == 3


def test_import_tells_what_it_left_out(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = root / "labels"
    labels.mkdir()
    (labels / "a.txt").write_text("0 0.1 0.1 0.6 0.1 0.6 0.7\n0 0.5 0.5 0.1 0.1\n")
    out = tmp_path / "out"
    assert call(data_import, root, "--out", out) == 0
    printed = capsys.readouterr().out
    assert f"left out: {labels}/a.txt, line 2: four numbers are a box" in printed
    assert f"1 pictures with 1 objects in {out}; 1 problems, 2 pictures without objects" in printed
    assert call(data_check, out, "--strict") == 0
    with pytest.raises(DataError, match="four numbers are a box"):
        call(data_import, root, "--out", tmp_path / "strict", "--strict")
