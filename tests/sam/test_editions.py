"""A bundled model's name stands for the same weights, or for an error."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from vns_sam.errors import CheckpointError
from vns_sam.inference.load import load_model
from vns_sam.sam import registry
from vns_sam.sam.editions import check_edition, edition
from vns_sam.sam.folder import WEIGHTS, read_config
from vns_sam.vns.model import VnsSamModel


@pytest.fixture
def other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The bundled models of another version, whose sam-tiny was trained again: here one bit of its last weight."""
    folder = tmp_path / "weights"
    shutil.copytree(registry.BUNDLED, folder)
    with (folder / "sam-tiny" / WEIGHTS).open("r+b") as file:
        file.seek(-1, 2)
        (last,) = file.read(1)
        file.seek(-1, 2)
        file.write(bytes([last ^ 1]))
    monkeypatch.setattr(registry, "BUNDLED", folder)
    return folder


def test_what_ships_stands_on_what_ships() -> None:
    assert read_config(registry.place("vns-sam-tiny"))["base_edition"] == edition("sam-tiny")


def test_only_bundled_models_have_editions() -> None:
    assert edition("facebook/sam-vit-base") is None
    check_edition("facebook/sam-vit-base", "0123", "mine")
    check_edition("sam-tiny", None, "mine")


@pytest.mark.parametrize("backend", ["torch", "onnx"])
def test_a_model_on_other_weights_is_refused(other: Path, backend: str) -> None:
    with pytest.raises(CheckpointError, match="stands on the 'sam-tiny' of another version of vns-sam: expected"):
        load_model(other / "vns-sam-tiny", backend=backend)


def test_a_saved_model_knows_its_edition(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    VnsSamModel.from_pretrained(registry.place("vns-sam-tiny")).save_pretrained(tmp_path / "mine")
    known = edition("sam-tiny")
    assert read_config(tmp_path / "mine")["base_edition"] == known
    request.getfixturevalue("other")
    assert edition("sam-tiny") != known
    with pytest.raises(CheckpointError, match="another version"):
        VnsSamModel.from_pretrained(tmp_path / "mine")
