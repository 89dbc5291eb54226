from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from vns_sam.cli.main import main
from vns_sam.errors import CheckpointError, UsageError
from vns_sam.inference.load import graphs_of, load_model, model_type, takes_prompts
from vns_sam.inference.onnx.refiner import OnnxRefiner
from vns_sam.sam import registry
from vns_sam.sam.config import tiny_config
from vns_sam.sam.model import SamModel


@pytest.mark.parametrize(
    ("name", "error", "hint"),
    [
        ("vns-sam-tny", UsageError, "vns-sam-tiny"),
        ("vit-l", UsageError, "vit_l"),
        ("hq-vit-l", UsageError, "hq_vit_l"),
        ("unheard", UsageError, "models list"),
        ("./no/such/folder", CheckpointError, "existing"),
        ("no_file.pth", CheckpointError, "existing"),
        ("runs/no_file.pth", CheckpointError, "existing"),
        ("runs/no_file.safetensors", CheckpointError, "existing"),
    ],
)
def test_a_name_that_is_none(name: str, error: type[Exception], hint: str) -> None:
    with pytest.raises(error) as caught:
        load_model(name)
    assert name in str(caught.value)
    assert hint in caught.value.hint  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["vit_l", "someone/some-model-that-is-not-here"])
def test_without_network_one_line_tells_how_to_get_the_weights(name: str) -> None:
    with pytest.raises(CheckpointError, match="hub") as caught:
        load_model(name)
    assert "\n" not in caught.value.message
    assert "hf download" in caught.value.hint


@pytest.mark.parametrize("device", ["abacus", "cuda:99"])
def test_a_device_that_is_not_there(device: str) -> None:
    with pytest.raises(UsageError, match="not available"):
        load_model("sam-tiny", device=device)


def test_a_folder(tmp_path: Path) -> None:
    SamModel(tiny_config()).save_pretrained(tmp_path / "model")
    assert load_model(tmp_path / "model").name == "sam-tiny"
    (tmp_path / "model" / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match="damaged"):
        load_model(str(tmp_path / "model"))
    (tmp_path / "model" / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(CheckpointError, match="'bert'"):
        load_model(tmp_path / "model")


@pytest.mark.parametrize("name", ["sam3", "vit_b"])
def test_a_folder_in_the_working_directory_never_stands_for_a_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(registry.place("ws-sam-tiny"), tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert registry.local(name) is None
    assert takes_prompts(name)
    assert model_type(name) is None
    assert graphs_of(name, "cpu", "auto") is None
    with pytest.raises(CheckpointError, match="hub"):
        load_model(name)
    with pytest.raises(UsageError, match="has no graphs"):
        load_model(name, backend="onnx")
    assert main(["export", name, "--beside"]) == 2
    assert "expected a folder with weights for --beside" in capsys.readouterr().err

    for path in (f"./{name}", tmp_path / name):  # its path does
        assert not takes_prompts(path)
        assert model_type(path) == "ws-sam"
        assert graphs_of(path, "cpu", "auto") == Path(path)
        assert load_model(path).info.prompts == frozenset()


def test_a_bundled_name_is_the_bundled_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(registry.place("ws-sam-tiny"), tmp_path / "vns-sam-tiny")
    monkeypatch.chdir(tmp_path)
    assert takes_prompts("vns-sam-tiny")
    assert model_type("vns-sam-tiny") == "vns-sam"
    assert load_model("vns-sam-tiny").info.name == "vns-sam-tiny"


def test_a_first_stage_is_named_as_any_model(tmp_path: Path) -> None:
    refiner = shutil.copytree(registry.place("dis-sam-tiny"), tmp_path / "dis")
    shutil.copytree(registry.place("sam-tiny"), tmp_path / "dis" / "mine")
    shutil.copytree(registry.place("ws-sam-tiny"), tmp_path / "dis" / "vit_b")
    config = (refiner / "config.json").read_text()
    (refiner / "config.json").write_text(config.replace('"base": "sam-tiny"', '"base": "mine"'))
    assert load_model(refiner, backend="onnx").info.prompts
    (refiner / "config.json").write_text(config.replace('"base": "sam-tiny"', '"base": "vit_b"'))
    with pytest.raises(UsageError, match="'vit_b' has no graphs"):
        load_model(refiner, backend="onnx")


@pytest.mark.parametrize("base", ["mine", "http://127.0.0.1:9/mine"])
def test_a_refiners_graph_stands_on_a_first_stage_in_torch_where_that_has_no_graphs(base: str, tmp_path: Path) -> None:
    refiner = shutil.copytree(registry.place("dis-sam-tiny"), tmp_path / "dis")
    (refiner / "mine").mkdir()
    for file in ("config.json", "model.safetensors"):
        shutil.copy(registry.place("sam-tiny") / file, refiner / "mine")
    config = (refiner / "config.json").read_text()
    (refiner / "config.json").write_text(config.replace('"base": "sam-tiny"', f'"base": "{base}"'))
    if base != "mine":  # no server is asked on the word of a file
        with pytest.raises(CheckpointError, match="no model 'http://"):
            load_model(refiner)
        return
    model = load_model(refiner)
    assert isinstance(model, OnnxRefiner)
    assert (model.info.name, model.first.info.backend) == ("dis-sam-tiny", "torch")
    with pytest.raises(UsageError, match=r"dis/mine' has no graphs"):
        load_model(refiner, backend="onnx")
