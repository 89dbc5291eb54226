"""Every command that writes into a folder of its own holds it: a second one is told before it does anything."""

from __future__ import annotations

from pathlib import Path

import pytest
from workshop import write_disks

from vns_sam.cli.main import main
from vns_sam.runs.lock import locked


def test_the_maps_of_an_evaluation_are_held(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    maps = tmp_path / "maps"
    command = ["evaluate", "sam-tiny", "--data", str(write_disks(tmp_path / "disks", 1)), "--save-maps", str(maps)]
    with locked(maps, "first"):
        (maps / ".a.png.1.part").touch()
        assert main([*command, "--out", str(tmp_path / "out"), "--quiet"]) == 2
        assert (maps / ".a.png.1.part").is_file()
    assert f"{maps} to be free, found another run at work in it: 'first'" in capsys.readouterr().err
    assert main([*command, "--out", str(maps), "--quiet"]) == 0
    assert not (maps / ".a.png.1.part").exists()


def test_a_second_import_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with locked(tmp_path / "out", "first"):
        code = main(["data", "import", str(tmp_path), "--out", str(tmp_path / "out"), "--quiet"])
    assert (code, "found another run at work in it: 'first'" in capsys.readouterr().err) == (2, True)


@pytest.mark.parametrize("verb", ["train", "study", "evaluate"])
def test_a_second_run_is_told(verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    disks, out = write_disks(tmp_path / "disks", 2), tmp_path / "out"
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"{{task: vns-sam, out: {out}, data: {{root: {tmp_path}, sets: {{disks: 1}}}}, steps: 1}}\n")
    study = tmp_path / "study.yaml"
    rows, measure = "[{name: a, model: sam-tiny}]", "{data: [disks], prompts: [box]}"
    study.write_text(f"{{out: {out}, root: {tmp_path}, rows: {rows}, measure: {measure}}}\n")
    arguments = {
        "train": [str(recipe)],
        "study": [str(study)],
        "evaluate": ["sam-tiny", "--data", str(disks), "--out", str(out)],
    }
    with locked(out, "first"):
        code = main([verb, *arguments[verb], "--quiet"])
    said = capsys.readouterr().err
    assert "found another run at work in it: 'first'" in said, said
    assert code == 2
