"""The mean of several trainings: weights between them, nothing mixed that does not belong together."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from workshop import narrow_sam

from vns_sam.cli.main import main
from vns_sam.errors import CheckpointError, UsageError
from vns_sam.inference.load import load_network
from vns_sam.sam.averaging import average_checkpoints
from vns_sam.sam.editions import edition
from vns_sam.sam.registry import BUNDLED
from vns_sam.vns.model import VnsSamModel


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """A model of ones and one of threes."""
    paths = []
    for value in (1.0, 3.0):
        model = narrow_sam()
        for parameter in model.parameters():
            torch.nn.init.constant_(parameter, value)
        paths.append(tmp_path / str(value))
        model.save_pretrained(paths[-1])
    return paths


@pytest.mark.parametrize(("shares", "expected"), [(None, 2.0), ([3, 1], 1.5), ([0, 2], 3.0)])
def test_weights_lie_between(folders: list[Path], tmp_path: Path, shares: list[float] | None, expected: float) -> None:
    average_checkpoints(folders, tmp_path / "mean", shares)
    model = load_network(str(tmp_path / "mean"))
    assert isinstance(model, torch.nn.Module)
    assert all(torch.all(parameter == expected) for parameter in model.parameters())


def test_a_bundled_model_goes_by_its_name(tmp_path: Path) -> None:
    mean = average_checkpoints(["sam-tiny", "sam-tiny"], tmp_path / "mean")
    wanted = load_file(BUNDLED / "sam-tiny" / "model.safetensors")
    assert mean.keys() == wanted.keys()
    assert all(torch.equal(mean[key].half(), wanted[key].half()) for key in wanted)


def test_one_model_or_wrong_shares_are_refused(folders: list[Path], tmp_path: Path) -> None:
    for given, shares in ((folders[:1], None), (folders, [1]), (folders, [0, 0]), (folders, [2, -1])):
        with pytest.raises(UsageError, match="expected"):
            average_checkpoints(given, tmp_path / "mean", shares)
    assert not (tmp_path / "mean").exists()


def test_other_models_are_refused_by_what_differs(folders: list[Path], tmp_path: Path) -> None:
    VnsSamModel.from_sam(narrow_sam()).save_pretrained(tmp_path / "vns")
    with pytest.raises(CheckpointError, match="'vns-sam' model"):
        average_checkpoints([*folders, tmp_path / "vns"], tmp_path / "mean")
    weights = folders[1] / "model.safetensors"
    state = load_file(weights)
    key = min(state)
    save_file({**state, key: state[key][None]}, weights)
    with pytest.raises(CheckpointError, match=f"expected '{key}'"):
        average_checkpoints(folders, tmp_path / "mean")


@pytest.fixture
def standing(tmp_path: Path) -> Callable[..., Path]:
    """Saves a VNS-SAM with these fields in its ``config.json``."""
    model = VnsSamModel.from_sam(narrow_sam())

    def save(name: str, **fields: str) -> Path:
        model.save_pretrained(tmp_path / name)
        path = tmp_path / name / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))
        return tmp_path / name

    return save


def test_trainings_on_different_foundations_are_refused(standing: Callable[..., Path], tmp_path: Path) -> None:
    today = edition("sam-tiny")
    one = standing("one", base="sam-tiny", base_edition=today)
    for fields, message in (
        ({"base": "sam-tiny", "base_edition": "0" * 12}, f"of another version of vns-sam: expected {'0' * 12}"),
        ({"base": "vit_b"}, "has base 'vit_b', expected 'sam-tiny'"),
        ({"base": "vit_b", "base_edition": "0" * 12}, "has base 'vit_b', expected 'sam-tiny'"),
    ):
        other = standing("other", **fields)
        for given in ([one, other], [other, one]):
            with pytest.raises(CheckpointError, match=r"of another version|has base '"):
                average_checkpoints(given, tmp_path / "mean")
        with pytest.raises(CheckpointError, match=message):
            average_checkpoints([one, other], tmp_path / "mean")
    assert not (tmp_path / "mean").exists()


def test_what_the_mean_stands_on_is_what_all_of_them_do(standing: Callable[..., Path], tmp_path: Path) -> None:
    today = edition("sam-tiny")
    known, unknown = standing("one", base="sam-tiny", base_edition=today), standing("two", base="sam-tiny")
    average_checkpoints([known, unknown], tmp_path / "mean")
    config = json.loads((tmp_path / "mean" / "config.json").read_text())
    assert (config["base"], config["base_edition"]) == ("sam-tiny", today)
    narrow_sam().save_pretrained(tmp_path / "sam")
    beside, absolute = standing("three", base="../sam"), standing("four", base=str(tmp_path / "sam"))
    average_checkpoints([absolute, beside], tmp_path / "deep" / "mean")
    assert json.loads((tmp_path / "deep/mean/config.json").read_text())["base"] == str(tmp_path / "sam")
    assert load_network(tmp_path / "deep" / "mean").info.prompts


def test_the_command(folders: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["models", "average", *map(str, folders), "--out", str(tmp_path / "mean")]
    assert main(given) == 0
    assert "the mean of 2 models" in capsys.readouterr().out
    capsys.readouterr()
    before = (folders[0] / "model.safetensors").read_bytes()
    over = ["models", "average", *map(str, folders), "--out", str(folders[0])]
    assert main(over) == 2
    assert f"expected to replace no file, found {folders[0] / 'config.json'}" in capsys.readouterr().err
    assert (folders[0] / "model.safetensors").read_bytes() == before
    assert main([*over, "--force"]) == 0
    assert main([*given, "--shares", "1", "--force"]) == 2
