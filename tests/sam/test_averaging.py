"""The mean of several trainings: weights between them, nothing mixed that does not belong together."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from workshop import narrow_sam

from vns_sam.cli.main import main
from vns_sam.errors import CheckpointError, UsageError
from vns_sam.inference.load import load_network
from vns_sam.sam.averaging import average_checkpoints
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


def test_the_command(folders: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["models", "average", *map(str, folders), "--out", str(tmp_path / "mean")]
    assert main(given) == 0
    assert "the mean of 2 models" in capsys.readouterr().out
    assert main([*given, "--shares", "1"]) == 2
