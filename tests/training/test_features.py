"""Features of a frozen encoder that are kept from epoch to epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from vns_sam.errors import UsageError
from vns_sam.sam.frozen import FrozenSamNetwork
from vns_sam.training.loop import train
from vns_sam.training.recipe import parse_recipe
from vns_sam.training.tasks import build_task
from vns_sam.training.tasks.frozen import HqRecipe, VnsRecipe

STILL = {"views": "whole", "mix": {"composite": 0}}
NARROW = {"vns-sam": {"vns": {"inner_channels": 8, "head_channels": 8}}, "hq-sam": {}}


def recipe(file: Path, task: str, data: dict[str, Any], **fields: Any) -> VnsRecipe | HqRecipe:
    values = yaml.safe_load(file.read_text())
    values["data"] = {**values["data"], **data}
    changed = parse_recipe({**values, "task": task, "steps": 4, **NARROW[task], **fields}, "test")
    assert isinstance(changed, VnsRecipe | HqRecipe)
    return changed


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many views were encoded in training, call by call."""
    calls: list[int] = []
    encode = FrozenSamNetwork.encode_frozen

    def count(model: FrozenSamNetwork, pixels: torch.Tensor) -> Any:
        if model.training:
            calls.append(len(pixels))
        return encode(model, pixels)

    monkeypatch.setattr(FrozenSamNetwork, "encode_frozen", count)
    return calls


@pytest.mark.parametrize("task", ["vns-sam", "hq-sam"])
def test_a_run_with_kept_features_has_the_weights_of_one_without(
    task: str, recipe_file: Path, tmp_path: Path, encoded: list[int]
) -> None:
    def weights(name: str, **fields: Any) -> bytes:
        encoded.clear()
        train(recipe(recipe_file, task, STILL, out=str(tmp_path / name), **fields))
        return (tmp_path / name / "model" / "model.safetensors").read_bytes()

    folder = tmp_path / "features"
    expected, often = weights("without"), sum(encoded)
    assert weights("with", features=str(folder)) == expected
    files = [*folder.rglob("*.safetensors")]
    assert 0 < sum(encoded) == len(files) < often
    files[0].write_bytes(b"damaged")
    assert weights("again", features=str(folder)) == expected
    assert sum(encoded) == 1


@pytest.mark.parametrize("data", [{}, {"views": "whole"}, {"mix": {"composite": 0}}])
def test_views_that_change_are_refused(data: dict[str, Any], recipe_file: Path) -> None:
    with pytest.raises(UsageError, match="views that stay the same"):
        recipe(recipe_file, "vns-sam", data, features="kept")


def test_an_encoder_that_learns_is_refused(recipe_file: Path, tmp_path: Path) -> None:
    adapted = {"vns": {**NARROW["vns-sam"]["vns"], "adapter": True}, "features": str(tmp_path)}
    with pytest.raises(UsageError, match="adapter learns"):
        build_task(recipe(recipe_file, "vns-sam", STILL, **adapted))
    build_task(recipe(recipe_file, "vns-sam", STILL, **adapted, adapter_rate=0))
