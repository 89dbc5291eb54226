"""Files of weights that are damaged, odd or made to harm: named in one line, before anything large is built."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from vns_sam.errors import CheckpointError
from vns_sam.sam.checkpoints import load_weights, write_checkpoint
from vns_sam.sam.files import read_tensors

STATE = {"a.weight": torch.ones(3, 4), "a.count": torch.tensor(2)}


class Payload:
    """Runs a command when it is unpickled by somebody careless."""

    def __reduce__(self) -> Any:
        return os.system, ("echo ran > ran",)


@pytest.mark.parametrize(
    "wrapped",
    [
        STATE,
        {"model": STATE, "epoch": 3},
        {"state_dict": STATE, "optimizer": {"state": {}, "lr": 0.1}},
        {"model_state": {f"module.{k}": v for k, v in STATE.items()}},
        {"checkpoint": 1, "model": {"state_dict": {f"module.sam.{k}": v for k, v in STATE.items()}}},
    ],
)
def test_wrappers_and_prefixes_come_off(wrapped: dict[str, Any], tmp_path: Path) -> None:
    torch.save(wrapped, tmp_path / "w.pth")
    found = read_tensors(tmp_path / "w.pth")
    assert list(found) == list(STATE)
    assert all(torch.equal(found[key], value) for key, value in STATE.items())


def test_safetensors_are_known_by_content(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "w.pth")
    assert list(read_tensors(tmp_path / "w.pth")) == sorted(STATE, reverse=True) or set(STATE)


def test_a_payload_is_said_to_be_one_and_does_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"model": Payload()}, "zip.pth")
    Path("plain.pth").write_bytes(pickle.dumps({"model": Payload()}, 2))
    for name in ("zip.pth", "plain.pth"):
        with pytest.raises(CheckpointError, match=r"would run 'posix\.system', and code in a file is never run"):
            read_tensors(name)
    assert not Path("ran").exists()


def test_a_file_that_unpacks_to_more_than_it_holds_is_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(8_000_000)}, tmp_path / "plain.pth")
    plain, bomb = zipfile.ZipFile(tmp_path / "plain.pth"), zipfile.ZipFile(tmp_path / "bomb.pth", "w", 8)
    with plain, bomb:
        for entry in plain.namelist():
            bomb.writestr(entry, plain.read(entry))
    with pytest.raises(CheckpointError, match="would unpack to"):
        read_tensors(tmp_path / "bomb.pth")
    torch.save({"a": torch.zeros(1).expand(8_000_000)}, tmp_path / "view.pth")
    with pytest.raises(CheckpointError, match="would unpack to"):
        read_tensors(tmp_path / "view.pth")


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({0: torch.ones(2)}, "names of tensors must be text, found '0', a int"),
        ({"a": torch.ones(2, dtype=torch.complex64)}, "'a' must hold ordinary numbers, found complex64"),
        ({"a": torch.eye(3).to_sparse()}, "'a' must hold ordinary numbers"),
        ({"a": "b"}, "found a dictionary of str"),
        ([torch.ones(2)], "found a list"),
    ],
)
def test_what_no_model_has_is_refused(state: Any, message: str, tmp_path: Path) -> None:
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=message):
        read_tensors(tmp_path / "w.pth")


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_half_a_file(kept: float, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"w{suffix}"
    save = torch.save if suffix == ".pth" else save_file
    save({"a": torch.ones(5000)}, path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    with pytest.raises(CheckpointError, match="is damaged"):
        read_tensors(path)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="no regular file"):
        read_tensors(tmp_path / "w.pth")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_nan_or_infinite_are_refused(value: float, tmp_path: Path) -> None:
    layer = torch.nn.Linear(3, 2)
    state = {key: tensor.detach().clone() for key, tensor in layer.state_dict().items()}
    state["weight"][1, 1] = value
    with pytest.raises(CheckpointError, match="'weight' holds 1 values that are NaN or infinite"):
        load_weights(layer, state, "w.pth")
    with pytest.raises(CheckpointError, match="'weight' holds 1 values"):
        write_checkpoint(tmp_path / "m", {"model_type": "x"}, state, torch.float32)
    assert not (tmp_path / "m").exists()


def test_numbers_that_half_precision_cannot_hold_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="NaN or infinite"):
        write_checkpoint(tmp_path / "m", {"model_type": "x"}, {"a": torch.full((2,), 1e6)}, torch.float16)


def test_very_large_finite_weights_are_weights() -> None:
    layer = torch.nn.Linear(64, 64)
    load_weights(layer, {"weight": torch.full((64, 64), 1e37), "bias": torch.zeros(64)}, "w.pth")


def test_another_kind_of_numbers_is_named() -> None:
    layer = torch.nn.Linear(3, 2)
    state = {**layer.state_dict(), "bias": torch.zeros(2, dtype=torch.int32)}
    with pytest.raises(CheckpointError, match="'bias' must hold float32, found int32"):
        load_weights(layer, state, "w.pth")
