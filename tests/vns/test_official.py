"""The authors' checkpoints: names, formats, backbones."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from vns_sam.cli.main import main
from vns_sam.errors import CheckpointError
from vns_sam.vns.config import VIT_CHANNELS, VnsSamConfig
from vns_sam.vns.decoder import VnsMaskDecoder
from vns_sam.vns.model import parameter_report
from vns_sam.vns.official import convert_decoder, key_to_official, key_to_own, load_decoder, match_decoder
from vns_sam.vns.switches import SWITCHES

TRAINED = {"vit_b": 2_476_618, "vit_l": 2_574_922, "vit_h": 2_673_226}


def blank(backbone: str) -> VnsMaskDecoder:
    width = VIT_CHANNELS[backbone]
    with torch.device("meta"):
        return VnsMaskDecoder(VnsSamConfig(backbone, level_channels=(width, width, width, width)))


@pytest.mark.parametrize("backbone", list(VIT_CHANNELS))
def test_names_and_shapes_are_the_authors(backbone: str, fixtures_dir: Path) -> None:
    table = json.loads((fixtures_dir / "vns" / f"keys_{backbone}.json").read_text())
    expected = {**table["trainable"], **table["trainable_buffers"], **table["frozen_sam_decoder"]}
    state = blank(backbone).state_dict()
    assert {key_to_official(key): list(value.shape) for key, value in state.items()} == expected


@pytest.mark.parametrize(("backbone", "count"), list(TRAINED.items()))
def test_sizes_are_those_of_the_paper_in_mib(backbone: str, count: int) -> None:
    rows = {row.part: row for row in parameter_report(blank(backbone))}
    assert rows["trained"].parameters == count
    assert rows["frozen SAM decoder"].parameters == 4_058_340
    assert rows["VNS tokens"].mib == pytest.approx(1.07, abs=0.005)
    if backbone == "vit_l":
        assert rows["trained"].mib == pytest.approx(9.82, abs=0.005)
        assert rows["NSFM"].mib == pytest.approx(3.72, abs=0.005)


@pytest.mark.parametrize(("attention", "count"), [(False, 1_916_362), (True, 2_048_586)])
def test_size_of_the_paper_variant(attention: bool, count: int) -> None:
    """The text as it stands, and with the release's attention at level 1."""
    switches = replace(SWITCHES["paper"], level1_attention=attention)
    with torch.device("meta"):
        decoder = VnsMaskDecoder(VnsSamConfig("vit_l", variant="paper", switches=switches))
    assert {row.part: row for row in parameter_report(decoder)}["trained"].parameters == count


def test_names_go_both_ways() -> None:
    for key in blank("vit_b").state_dict():
        assert key_to_own(key_to_official(key)) == key


@pytest.fixture(scope="module")
def full_state() -> dict[str, torch.Tensor]:
    width = VIT_CHANNELS["vit_b"]
    config = VnsSamConfig("vit_b", level_channels=(width, width, width, width))
    torch.manual_seed(0)
    return {key_to_official(key): value for key, value in VnsMaskDecoder(config).state_dict().items()}


FORMATS = {
    "plain": lambda state: state,
    "parallel": lambda state: {f"module.{key}": value for key, value in state.items()},
    "merged": lambda state: {
        "image_encoder.pos_embed": torch.zeros(1),
        **{f"mask_decoder.{key}": value for key, value in state.items()},
    },
}


@pytest.mark.parametrize("form", list(FORMATS))
def test_all_three_formats_load(form: str, full_state: dict[str, torch.Tensor]) -> None:
    decoder = load_decoder(FORMATS[form](full_state))
    assert not decoder.training
    assert decoder.config.base == "vit_b"
    for key, value in decoder.state_dict().items():
        assert torch.equal(value, full_state[key_to_official(key)])


def test_what_is_missing_and_left_over_is_told(full_state: dict[str, torch.Tensor]) -> None:
    state = {key: value for key, value in full_state.items() if not key.startswith("iou_token")}
    state["hf_mlp.layers.9.weight"] = torch.zeros(1)
    _, report = match_decoder(state, "x.pth")
    assert report.missing == ("iou_token.weight",)
    assert report.left_over == ("hf_mlp.layers.9.weight",)
    with pytest.raises(CheckpointError, match=r"lacks 1 tensors.*'iou_token.weight'"):
        load_decoder(state)


def test_a_decoder_of_another_backbone_is_refused_by_name(full_state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"for ViT-B \(768 channels\), the model is ViT-L \(1024 channels\)"):
        convert_decoder(full_state, "x.pth", tmp_path / "out", "vit_l")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "state", [{}, {"conv.weight": torch.zeros(3)}, {"fusion_layer.0.weight": torch.zeros(256, 2, 3, 3)}]
)
def test_other_files_are_refused(state: dict[str, torch.Tensor]) -> None:
    with pytest.raises(CheckpointError, match="no VNS-SAM decoder"):
        load_decoder(state)


def test_a_tensor_of_another_shape_is_named(full_state: dict[str, torch.Tensor]) -> None:
    with pytest.raises(CheckpointError, match=r"'hf_token.weight' must have shape \(2, 256\), found \(3, 256\)"):
        load_decoder({**full_state, "hf_token.weight": torch.zeros(3, 256)})


def test_the_command_converts_and_reports(
    full_state: dict[str, torch.Tensor], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(FORMATS["parallel"](full_state), tmp_path / "epoch_11.pth")
    out = tmp_path / "converted"
    assert main(["models", "convert", str(tmp_path / "epoch_11.pth"), "--base", "vit_b", "--out", str(out)]) == 0
    assert "247 tensors used, 0 missing, 0 left over" in capsys.readouterr().out
    assert json.loads((out / "config.json").read_text())["base"] == "vit_b"
    again = ["models", "convert", str(tmp_path / "epoch_11.pth"), "--base", "vit_h", "--out", str(out)]
    assert main(again) == 2
    assert f"expected to replace no file, found {out / 'config.json'}" in capsys.readouterr().err
    assert main([*again, "--force"]) == 4
    assert "ViT-B (768 channels)" in capsys.readouterr().err
