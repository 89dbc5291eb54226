"""Pipelines: what a step stands on, what is done already, and a run that was killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from safetensors.torch import load_file
from workshop import narrow_sam, write_disks

from vns_sam.cli.main import main
from vns_sam.errors import DataError, UsageError
from vns_sam.studies.making import RECORD, judge
from vns_sam.studies.pipeline import parse_pipeline, plan

REPOSITORY = Path(__file__).parents[2]
BUNDLED = sorted((REPOSITORY / "recipes" / "bundled").glob("*.yaml"))


@pytest.fixture
def values(tmp_path: Path) -> dict[str, Any]:
    """A pipeline with a step of every kind, on eight pictures and a narrow SAM."""
    narrow_sam().save_pretrained(tmp_path / "narrow")
    write_disks(tmp_path / "sets" / "disks", 8)
    narrow = str(tmp_path / "narrow")
    recipe = {
        "task": "sam",
        "init": narrow,
        "data": {"sets": {"disks": 1, "disks_dark": 1}, "sizes": [64]},
        "steps": 2,
        "batch_size": 2,
        "workers": 0,
        "validation": {"every": 2, "limit": 1},
    }
    small = {"backbone": "efficientnet-lite0", "channels": 16, "image_size": 64}
    weak = {"labels": "{strokes}/{set}", "pseudo": "{pseudo}/{set}", "model": small}
    student = {**recipe, "task": "ws-sam", "ws": weak, "data": {"sets": {"disks": 1}, "sizes": [64]}}
    student.pop("init")
    strokes = {"name": "strokes", "do": "scribble", "sets": ["disks"], "split": None}
    asked = {"sets": ["disks"], "labels": "{strokes}/{set}", "model": "{mean}", "split": None}
    return {
        "out": str(tmp_path / "out"),
        "root": str(tmp_path / "sets"),
        "steps": [
            {"name": "night", "do": "darken", "sets": ["disks"]},
            {"name": "first", "do": "train", "recipe": recipe},
            {"name": "mean", "do": "average", "models": ["{first}", narrow], "shares": [3, 1]},
            strokes,
            {"name": "pseudo", "do": "pseudo-label", **asked, "views": "none", "gates": False},
            {"name": "student", "do": "train", "recipe": student},
            {"name": "scores", "do": "evaluate", "models": ["{mean}"], "data": ["disks", "disks_dark"], "limit": 2},
        ],
    }


def file_of(values: dict[str, Any], tmp_path: Path) -> Path:
    path = tmp_path / "pipeline.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def states(values: dict[str, Any], tmp_path: Path) -> dict[str, str]:
    path = file_of(values, tmp_path)
    pipeline = parse_pipeline(values, str(path))
    return {planned.work.step.name: planned.state for planned in judge(pipeline, plan(pipeline, path))}


def test_all_steps_once(values: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = file_of(values, tmp_path), tmp_path / "out"
    assert set(states(values, tmp_path).values()) == {"to do"}
    assert main(["--quiet", "make", str(path)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(out / "scores")
    report = json.loads((out / "scores" / "report.json").read_text())
    assert sorted(report["models"][str(out / "mean")]["means"]["box"]) == ["disks", "disks_dark"]
    first, mean = (load_file(out / name / "model.safetensors") for name in ("first/model", "mean"))
    before = load_file(tmp_path / "narrow" / "model.safetensors")
    name = max(before, key=lambda key: (first[key] - before[key]).abs().max())
    assert (mean[name] - (3 * first[name] + before[name]) / 4).abs().max() < 1e-3
    written = {file: file.stat().st_mtime_ns for file in out.rglob("*") if file.is_file()}
    assert main(["make", str(path)]) == 0
    assert capsys.readouterr().err.count("done before") == 7
    assert {file: file.stat().st_mtime_ns for file in out.rglob("*") if file.is_file()} == written


def test_what_was_made_of_something_else_is_made_again_only_when_asked(
    values: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values["steps"] = values["steps"][:3]
    assert main(["--quiet", "make", str(file_of(values, tmp_path))]) == 0
    values["steps"][1]["change"] = {"optim.lr": 0.02}
    assert states(values, tmp_path) == {"night": "done", "first": "stale", "mean": "stale"}
    before = load_file(tmp_path / "out" / "mean" / "model.safetensors")
    capsys.readouterr()
    assert main(["--quiet", "make", str(file_of(values, tmp_path))]) == 2
    assert "was made of something else in first, mean" in capsys.readouterr().err
    assert main(["--quiet", "make", str(file_of(values, tmp_path)), "--redo"]) == 0
    after = load_file(tmp_path / "out" / "mean" / "model.safetensors")
    assert any((before[name] != after[name]).any() for name in before)


def test_a_change_of_set_or_model_is_seen(values: dict[str, Any], tmp_path: Path) -> None:
    values["steps"] = values["steps"][:3]
    assert main(["--quiet", "make", str(file_of(values, tmp_path))]) == 0
    shutil.copytree(tmp_path / "out", tmp_path / "elsewhere", symlinks=True)
    assert set(states({**values, "out": str(tmp_path / "elsewhere")}, tmp_path).values()) == {"done"}
    narrow_sam(seed=1).save_pretrained(tmp_path / "narrow")
    assert states(values, tmp_path) == {"night": "done", "first": "stale", "mean": "stale"}
    write_disks(tmp_path / "more", 2)
    shutil.copyfile(tmp_path / "more" / "masks" / "000.png", tmp_path / "sets" / "disks" / "masks" / "new.png")
    assert states(values, tmp_path)["night"] == "stale"


def test_a_change_of_a_set_that_is_links_is_seen(values: dict[str, Any], tmp_path: Path) -> None:
    disks = tmp_path / "sets" / "disks"
    for folder in ("images", "masks"):
        (disks / folder).rename(tmp_path / folder)
        (disks / folder).symlink_to(tmp_path / folder)
    values["steps"] = values["steps"][:3]
    assert main(["--quiet", "make", str(file_of(values, tmp_path))]) == 0
    (tmp_path / "images" / "000.png").write_bytes((tmp_path / "images" / "001.png").read_bytes())
    assert set(states(values, tmp_path).values()) == {"stale"}


def done(values: dict[str, Any], tmp_path: Path) -> None:
    """Writes down that every step was made of what is there now."""
    path = file_of(values, tmp_path)
    pipeline = parse_pipeline(values, str(path))
    planned = judge(pipeline, plan(pipeline, path))
    for step in planned:
        step.work.product.mkdir(parents=True, exist_ok=True)
    record = {step.work.step.name: {"key": step.key} for step in planned}
    (pipeline.out / RECORD).write_text(json.dumps(record))
    assert set(states(values, tmp_path).values()) == {"done"}


def test_what_a_file_holds_counts_not_its_size_alone(values: dict[str, Any], tmp_path: Path) -> None:
    disks, labels = tmp_path / "sets" / "disks", tmp_path / "labels" / "disks"
    labels.mkdir(parents=True)
    (labels / "points.csv").write_text("name,x,y,label\n000,1,1,1\n")
    (labels / "empty.txt").write_text("")
    (disks / "train.txt").write_text("000\n001\n")
    asked = {"sets": ["disks"], "labels": str(tmp_path / "labels" / "{set}"), "model": "sam-tiny"}
    weak = {"labels": str(tmp_path / "labels" / "{set}"), "pseudo": "{pseudo}/{set}"}
    recipe = {"task": "ws-sam", "data": {"sets": {"disks": 1}}, "ws": weak}
    values["steps"] = [
        {"name": "strokes", "do": "scribble", "sets": ["disks"]},
        {"name": "pseudo", "do": "pseudo-label", **asked},
        {"name": "student", "do": "train", "recipe": recipe},
    ]
    done(values, tmp_path)
    (labels / "points.csv").write_text("name,x,y,label\n000,9,9,1\n")
    assert states(values, tmp_path) == {"strokes": "done", "pseudo": "stale", "student": "stale"}
    done(values, tmp_path)
    (disks / "train.txt").write_text("000\n002\n")
    assert set(states(values, tmp_path).values()) == {"stale"}
    done(values, tmp_path)
    picture = disks / "images" / "000.png"
    was = picture.stat()
    os.utime(picture, ns=(1, 1))
    assert set(states(values, tmp_path).values()) == {"done"}
    picture.write_bytes(picture.read_bytes()[:-1] + b"?")
    os.utime(picture, ns=(was.st_atime_ns, was.st_mtime_ns))
    assert states(values, tmp_path)["strokes"] == "stale"


def test_killed_run_ends_with_the_same_weights(values: dict[str, Any], tmp_path: Path) -> None:
    values["steps"] = values["steps"][:3]
    recipe = values["steps"][1]["recipe"]
    recipe |= {"steps": 12, "checkpoint_every": 1, "log_every": 1}
    recipe["validation"]["every"] = 12
    path = file_of(values, tmp_path)
    command = [sys.executable, "-m", "vns_sam.cli.main", "--quiet", "make", str(path)]
    process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})
    checkpoint = tmp_path / "out" / "first" / "last.pt"
    deadline = time.monotonic() + 120
    while not checkpoint.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert checkpoint.exists()
    assert not (tmp_path / "out" / "first" / "model").exists(), "the run ended before it was killed"
    assert states(values, tmp_path) == {"night": "done", "first": "begun", "mean": "to do"}
    assert main(["--quiet", "make", str(path)]) == 0
    assert main(["--quiet", "make", str(path), "--out", str(tmp_path / "whole")]) == 0
    killed, whole = (load_file(tmp_path / name / "mean" / "model.safetensors") for name in ("out", "whole"))
    assert all((killed[name] == whole[name]).all() for name in whole)


def test_a_failing_step_ends_the_run_in_one_line(
    values: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values["steps"] = values["steps"][:2]
    shutil.rmtree(tmp_path / "narrow")
    assert main(["make", str(file_of(values, tmp_path))]) == 4
    assert "Traceback" not in capsys.readouterr().err
    assert states(values, tmp_path) == {"night": "done", "first": "begun"}


def test_fields_from_the_command_line(
    values: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["make", str(file_of(values, tmp_path)), "--until", "first"]
    assert main([*line, "--first.recipe.steps", "1", "--first.change.optim.lr", "0.5", "--night.seed", "4"]) == 0
    recipe = yaml.safe_load((tmp_path / "out" / "first.yaml").read_text())
    assert (recipe["steps"], recipe["optim"]) == (1, {"lr": 0.5})
    assert main([*line, "--dry-run", "--night.seed", "4"]) == 0
    shown = capsys.readouterr().out
    assert "night: darken, done" in shown
    assert "first: train, stale" in shown
    assert f"vns-sam data darken {tmp_path / 'out' / 'data' / 'disks'} --strength 1.0 --seed 4" in shown
    assert "vns-sam models average" not in shown
    assert main([*line[:2], "--dry-run", "--night.seed", "4"]) == 0
    assert "vns-sam models average" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"do": "paint"}, "paint"),
        ({"stength": 1}, "did you mean 'strength'"),
        ({"strength": 3}, "less than or equal to 2"),
        ({"sets": []}, "at least 1"),
        ({"name": "../up"}, "cannot be a step's name"),
        ({"name": "first"}, "two steps 'first'"),
    ],
)
def test_a_wrong_step_is_named(values: dict[str, Any], change: dict[str, Any], message: str) -> None:
    values["steps"][0] |= change
    with pytest.raises(UsageError, match=message):
        parse_pipeline(values, "p.yaml")


def test_steps_that_read_no_masks_take_pictures_alone(values: dict[str, Any], tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "sets" / "disks" / "masks")
    values["steps"] = [
        values["steps"][0],
        {"name": "pseudo", "do": "pseudo-label", "sets": ["disks"], "labels": str(tmp_path / "strokes")},
        values["steps"][5],
    ]
    values["steps"][2]["recipe"]["ws"] |= {"labels": None}
    assert set(states(values, tmp_path).values()) == {"to do"}
    values["steps"][2]["recipe"]["ws"]["supervision"] = "full"
    with pytest.raises(DataError, match=r"step 'student' reads the set .*disks, where there is none"):
        states(values, tmp_path)
    values["steps"] = [{"name": "strokes", "do": "scribble", "sets": ["disks"]}]
    with pytest.raises(DataError, match=r"step 'strokes' reads the set .*disks, where there is none"):
        states(values, tmp_path)


def test_references_go_backwards_only(values: dict[str, Any], tmp_path: Path) -> None:
    values["steps"][2]["models"][0] = "{scores}"
    with pytest.raises(UsageError, match="step 'mean': no step 'scores' before it"):
        states(values, tmp_path)
    values["steps"][2]["models"][0] = "{fist}"
    with pytest.raises(UsageError) as caught:
        states(values, tmp_path)
    assert caught.value.hint == "{first}"


def test_a_wrong_recipe_and_a_missing_set_stop_the_run_before_it_starts(values: dict[str, Any], tmp_path: Path) -> None:
    values["steps"][1]["recipe"]["batchsize"] = 3
    with pytest.raises(UsageError, match=r"step 'first'.*batch_size") as caught:
        states(values, tmp_path)
    assert caught.value.hint == "see docs/training.md"
    values["steps"][1]["recipe"].pop("batchsize")
    values["steps"][6]["data"] = ["discs"]
    with pytest.raises(DataError, match=r"step 'scores' reads the set .*discs, where there is none"):
        states(values, tmp_path)
    assert not (tmp_path / "out").exists()


def test_a_damaged_record(values: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / RECORD).write_text("[1]")
    with pytest.raises(DataError, match="is damaged"):
        states(values, tmp_path)


@pytest.mark.parametrize("path", BUNDLED, ids=lambda path: path.stem)
def test_bundled_pipeline(path: Path) -> None:
    pipeline = parse_pipeline(yaml.safe_load(path.read_text()), str(path))
    works = plan(pipeline, path)
    assert {work.step.do for work in works} >= {"train", "evaluate"}
    assert (REPOSITORY / "src" / "vns_sam" / "weights" / path.stem).is_dir()
