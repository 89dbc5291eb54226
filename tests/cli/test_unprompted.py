"""A WS-SAM on the command line: no prompt, masks and tables as of other models."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from workshop import narrow_sam, write_disks

from vns_sam.cli.main import main
from vns_sam.ws.config import WsSamConfig
from vns_sam.ws.model import WsSamModel

SMALL = {"backbone": "efficientnet-lite0", "channels": 16, "image_size": 64, "name": "small"}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of four disks, a WS-SAM and a SAM."""
    root = tmp_path_factory.mktemp("unprompted")
    write_disks(root / "disks", 4)
    torch.manual_seed(0)
    WsSamModel(WsSamConfig.make(**SMALL)).save_pretrained(root / "ws", dtype=torch.float16)
    narrow_sam().save_pretrained(root / "sam")
    return root


@pytest.fixture(autouse=True)
def _here(shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_one_picture(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = shop / "disks" / "images" / "000.png"
    assert main(["segment", str(picture), "--model", str(shop / "ws")]) == 0
    assert "000_mask.png\n000_overlay.png\nobject 0: score" in capsys.readouterr().out
    with Image.open("000_mask.png") as file:
        found = np.asarray(file) > 0
    with Image.open(picture) as file:
        image = np.asarray(file.convert("RGB"))
    np.testing.assert_array_equal(found, WsSamModel.from_pretrained(shop / "ws").segment(image) > 0.5)


@pytest.mark.parametrize("source", ["disks/images", "disks/images/000.png"])
def test_its_probability_is_written(shop: Path, source: str) -> None:
    command = ["--quiet", "segment", str(shop / source), "--model", str(shop / "ws"), "--out", "soft", "--alpha"]
    assert main(command) == 0
    with Image.open("soft/000_alpha.png") as file, Image.open(shop / "disks/images/000.png") as picture:
        found, image = np.asarray(file), np.asarray(picture.convert("RGB"))
    expected = (WsSamModel.from_pretrained(shop / "ws").segment(image) * 255).astype(np.uint8)
    assert np.abs(found.astype(int) - expected).max() <= 1
    prompted = ["--quiet", "segment", str(shop / source), "--model", str(shop / "sam"), "--box", "1", "1", "9", "9"]
    assert main([*prompted, "--alpha", "--out", "hard"]) == 2


def test_a_folder_goes_on(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["segment", str(shop / "disks" / "images"), "--model", str(shop / "ws"), "--out", "masks", "--quiet"]
    assert main(command) == 0
    Path("masks/002_mask.png").unlink()
    assert main(command) == 0
    assert capsys.readouterr().out == "masks: 4 done, 0 done before, 0 failed\nmasks: 1 done, 3 done before, 0 failed\n"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--box", "0", "0", "9", "9"], "takes no prompt"),
        (["--second-look"], "cannot be asked about one object"),
        (["--refine", "dis_sam"], "unknown model 'dis_sam'"),
        (["--refine", "dis-sam-tiny"], "takes no prompt, and refining needs one"),
    ],
)
@pytest.mark.parametrize("more", [[], ["--dry-run"]])
@pytest.mark.parametrize("source", ["disks/images", "disks/images/000.png"])
def test_what_it_cannot_do(
    shop: Path, source: str, options: list[str], says: str, more: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["segment", str(shop / source), "--model", str(shop / "ws"), *options, *more]) == 2
    assert says in capsys.readouterr().err
    assert not list(Path().iterdir())


def test_a_table_with_a_column_for_each_metric(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(shop / "ws"), "--data", str(shop / "disks"), "--out", "report", "--quiet"]) == 0
    shown = capsys.readouterr().out
    assert "**image**" in shown
    heads = [cell.strip() for cell in shown.split("\n")[2].split("|")]
    names = ["mae", "max_f", "mean_f", "adaptive_f", "weighted_f", "mean_e", "s", "iou"]
    assert heads == ["", "set", "model", *names, ""]
    assert "4 scores, 0 pictures skipped" in shown


def test_models_of_both_kinds_share_one_question(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    both = ["evaluate", str(shop / "ws"), str(shop / "sam"), "--data", str(shop / "disks"), "--limit", "1", "--quiet"]
    assert main([*both[:2], *both[3:], "--prompt", "box"]) == 2
    assert "leave --prompt out" in capsys.readouterr().err
    assert main([*both, "--instances"]) == 2
    assert main([*both, "--prompt", "image", "--metrics", "iou"]) == 0
    capsys.readouterr()


def test_a_model_without_a_prompt_stands_beside_those_with_one(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["evaluate", str(shop / "ws"), str(shop / "sam"), "--data", str(shop / "disks"), "--metrics", "iou", "mae"]
    assert main([*line, "--prompt", "box", "points:1"]) == 0
    captured = capsys.readouterr()
    assert "ws: takes no prompt; its answer for the picture stands beside each" in captured.err
    answers = [text for text in captured.out.splitlines() if text.startswith(f"| {shop / 'ws'} |")]
    assert len(answers) == 4
    assert answers[0] == answers[2]  # IoU with box and point: the same answer


def test_second_looks_are_refused(shop: Path) -> None:
    both = ["evaluate", str(shop / "ws"), str(shop / "sam"), "--data", str(shop / "disks"), "--limit", "1", "--quiet"]
    assert main([*both[:2], *both[3:], "--second-look"]) == 2


def test_its_cost(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "cost", str(shop / "ws"), "--calls", "1"]) == 0
    assert "small" in capsys.readouterr().out


def test_a_suite_that_asks_about_objects_is_refused(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_disks(Path("sets") / "camo", 2)
    line = ["--quiet", "evaluate", str(shop / "ws"), "--suite", "vns-seg", "--data", "sets", "--workers", "0"]
    assert main([*line, "--metrics", "iou"]) == 0
    write_disks(Path("sets") / "lis", 2)
    assert main(line) == 2
    assert "cannot be asked about one object, as suite 'vns-seg' asks of lis" in capsys.readouterr().err


def test_the_demo_asks_without_a_prompt(shop: Path) -> None:
    assert main(["--quiet", "demo", "--model", str(shop / "ws"), "--out", "shown"]) == 0
    assert sorted(path.name for path in Path("shown").iterdir()) == ["demo_mask.png", "demo_overlay.png"]


def test_its_speed(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["bench", str(shop / "ws"), str(shop / "sam"), "--boxes", "1", "--size", "48", "64", "--rounds", "1"]
    assert main([*line, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    names = [row["what"].rpartition("/")[2] for row in rows]
    measured = ["ws: encode", "ws: decode", "sam: encode", "sam: 1 boxes in one call"]
    assert names == [*measured, "ws: first mask", "sam: first mask"]
