from __future__ import annotations

from pathlib import Path

import pytest

from vns_sam.errors import CheckpointError, UsageError
from vns_sam.inference.load import load_model
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
