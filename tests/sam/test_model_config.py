"""A wrong value in a ``config.json`` is a bad checkpoint, and the key is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vns_sam.cli.main import main
from vns_sam.dis.config import DisSamConfig
from vns_sam.errors import CheckpointError
from vns_sam.hq.config import HqSamConfig
from vns_sam.lowlight.generator import GeneratorConfig
from vns_sam.sam import registry
from vns_sam.sam.config import SamConfig
from vns_sam.sam.model_config import ModelConfig
from vns_sam.vns.config import VnsSamConfig
from vns_sam.ws.config import WsSamConfig

GIVEN: dict[type[ModelConfig], dict[str, Any]] = {
    SamConfig: {"name": "a", "backbone": "tiny"},
    VnsSamConfig: {"base": "a"},
    HqSamConfig: {"base": "a"},
    DisSamConfig: {"base": "a"},
    WsSamConfig: {},
    GeneratorConfig: {},
}


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        (SamConfig, {"image_size": "512"}, "image_size must be a whole number from 28 .*found '512'"),
        (SamConfig, {"image_size": 500}, "image_size must be .*multiple of 32, found 500"),
        (SamConfig, {"image_size": None}, "image_size must be .*found null"),
        (SamConfig, {"image_size": True}, "image_size must be .*found true"),
        (SamConfig, {"image_size": 10**400}, "image_size must be"),
        (SamConfig, {"backbone": "vit_x"}, "backbone must be .*found 'vit_x'"),
        (SamConfig, {"backbone": {"kind": "vit", "hidden_size": 0}}, "'backbone' must hold 'num_hidden_layers'"),
        (SamConfig, {"mask_decoder": [1]}, r"mask_decoder must be a mapping of fields, found \[1\]"),
        (SamConfig, {"mask_decoder": {"mlp_dim": -1}}, r"mask_decoder\.mlp_dim must be .*found -1"),
        (SamConfig, {"mask_decoder": {"hidden_size": 8}}, "hidden_size must be a multiple of"),
        (SamConfig, {"level_channels": 384}, "level_channels must be a list, found 384"),
        (SamConfig, {"level_channels": [1, 2]}, "level_channels must be 4 values"),
        (SamConfig, {"name": 5}, "name must be text, found 5"),
        (VnsSamConfig, {"head_channels": "64"}, "head_channels must be"),
        (VnsSamConfig, {"mask_threshold": "x"}, "mask_threshold must be a number"),
        (VnsSamConfig, {"mask_threshold": float("nan")}, "mask_threshold must be a number"),
        (VnsSamConfig, {"base": 5}, "base must be text, found 5"),
        (VnsSamConfig, {"inner_channels": 6}, "inner_channels must be .*multiple of 4"),
        (VnsSamConfig, {"variant": 3}, "variant"),
        (VnsSamConfig, {"switches": 3}, "switches must be"),
        (VnsSamConfig, {"adapter": 1}, "adapter must be true or false"),
        (HqSamConfig, {"early_channels": 0}, "early_channels must be"),
        (HqSamConfig, {"mask_prompt": "red"}, "mask_prompt must be 'logits' or 'grey'"),
        (DisSamConfig, {"width": "x"}, "width must be a number"),
        (DisSamConfig, {"width": 0}, "width must be a number"),
        (DisSamConfig, {"margin": -1}, "margin must be"),
        (DisSamConfig, {"cut": ["half"]}, "cut must be"),
        (WsSamConfig, {"channels": 24}, "channels must be .*multiple of 16"),
        (WsSamConfig, {"backbone": {"kind": "resnet", "settings": {"depths": "deep"}}}, r"settings\.depths must be"),
        (WsSamConfig, {"backbone": {"kind": "rasnet"}}, "kind must be"),
        (WsSamConfig, {"prototypes": [4, None]}, r"prototypes\[1\] must be"),
        (GeneratorConfig, {"ngf": 2.5}, "ngf must be a whole number"),
    ],
)
def test_a_wrong_value_is_named(kind: type[ModelConfig], change: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        kind.from_dict({**GIVEN[kind], **change}, "m/config.json")
    assert "config.json" in caught.value.message
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 300


@pytest.mark.parametrize("kind", GIVEN)
def test_what_is_written_is_read(kind: type[ModelConfig]) -> None:
    config = kind.from_dict(GIVEN[kind])
    assert kind.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize("name", registry.bundled())
def test_bundled_configs_are_written_as_they_are_read(name: str) -> None:
    values = json.loads((registry.BUNDLED / name / "config.json").read_text())
    (kind,) = (kind for kind in GIVEN if kind.model_type == values["model_type"])
    assert json.loads(json.dumps(kind.from_dict(values).to_dict())) == values


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, "{", "\ufeff{}", "[]", '{"model_type": []}', '{"model_type": "sam", "name": ' + "9" * 5000 + "}"],
    ids=["deep", "cut", "bom", "list", "type", "digits"],
)
def test_a_file_that_is_no_config_exits_4(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.json").write_text(text)
    (tmp_path / "model.safetensors").touch()
    assert main(["segment", "x.png", "--box", "1", "1", "9", "9", "--model", str(tmp_path)]) == 4
    assert "fault of vns-sam" not in capsys.readouterr().err
