"""Checkpoints of the authors: five and three channels, plain and from several GPUs; and what is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from recipe_weights import fill
from workshop import narrow_sam

from vns_sam.dis.config import DisSamConfig
from vns_sam.dis.isnet import IsNet
from vns_sam.dis.model import DisSamModel
from vns_sam.dis.official import holds_isnet, load_isnet
from vns_sam.errors import CheckpointError, UsageError
from vns_sam.inference.load import load_model, load_network, refine_with
from vns_sam.inference.predictor import Predictor
from vns_sam.sam.averaging import average_checkpoints

WIDTH = 0.125


@pytest.mark.parametrize("prefix", ["", "module."])
@torch.no_grad()
def test_five_channels(prefix: str) -> None:
    net = fill(IsNet(5, WIDTH), "five")
    found = load_isnet({prefix + key: value for key, value in net.state_dict().items()}, "x.pth")
    x = torch.rand(1, 5, 40, 30)
    torch.testing.assert_close(found(x)[0][0], net(x)[0][0])
    assert not found.training


@torch.no_grad()
def test_three_channels_are_inflated_on_request() -> None:
    net = fill(IsNet(3, WIDTH), "three")
    x = torch.rand(1, 5, 40, 30)
    assert load_isnet(net.state_dict(), "isnet.pth").conv_in.in_channels == 3
    inflated = load_isnet(net.state_dict(), "isnet.pth", inflate=True)
    assert inflated.conv_in.in_channels == 5
    torch.testing.assert_close(inflated(x)[0][0], net(x[:, :3])[0][0])
    assert inflated.conv_in.weight.requires_grad


def test_the_authors_sizes_are_recognised() -> None:
    with torch.device("meta"):
        state = IsNet(3).state_dict()
    assert holds_isnet(state)
    assert not holds_isnet({"image_encoder.x": torch.zeros(1)})


def test_what_is_no_isnet() -> None:
    with pytest.raises(CheckpointError, match=r"x\.pth holds no IS-Net \(its first tensor is 'a'\)"):
        load_isnet({"a": torch.zeros(1)}, "x.pth")
    state = IsNet(5, WIDTH).state_dict()
    del state["side3.bias"]
    with pytest.raises(CheckpointError, match=r"lacks 1 of 798 tensors, the first is 'side3\.bias'"):
        load_isnet(state, "x.pth")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A saved DIS-SAM on a saved SAM."""
    narrow_sam().save_pretrained(tmp_path / "sam")
    values = {"base": str(tmp_path / "sam"), "name": "dis-narrow", "width": WIDTH, "image_size": 64}
    model = DisSamModel(DisSamConfig.make(**values), narrow_sam())
    model.save_pretrained(tmp_path / "dis")
    return tmp_path


def test_load_model_finds_both_stages(folder: Path) -> None:
    model = load_network(folder / "dis")
    assert isinstance(model, DisSamModel)
    assert (model.name, model.first.name, model.training) == ("dis-narrow", "narrow", False)
    predictor = Predictor(model)
    predictor.set_image((torch.rand(48, 64, 3) * 255).byte().numpy())
    prediction = predictor.predict(boxes=[[4, 4, 40, 40], [8, 8, 30, 44]])
    assert prediction.alpha is not None
    assert prediction.alpha.shape == prediction.masks.shape == (2, 48, 64)
    assert ((prediction.alpha > 0.5) == prediction.masks).all()


def test_a_first_stage_that_is_gone(folder: Path) -> None:
    (folder / "sam").rename(folder / "moved")
    with pytest.raises(CheckpointError, match="no model "):
        load_network(folder / "dis")


def test_refine_with(folder: Path) -> None:
    sam = load_network(folder / "sam")
    refined = refine_with(sam, folder / "dis")
    assert (refined.name, refined.first) == ("narrow+dis-narrow", sam)
    with pytest.raises(UsageError, match="refines its masks itself"):
        refine_with(refined, folder / "dis")
    with pytest.raises(CheckpointError, match="expected 'dis-sam'"):
        refine_with(sam, folder / "sam")
    with pytest.raises(UsageError, match="expected a DIS-SAM"):
        refine_with(sam, "vit_b")
    torch.save(IsNet(3, WIDTH).state_dict(), folder / "isnet.pth")
    assert refine_with(sam, folder / "isnet.pth").name == "narrow+isnet"


def test_a_first_stage_called_as_another_model_is_found_again_by_its_place(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that is shown is no address: a changed "sam-tiny" in a folder is not the bundled one."""
    changed = load_network("sam-tiny")
    next(changed.parameters()).data.mul_(1.01)
    changed.save_pretrained(folder / "mine")
    monkeypatch.chdir(folder)
    both = load_network("mine+dis")
    assert isinstance(both, DisSamModel)
    both.save_pretrained("both")
    assert json.loads(Path("both/config.json").read_text())["base"] == str(folder / "mine")
    again = load_network("both")
    assert isinstance(again, DisSamModel)
    assert again.first.info.digest == changed.info.digest != load_network("sam-tiny").info.digest
    both.with_first(load_network("sam-tiny")).save_pretrained("bundled")
    assert json.loads(Path("bundled/config.json").read_text())["base"] == "sam-tiny"
    refined = refine_with(load_model("sam-tiny"), folder / "dis")  # graphs know where they were loaded from
    assert isinstance(refined, DisSamModel)
    refined.save_pretrained("graphs")
    assert json.loads(Path("graphs/config.json").read_text())["base"] == "sam-tiny"
    average_checkpoints(["both", "bundled"], "mean")
    assert json.loads(Path("mean/config.json").read_text())["base"] == "sam-tiny"
    for nowhere in (changed, narrow_sam(), load_model("sam-tiny")):
        with pytest.raises(UsageError, match="expected a first stage that can be named"):
            both.with_first(nowhere).save_pretrained("lost")
    assert not Path("lost").exists()


def test_a_plus_names_what_refines(folder: Path) -> None:
    model = load_network(f"{folder / 'sam'}+{folder / 'dis'}")
    assert isinstance(model, DisSamModel)
    assert model.name == refine_with(load_network(folder / "sam"), folder / "dis").name
    assert model.config.base == str(folder / "sam")
    with pytest.raises(UsageError, match="unknown model 'sam-tyny'"):
        load_network(f"sam-tyny+{folder / 'dis'}")
    with pytest.raises(UsageError, match="unknown model 'dis-sam-tyny'"):
        load_network(f"{folder / 'sam'}+dis-sam-tyny")
    with pytest.raises(UsageError, match="unknown model"):
        load_network("+")
