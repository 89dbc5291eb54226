import argparse
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vns_sam.cli import pseudo_label
from vns_sam.cli.overrides import apply_overrides
from vns_sam.data.pairs import find_pictures
from vns_sam.errors import DataError, MissingExtraError, UsageError
from vns_sam.labelling.fusion import Selection
from vns_sam.labelling.store import LabelStore
from vns_sam.training.samples.weak import SetLabels
from vns_sam.training.ws_settings import Ws
from vns_sam.ws.config import WsSamConfig
from vns_sam.ws.model import WsSamModel


@pytest.fixture
def pond(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    mask = np.zeros((60, 80), np.uint8)
    mask[15:45, 20:60] = 255
    codes = np.zeros((60, 80), np.uint8)
    codes[30, 25:55], codes[5, 10:70] = 1, 2
    for folder in ("images", "masks", "labels"):
        (tmp_path / folder).mkdir()
    for stem in ("eel", "frog"):
        noise = rng.integers(0, 20, (60, 80, 3))
        Image.fromarray((noise + mask[..., None] // 2 + 40).astype(np.uint8)).save(tmp_path / f"images/{stem}.png")
        Image.fromarray(mask).save(tmp_path / f"masks/{stem}.png")
        Image.fromarray(codes).save(tmp_path / f"labels/{stem}.png")
    return tmp_path


def label(root: Path, *more: str, quiet: bool = True) -> int:
    parser = argparse.ArgumentParser()
    pseudo_label.add_arguments(parser)
    given = [str(root), "--labels", str(root / "labels"), "--out", str(root / "out"), "--model", "sam-tiny"]
    args = parser.parse_args([*given, "--views", "flip", *more])
    args.quiet, args.json = quiet, False
    return pseudo_label.run(args)


def test_from_labels_to_an_audit(pond: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (pond / "labels" / "eel.png").unlink()
    assert label(pond, "--audit", "--truth", str(pond)) == 0
    out, err = capsys.readouterr()
    assert "1 done, 0 done before, 1 failed" in out
    assert "failed: expected a label map for eel.png" in err
    assert "as chosen" in out
    assert (pond / "out" / "audit" / "risk_coverage.png").is_file()
    assert label(pond, "--absolute", "0") == 0
    out, _ = capsys.readouterr()
    assert "0 done, 1 done before, 1 failed" in out
    assert "kept 0 of 1 (0.0%)" in out
    told = out.splitlines()[-1].partition("--ws.selection ")[2]
    assert told == "'{absolute: 0.0, relative: 0.5, denominator: object, views: 0.5}'"
    values = apply_overrides({}, ["--ws.selection", *shlex.split(told)])
    assert Selection(**values["ws"]["selection"]) == Selection(absolute=0)
    assert (pond / "out" / "kept.txt").read_text() == ""


def test_labels_made_with_a_second_look_are_other_labels(pond: Path, capsys: pytest.CaptureFixture[str]) -> None:
    off, on = ("--second-look", "off"), ("--second-look", "on")
    label(pond, *off)
    with pytest.raises(UsageError, match="2 made with second look 'off' instead of 'on'"):
        label(pond, *on)
    capsys.readouterr()
    for flags, looks, done in ((off, "off", 0), ((*on, "--force"), "on", 2), (on, "on", 0), ((), "on", 0)):
        assert label(pond, *flags) == 0
        assert f"{done} done, {2 - done} done before" in capsys.readouterr().out
        assert {r.settings["second_look"] for r in LabelStore(pond / "out").records.values()} == {looks}


def test_labels_of_pictures_that_are_gone_or_of_another_model_do_not_count(
    pond: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    label(pond)
    (pond / "images" / "eel.png").rename(pond / "images" / "newt.png")
    (pond / "labels" / "eel.png").rename(pond / "labels" / "newt.png")
    assert label(pond, "--audit", "--truth", str(pond)) == 0
    assert "kept 2 of 2 (100.0%)" in capsys.readouterr().out
    assert (pond / "out" / "kept.txt").read_text() == "frog.png\nnewt.png\n"
    (pond / "train.txt").write_text("frog\n")
    assert label(pond, "--split", "train", "--seed", "1", "--force", quiet=False) == 0
    out, err = capsys.readouterr()
    assert "kept 1 of 1 (100.0%)" in out
    assert (pond / "out" / "kept.txt").read_text() == "frog.png\n"
    folder = pond / "images"
    assert f"note: labels in {pond / 'out'} that do not count: 2 of an earlier question\n" in err
    known = SetLabels(Ws(supervision="pseudo", labels=None, pseudo=str(pond / "out")), "pond", find_pictures(pond))
    assert [each.stem for each in find_pictures(pond) if known.tells_of(each)] == ["frog"]
    (folder / "frog.png").rename(folder / "toad.png")
    (pond / "labels" / "frog.png").rename(pond / "labels" / "toad.png")
    (pond / "train.txt").write_text("toad\n")
    assert label(pond, "--split", "train", "--seed", "1", quiet=False) == 0
    told = f"that do not count: 1 of pictures that are not in {folder}, 2 of an earlier question"
    assert told in capsys.readouterr().err


def test_labels_of_two_splits_that_are_folders_lie_in_one_store(pond: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for stem, split in (("eel", "train"), ("frog", "val")):
        (pond / f"images_{split}").mkdir()
        (pond / "images" / f"{stem}.png").rename(pond / f"images_{split}" / f"{stem}.png")
    (pond / "masks").rename(pond / "truth")
    (pond / "images").rmdir()
    assert label(pond, "--split", "train") == 0
    capsys.readouterr()
    assert label(pond, "--split", "val", "--audit", "--truth", str(pond / "truth"), quiet=False) == 0
    out, err = capsys.readouterr()
    assert "kept 2 of 2 (100.0%)" in out
    assert "do not count" not in err
    assert (pond / "out" / "kept.txt").read_text() == "eel.png\nfrog.png\n"


def test_a_label_that_was_taken_away_is_told(pond: Path, capsys: pytest.CaptureFixture[str]) -> None:
    label(pond)
    (pond / "labels" / "eel.png").unlink()
    with pytest.raises(UsageError, match=r"question: eel\.png \(expected a label map for eel\.png"):
        label(pond)
    assert label(pond, "--force") == 0
    assert "0 done, 1 done before, 1 failed" in capsys.readouterr().out
    assert (pond / "out" / "kept.txt").read_text() == "frog.png\n"


def test_nothing_could_be_labelled(pond: Path) -> None:
    for path in (pond / "labels").iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataError, match="none of 2 could be done"):
        label(pond)


@pytest.mark.parametrize(
    "wrong",
    [
        ("--absolute", "2"),
        ("--points", "0"),
        ("--min-views", "-1"),
        ("--actors", "2"),
        ("--cluster", "--device", "cpu"),
    ],
)
def test_wrong_options_are_told_before_the_work(pond: Path, wrong: tuple[str, ...]) -> None:
    with pytest.raises(UsageError):
        label(pond, *wrong)
    assert not (pond / "out").exists()


def test_a_cluster_needs_ray(pond: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"needs the package 'ray\[data\]'") as caught:
        label(pond, "--cluster")
    assert "vns-sam[cluster]" in caught.value.hint
    assert not (pond / "out").exists()


def test_a_student_adds_points_in_a_second_round(pond: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fields = {"backbone": "efficientnet-lite0", "channels": 16, "image_size": 64, "name": "small"}
    student = WsSamModel(WsSamConfig.make(**fields))
    for stage in student.head.stages:
        torch.nn.init.zeros_(stage.out.weight)
        torch.nn.init.constant_(stage.out.bias, 5.0)  # sure that all is object
    student.save_pretrained(pond / "ws")
    label(pond)
    with pytest.raises(UsageError, match="2 made with models"):
        label(pond, "--student", str(pond / "ws"))
    label(pond, "--student", str(pond / "ws"), "--force")
    assert "2 done, 0 done before, 0 failed, 2 replaced" in capsys.readouterr().out.splitlines()[-2]
    for record in LabelStore(pond / "out").records.values():
        assert [record.model[0], record.model[2]] == ["sam-tiny", "small"]
        assert sum(record.prompts["labels"][0]) == 20
    label(pond, "--student", str(pond / "ws"))
    assert "0 done, 2 done before" in capsys.readouterr().out
    with pytest.raises(UsageError, match="expected a WS-SAM, 'sam-tiny' takes prompts"):
        label(pond, "--student", "sam-tiny")
