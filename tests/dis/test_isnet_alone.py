"""IS-Net without a first stage: its file is a model that takes no prompt, and a row of its own beside those that do."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from recipe_weights import fill
from workshop import narrow_sam, write_disks

from vns_sam.cli.main import main
from vns_sam.dis.alone import IsNetModel
from vns_sam.dis.channels import colour_channels
from vns_sam.dis.config import IsNetConfig
from vns_sam.dis.isnet import IsNet
from vns_sam.dis.mattes import stretch, to_picture
from vns_sam.dis.model import DisSamModel
from vns_sam.errors import PromptError
from vns_sam.images.read import read_image
from vns_sam.inference.load import load_network, refine_with, takes_prompts
from vns_sam.types import Prompts

WIDTH = 0.125


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "isnet.pth"
    torch.save(fill(IsNet(3, WIDTH), "three").state_dict(), path)
    return path


@torch.no_grad()
def test_its_file_answers_as_the_network_does(file: Path) -> None:
    model = load_network(file)
    assert isinstance(model, IsNetModel)
    assert (model.name, model.config.width, model.config.image_size) == ("isnet", WIDTH, 1024)
    assert (model.info.prompts, model.info.alpha, model.info.look_again) == (frozenset(), True, "never")
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    answers = model.decode(model.encode([image, image[:40]]))
    channels = colour_channels(image, 1024)[None]
    expected = stretch(to_picture(model.network(channels)[0][0], 48, 64))
    np.testing.assert_allclose(answers.alpha(0), expected, atol=1e-4)
    assert answers.alpha(1).shape == (40, 64)
    np.testing.assert_array_equal(answers.logits(0) > 0, answers.alpha(0) > 0.5)
    with pytest.raises(PromptError, match="'isnet' takes no prompt"):
        model.decode(model.encode([image]), [Prompts(boxes=np.array([[0, 0, 9, 9]], np.float32))], [0])


@torch.no_grad()
def test_a_folder_of_it_is_the_same(file: Path, tmp_path: Path) -> None:
    model = load_network(file)
    model.save_pretrained(tmp_path / "saved")
    again = load_network(tmp_path / "saved")
    assert again.info.digest == model.info.digest
    assert [takes_prompts(name) for name in (file, tmp_path / "saved")] == [False, False]
    five = fill(IsNet(5, WIDTH), "five").eval()
    alone = IsNetModel.of_five(five, IsNetConfig(width=WIDTH, image_size=64))
    x = torch.rand(1, 5, 64, 64)
    x[:, 3:] = 0
    torch.testing.assert_close(alone.network.mask_logits(x[:, :3]), five.mask_logits(x))


def test_after_another_model_it_follows_the_box(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "vns_sam"):
        model = refine_with(narrow_sam(), file)
    assert isinstance(model, DisSamModel)
    assert model.config.margin == 0.15
    assert "isnet.pth knows neither mask nor box: it is shown the object with 15 % around it" in caplog.text
    five = file.with_name("dis.pth")
    torch.save(IsNet(5, WIDTH).state_dict(), five)
    caplog.clear()
    whole = refine_with(narrow_sam(), five)
    assert isinstance(whole, DisSamModel)
    assert whole.config.margin is None
    assert caplog.text == ""
    assert takes_prompts(five)


def test_a_row_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_disks(tmp_path / "disks", 2)
    IsNetModel(IsNetConfig("alone", WIDTH, 64)).save_pretrained(tmp_path / "isnet")
    narrow_sam().save_pretrained(tmp_path / "sam")
    line = ["evaluate", "--json", str(tmp_path / "isnet"), "--data", str(folder), "--metrics", "mae", "s"]
    assert main([*line]) == 0
    assert main([*line[:3], str(tmp_path / "sam"), *line[3:], "--prompt", "box"]) == 0
    lines = [json.loads(text) for text in capsys.readouterr().out.splitlines()]
    alone, beside, sam = [each for each in lines if "prompt" in each]
    assert (alone["prompt"], beside["prompt"], sam["prompt"]) == ("image", "box", "box")
    assert (alone["mae"], alone["s"]) == pytest.approx((beside["mae"], beside["s"]))
    assert sam["mae"] != alone["mae"]


@pytest.mark.parametrize("folder", [False, True])
def test_alpha_is_written(tmp_path: Path, folder: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    disks = write_disks(tmp_path / "disks", 2)
    IsNetModel(IsNetConfig("alone", WIDTH, 64)).save_pretrained(tmp_path / "isnet")
    monkeypatch.chdir(tmp_path)
    source = disks / "images" if folder else disks / "images" / "000.png"
    assert main(["--quiet", "segment", str(source), "--model", str(tmp_path / "isnet"), "--alpha", "--out", "out"]) == 0
    model = load_network(tmp_path / "isnet")
    alpha = model.decode(model.encode([read_image(disks / "images" / "000.png")])).alpha(0)
    assert alpha is not None
    with Image.open("out/000_alpha.png") as found:
        np.testing.assert_array_equal(np.asarray(found), (alpha * 255).round().astype(np.uint8))
