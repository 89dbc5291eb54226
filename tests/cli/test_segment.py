from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
from backends import Backend
from fakes import FakeModel
from PIL import Image

from vns_sam.cli import single
from vns_sam.cli.main import main
from vns_sam.cli.predictor import add_second_look, second_look
from vns_sam.inference import load
from vns_sam.types import SECOND_LOOK


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory beside a picture, and a model without weights."""
    monkeypatch.setattr(load, "load_model", lambda *_, **__: FakeModel())
    Image.new("RGB", (128, 96), (90, 120, 60)).save(tmp_path / "frog.png")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


FROG = "../frog.png"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def read(path: str) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_a_box(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["segment", FROG, "--box", "16", "32", "64", "80"]) == 0
    shown = capsys.readouterr().out
    assert "frog_mask.png\nfrog_overlay.png\n" in shown
    assert "score 0.90, 2304 pixels" in shown
    expected = np.zeros((96, 128), np.uint8)
    expected[32:80, 16:64] = 255
    np.testing.assert_array_equal(read("frog_mask.png"), expected)
    assert read("frog_overlay.png").shape == (96, 128, 3)


def test_several_boxes_are_several_objects(here: Path) -> None:
    box = ["--box", "16", "32", "64", "80"]
    assert main(["segment", FROG, *box, *box, "--no-overlay", "--quiet"]) == 0
    assert names(here) == ["frog_mask_0.png", "frog_mask_1.png"]


def test_points_keep_their_labels(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    decode = FakeModel.decode
    monkeypatch.setattr(FakeModel, "decode", lambda self, f, p, i, **_: (seen.extend(p), decode(self, f, p, i))[1])
    points = ["--point", "5", "6", "--label", "0", "--point", "70", "8", "--point", "9", "10", "--label", "0"]
    assert main(["segment", FROG, *points]) == 0
    np.testing.assert_array_equal(seen[0].points, [[[5, 6], [70, 8], [9, 10]]])
    np.testing.assert_array_equal(seen[0].labels, [[0, 1, 0]])


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--box", "64", "32", "16", "80"], 3, "reversed"),
        (["--box", "16", "32", "16", "80"], 3, "empty"),
        (["--box", "500", "500", "600", "600"], 3, "outside the image, which is 128 x 96"),
        (["--box", "-50", "-50", "-1e1", "-10"], 3, "outside"),
        (["--box", "nan", "0", "9", "9"], 3, "not finite"),
        (["--box", "-inf", "0", "9", "9"], 3, "not finite"),
        (["--point", "200", "10"], 3, "point 200 10 is outside"),
        (["--point", "10", "10", "--label", "3"], 3, "got 3"),
        (["--box", "0", "0", "9", "9", "--out", "../frog.png"], 3, "would replace the picture"),
        (["--box", "0", "0", "9", "9", "--out", "../frog.png/deep/mask.png"], 3, "cannot write"),
        (["--box", "0", "0", "9", "9", "--out", "mask.jpg"], 2, "must end in .png"),
        (["--box", "0", "0", "9", "9"] * 2 + ["--point", "1", "1"], 2, "cannot be combined"),
        (["--prompts", "absent.json"], 3, "no prompts file"),
    ],
)
def test_what_is_wrong_is_found_before_anything_is_written(
    arguments: list[str], code: int, says: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["segment", FROG, *arguments]) == code
    shown = capsys.readouterr()
    assert says in shown.err
    assert shown.err.startswith("error: ")
    assert "Traceback" not in shown.err
    assert names(here) == []


def test_a_box_that_sticks_out_is_noted(capsys: pytest.CaptureFixture[str]) -> None:
    box = ["--box", "-5", "0", "64", "48"]
    assert main(["segment", FROG, *box]) == 0
    assert "note: box -5 0 64 48 is clipped" in capsys.readouterr().err
    assert main(["segment", FROG, *box, "--force", "--quiet"]) == 0
    assert capsys.readouterr().err == ""


def test_what_is_there_is_replaced_only_when_that_is_said(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "frog_mask.png").write_bytes(b"drawn by hand")
    box = ["--box", "16", "32", "64", "80"]
    assert main(["segment", FROG, *box]) == 2
    assert "expected to replace no file, found frog_mask.png" in capsys.readouterr().err
    assert (here / "frog_mask.png").read_bytes() == b"drawn by hand"
    assert main(["segment", FROG, *box, "--dry-run", "--force"]) == 0
    assert capsys.readouterr().out == "replace: frog_mask.png\nwrite: frog_overlay.png\n"
    assert main(["segment", FROG, *box, "--force"]) == 0
    assert "1 replaced" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("out", "kind", "expected"),
    [
        ("new/one.png", "png", ["one.png", "one_overlay.png"]),
        ("new", "coco", ["frog_mask.json", "frog_overlay.png"]),
        ("new/a.svg", "svg", ["a.svg", "a_overlay.png"]),
        ("new", "yolo", ["frog_mask.txt", "frog_overlay.png"]),
        ("new", "geojson", ["frog_mask.geojson", "frog_overlay.png"]),
    ],
)
def test_places_and_formats(out: str, kind: str, expected: list[str], here: Path) -> None:
    assert main(["segment", FROG, "--box", "16", "32", "64", "80", "--out", out, "--format", kind]) == 0
    assert names(here / "new") == expected


def test_a_prompts_file_serves_one_picture_and_a_folder(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = {"frog.png": {"boxes": [[16, 32, 64, 80]]}, "gone.png": {"boxes": [[0, 0, 1, 1]]}}
    Path("p.json").write_text(json.dumps(table))
    assert main(["segment", FROG, "--prompts", "p.json", "--out", "one"]) == 0
    assert main(["segment", "..", "--prompts", "p.json", "--out", "all"]) == 0
    shown = capsys.readouterr()
    assert "all: 1 done, 0 done before, 1 failed" in shown.out
    assert "failed: no image at ../gone.png" in shown.err
    assert names(here / "all") == ["frog_mask.png", "manifest.jsonl"]
    assert main(["segment", "..", "--prompts", "p.json", "--out", "all", "--quiet"]) == 0
    assert "0 done, 1 done before, 1 failed" in capsys.readouterr().out


def test_a_folder_where_all_fail_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["segment", str(tmp_path), "--box", "500", "500", "600", "600"]) == 3
    assert "none of 1 could be done" in capsys.readouterr().err


def test_demo(here: Path) -> None:
    assert main(["demo", "--out", "d"]) == 0
    assert names(here / "d") == ["demo_mask.png", "demo_overlay.png"]


def test_all_masks_to_choose_from_are_written_best_first(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(load, "load_model", lambda *_, **__: Backend())
    boxes = ["--box", "16", "32", "64", "80", "--box", "0", "0", "128", "96"]
    assert main(["segment", FROG, *boxes, "--candidates"]) == 0
    found = [f"frog_mask_{row}_candidate_{place}.png" for row in range(2) for place in range(2)]
    assert set(found) < set(names(here))
    assert (read(found[2]).shape, read(found[2]).min()) == ((96, 128), 255)
    assert "candidates: 0.90, 0.50" in capsys.readouterr().out
    assert main(["segment", FROG, *boxes[:5], "--candidates", "--out", "one"]) == 0
    assert {"frog_mask_candidate_0.png", "frog_mask_candidate_1.png"} < set(names(here / "one"))


def test_candidates_of_a_folder_and_their_names_before_the_work(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["segment", "..", "--box", "16", "32", "64", "80", "--candidates", "--out", "all"]
    monkeypatch.setattr(load, "load_model", lambda *_, **__: pytest.fail("a dry run loads no model"))
    assert main([*asked, "--dry-run"]) == 0
    assert "frog_mask_candidate_0.png" in capsys.readouterr().out
    assert main(["segment", FROG, *asked[2:8], "--dry-run"]) == 0
    assert "write: frog_mask_candidate_3.png" in capsys.readouterr().out
    monkeypatch.setattr(load, "load_model", lambda *_, **__: Backend())
    assert main([*asked, "--json", "--quiet"]) == 0
    line = json.loads(capsys.readouterr().out.splitlines()[0])
    assert line["files"] == ["frog_mask.png", "frog_mask_candidate_0.png", "frog_mask_candidate_1.png"]
    assert line["candidates"] == [[0.9, 0.5]]
    assert main([*asked, "--quiet"]) == 0
    assert "0 done, 1 done before" in capsys.readouterr().out


def test_what_a_model_no_longer_offers_goes(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "frog_mask_candidate_3.png").write_bytes(b"of another model")
    monkeypatch.setattr(load, "load_model", lambda *_, **__: Backend())
    asked = ["segment", FROG, "--box", "16", "32", "64", "80", "--candidates"]
    assert main(asked) == 2
    assert main([*asked, "--force"]) == 0
    assert not (here / "frog_mask_candidate_3.png").exists()
    assert (here / "frog_mask_candidate_1.png").is_file()


@pytest.mark.parametrize(
    ("options", "asked"),
    [([], "auto"), (["--second-look"], "on"), (["--second-look", "off"], "off"), (["--no-second-look"], "off")],
)
def test_one_default_and_three_words(options: list[str], asked: str) -> None:
    parser = argparse.ArgumentParser()
    add_second_look(parser)
    assert second_look(parser.parse_args(options)) == asked == (SECOND_LOOK if not options else asked)


def test_objects_that_the_model_is_unsure_of_are_told_on_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(single, "LOW_SCORE", 0.89)
    boxes = [option for k in range(3) for option in ("--box", str(k), "2", "40", "40")]
    assert main(["segment", FROG, *boxes, "--no-overlay"]) == 0
    shown = capsys.readouterr()
    assert shown.err.count("note:") == 1
    assert "note: objects 1, 2 have a low score: add a click, or --refine dis-sam-tiny" in shown.err
    monkeypatch.setattr(single, "SHOWN", 2)
    assert main(["segment", FROG, *boxes, "--no-overlay", "--force"]) == 0
    shown = capsys.readouterr()
    assert "object 1: score" in shown.out
    assert "object 2" not in shown.out
    assert "and 1 more objects" in shown.out


def test_what_is_not_read_of_the_prompts_is_told(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    box = {"label": "frog", "shape_type": "rectangle", "points": [[16, 32], [64, 80]]}
    other = {"label": "frog", "shape_type": "spline", "points": [[1, 2]]}
    page = {
        "version": "5",
        "shapes": [box, *[other] * 22],
        "imagePath": "frog.png",
        "imageHeight": 96,
        "imageWidth": 128,
    }
    Path("frog.json").write_text(json.dumps(page))
    for given in (FROG, ".."):
        command = ["segment", given, "--prompts", "frog.json", "--out", "new", "--dry-run"]
        assert main(command) == 0
        lines = capsys.readouterr().err.splitlines()
        assert lines[0] == "note: frog.json: shape 1: a shape of the kind 'spline', which is not read"
        assert lines[20] == "note: and 2 more"
        assert sum(line.startswith("note:") for line in lines) == 21
        assert main([*command, "--quiet"]) == 0
        assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--alpha"], "this model gives masks without alpha"),
        (["--alpha", "--model", "vit_b"], "this model gives masks without alpha"),
        (["--model", "nosuch"], "unknown model 'nosuch'"),
        (["--refine", "nosuch"], "unknown model 'nosuch'"),
        (["--refine", "vit_b"], "expected a DIS-SAM to refine with, 'vit_b' is none"),
        (["--model", "dis-sam-tiny", "--refine", "dis-sam-tiny"], "'dis-sam-tiny' refines its masks itself"),
    ],
)
def test_a_dry_run_refuses_what_the_run_would(
    options: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for source in (FROG, ".."):
        assert main(["segment", source, "--box", "9", "9", "40", "40", *options, "--dry-run"]) == 2
        assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    "options",
    [["--refine", "dis-sam-tiny"], ["--model", "vns-sam-tiny+dis-sam-tiny"], ["--model", "dis-sam-tiny"]],
)
def test_a_dry_run_tells_the_alpha_map(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["segment", FROG, "--box", "9", "9", "40", "40", "--alpha", *options, "--dry-run"]) == 0
    assert "write: frog_alpha.png" in capsys.readouterr().out
