"""The digest of a model changes with everything that its answers depend on, in whichever of its parts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from workshop import narrow_sam

from vns_sam.dis.config import DisSamConfig
from vns_sam.dis.model import DisSamModel
from vns_sam.sam.checkpoints import model_digest
from vns_sam.vns.config import VnsSamConfig
from vns_sam.vns.model import VnsSamModel


def test_digest_of_two_stages() -> None:
    sam = narrow_sam()
    first = VnsSamModel.from_sam(sam, VnsSamConfig.for_sam(sam.config, inner_channels=8, head_channels=8))
    model = DisSamModel(DisSamConfig(base="sam", width=1 / 16), first)
    seen = {model_digest(model)}
    assert model_digest(model) in seen

    first.decoder.config = replace(first.decoder.config, mask_threshold=0.5)
    seen.add(model_digest(model))
    model.config = replace(model.config, cut="otsu")
    seen.add(model_digest(model))
    with torch.no_grad():
        next(model.network.parameters()).add_(1)
    seen.add(model_digest(model))
    assert len(seen) == 4


def test_weights_are_as_readable_as_any_new_file(tmp_path: Path) -> None:
    narrow_sam().save_pretrained(tmp_path / "model")
    (tmp_path / "new").touch()
    modes = {path.stat().st_mode for path in [*(tmp_path / "model").iterdir(), tmp_path / "new"]}
    assert len(modes) == 1
    assert {path.name for path in (tmp_path / "model").iterdir()} == {"config.json", "model.safetensors"}


@pytest.mark.parametrize(
    ("told", "removed"),
    [
        ({"kind": "promptable"}, {"onnx.json", "encoder.onnx", "encoder.onnx.data", "decoder.onnx"}),
        ({"kind": "refiner"}, {"onnx.json", "refiner.onnx"}),
        ({"kind": "somebody else's"}, set()),
        ({"kind": ["promptable"]}, set()),
        ([], set()),
        (None, set()),
    ],
)
def test_new_weights_remove_the_graphs_of_older_ones_and_nothing_else(
    tmp_path: Path, told: object, removed: set[str]
) -> None:
    there = {"encoder.onnx", "encoder.onnx.data", "decoder.onnx", "refiner.onnx", "mine.onnx", "README.md"}
    for name in there:
        (tmp_path / name).touch()
    if told is not None:
        (tmp_path / "onnx.json").write_text(json.dumps(told))
        there |= {"onnx.json"}
    narrow_sam().save_pretrained(tmp_path)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == (there - removed) | {"config.json", "model.safetensors"}
