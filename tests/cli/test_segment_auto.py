from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vns_sam.cli.main import main

FEW = ["--points-per-side", "3", "--least-score", "0", "--quiet"]


@pytest.fixture
def dots(tmp_path: Path) -> Path:
    image = np.full((96, 128, 3), 60, np.uint8)
    image[20:50, 20:60] = 220, 180, 40
    path = tmp_path / "dots.png"
    Image.fromarray(image).save(path)
    return path


def test_all_objects_go_into_one_file(dots: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(["segment", str(dots), "--auto", "--format", "indexed", "coco", "--out", str(out), *FEW]) == 0
    found = json.loads((out / "dots_mask.json").read_text())["annotations"]
    assert found
    ids = np.asarray(Image.open(next(out.glob("*.png"))))
    assert ids.shape == (96, 128)


def test_less_overlap_leaves_fewer_copies(dots: Path, tmp_path: Path) -> None:
    found = []
    for overlap in ("1", "0.1"):
        out = tmp_path / overlap
        auto = ["segment", str(dots), "--auto", "--overlap", overlap, "--format", "coco", "--out", str(out)]
        assert main([*auto, *FEW]) == 0
        found.append(json.loads((out / "dots_mask.json").read_text())["annotations"])
    assert len(found[0]) > len(found[1]) > 0


def test_nothing_found_is_said(dots: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["segment", str(dots), "--auto", "--out", str(tmp_path), *FEW[:2], "--least-score", "1"]) == 0
    assert "nothing found" in capsys.readouterr().out
    assert not np.asarray(Image.open(tmp_path / "dots_indexed.png")).any()


def test_a_folder_goes_on_and_knows_how_it_was_asked(
    dots: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = tmp_path / "photos", tmp_path / "out"
    folder.mkdir()
    dots.rename(folder / "dots.png")
    command = ["segment", str(folder), "--auto", "--out", str(out)]
    assert main([*command, *FEW]) == 0
    before = {path: path.read_bytes() for path in out.iterdir()}
    assert main([*command, *FEW]) == 0
    assert {path: path.read_bytes() for path in out.iterdir() if path in before} == before
    capsys.readouterr()
    assert main([*command, *FEW, "--rank", "vns"]) == 2  # another question
    assert "--force" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--auto", "--box", "1", "2", "30", "40"], "takes no prompt"),
        (["--auto", "--refine", "dis-sam-tiny"], "does not go with --refine"),
        (["--auto", "--format", "png"], "a file for each object"),
        (["--auto", "--least-score", "7"], "score must be 0 to 1"),
        (["--auto", "--overlap", "7"], "box_iou must be 0 to 1"),
        (["--box", "1", "2", "30", "40", "--overlap", "0.5"], "belong to --auto"),
        (["--box", "1", "2", "30", "40", "--rank", "vns"], "belong to --auto"),
    ],
)
def test_options_that_do_not_go_together(
    dots: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["segment", str(dots), *options]) == 2
    assert message in capsys.readouterr().err
