"""``--json`` on every verb and action: each line on stdout is one object, whatever else is told on stderr."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from workshop import narrow_sam, write_disks

from vns_sam.cli.main import VERBS, main, whole_parser
from vns_sam.data.sets.catalog import catalog


def leaves(parser: argparse.ArgumentParser, name: str = "") -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """All parsers below one that have no actions of their own."""
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not groups:
        yield name, parser
    for group in groups:
        for verb, inside in group.choices.items():
            yield from leaves(inside, f"{name} {verb}".strip())


def test_every_verb_and_action_has_the_option() -> None:
    found = dict(leaves(whole_parser()))
    assert {name.split()[0] for name in found} == set(VERBS)
    assert len(found) > 20
    assert [name for name, parser in found.items() if "--json" not in parser._option_string_actions] == []


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_disks(tmp_path / "disks", 6)
    narrow_sam().save_pretrained(tmp_path / "narrow")
    return tmp_path


def objects(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> list[dict[str, Any]]:
    assert main([*words]) == code
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert found
    assert all(isinstance(each, dict) for each in found)
    return found


def test_before_or_behind_an_action(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    behind = objects(capsys, "data", "check", "disks", "--workers", "1", "--json")
    assert objects(capsys, "data", "--json", "check", "disks", "--workers", "1") == behind
    assert behind[-1]["pictures"] == 6


def test_lists(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert {line["name"] for line in objects(capsys, "models", "list", "--json")} >= {"vns-sam-tiny", "vit_b"}
    assert len(objects(capsys, "data", "list", "--json")) == len(catalog())
    assert objects(capsys, "data", "list", "camo", "--json")[0]["name"] == "camo"
    assert "vns_sam_tiny" in {line["recipe"] for line in objects(capsys, "train", "--list", "--json")}


def test_evaluations(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--data", "disks", "--prompt", "box", "--workers", "0", "--quiet", "--json")
    found = objects(capsys, "evaluate", "narrow", *words, "--out", "report", "--save", "numbers.json")
    assert (found[0]["model"], found[0]["set"], found[0]["count"]) == ("narrow", "disks", 6)
    assert {"file": "numbers.json"} in found
    assert found[-1] == {"file": "report/report.json"}
    same = objects(capsys, "evaluate", "--compare", "report/report.json", "report/report.json", "--json")
    assert [(line["metric"], line["change"], line["certain"]) for line in same] == [
        ("iou", 0.0, False),
        ("biou", 0.0, False),
    ]


def test_sets(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scored = objects(capsys, "data", "score", "disks", "--workers", "0", "--quiet", "--json", "--out", "scores")
    assert [line.get("dataset") for line in scored[-2:]] == ["disks", None]
    assert len(scored) == 6 + 1 + 1
    square = [10, 10, 30, 10, 30, 20, 10, 20]
    content = {
        "images": [{"id": 1, "file_name": "001.png", "width": 64, "height": 48}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": [square], "bbox": [10, 10, 20, 10]}],
        "categories": [{"id": 1, "name": "disk"}],
    }
    (place / "disks" / "coco.json").write_text(json.dumps(content))
    (told,) = objects(capsys, "data", "import", "disks/coco.json", "--out", "imported", "--quiet", "--json")
    assert (told["pictures"], told["objects"], told["problems"]) == (1, 1, [])
    (told,) = objects(
        capsys, "data", "import-labels", "disks/masks", "--images", "disks/images", "--out", "l", "--quiet", "--json"
    )
    assert told["pictures"] == 6


def test_training(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = {
        "task": "sam-tune",
        "out": "run",
        "init": "narrow",
        "data": {"root": ".", "sets": {"disks": 1}, "sizes": [64], "prompts": 1},
        "steps": 1,
        "batch_size": 1,
        "workers": 0,
    }
    (place / "r.yaml").write_text(yaml.safe_dump(recipe))
    assert objects(capsys, "train", "r.yaml", "--quiet", "--json") == [{"model": "run/model", "scores": {}}]
    study = {
        "out": "out",
        "root": ".",
        "train": "r.yaml",
        "rows": [{"name": "tuned"}, {"name": "SAM", "model": "narrow"}],
        "measure": {"data": ["disks"], "prompts": ["box"], "limit": 2},
    }
    (place / "s.yaml").write_text(yaml.safe_dump(study))
    assert [line["row"] for line in objects(capsys, "study", "s.yaml", "--plan", "--json")] == ["tuned (seed 0)", "SAM"]
    rows = objects(capsys, "study", "s.yaml", "--workers", "0", "--quiet", "--json")
    assert [row.get("model") for row in rows] == ["tuned (seed 0)", "SAM", None]
    steps = [{"name": "tune", "do": "train", "recipe": recipe}]
    (place / "p.yaml").write_text(yaml.safe_dump({"out": "made", "steps": steps}))
    assert [line["step"] for line in objects(capsys, "make", "p.yaml", "--root", ".", "--dry-run", "--json")] == [
        "tune"
    ]
    made = objects(capsys, "make", "p.yaml", "--root", ".", "--quiet", "--json")
    assert [set(line) for line in made] == [{"model", "scores"}, {"product"}]


def test_models(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (cost,) = objects(capsys, "models", "cost", "narrow", "--calls", "1", "--json")
    assert cost["parameters"] > 0
    (mean,) = objects(capsys, "models", "average", "narrow", "narrow", "--out", "mean", "--json")
    assert (mean["out"], mean["models"]) == ("mean", 2)


def test_pictures(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("segment", "disks/images/000.png", "--box", "5", "5", "40", "40", "--model", "narrow", "--json")
    assert objects(capsys, *asked, "--dry-run")[0] == {"state": "write", "file": "000_mask.png"}
    assert objects(capsys, *asked)[0]["files"] == ["000_mask.png", "000_overlay.png"]
    (done,) = objects(capsys, "demo", "--model", "narrow", "--json", "--out", "shown")
    assert done["files"] == ["shown/demo_mask.png", "shown/demo_overlay.png"]
