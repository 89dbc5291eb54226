"""What the two tasks train, and what they leave for users."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from vns_sam.errors import UsageError
from vns_sam.inference.load import load_model
from vns_sam.training.loop import train
from vns_sam.training.recipe import Recipe, load_recipe
from vns_sam.training.state import load_state
from vns_sam.training.tasks import build_task
from vns_sam.vns.model import VnsSamModel


@pytest.fixture
def vns_recipe(recipe_file: Path) -> Recipe:
    values = yaml.safe_load(recipe_file.read_text())
    values |= {"task": "vns-sam", "steps": 2, "vns": {"name": "vns-narrow", "inner_channels": 8, "head_channels": 8}}
    recipe_file.write_text(yaml.safe_dump(values))
    return load_recipe(recipe_file)


def test_vns_sam_trains_its_own_modules_only(vns_recipe: Recipe) -> None:
    train(vns_recipe)
    state = load_state(vns_recipe.out)
    assert state is not None
    assert all(key.startswith("decoder.") and not key.startswith("decoder.sam.") for key in state["model"])
    model = load_model(vns_recipe.out / "model")
    assert isinstance(model, VnsSamModel)
    assert (model.name, model.config.base) == ("vns-narrow", vns_recipe.init)
    init = load_file(Path(str(vns_recipe.init)) / "model.safetensors")
    assert all(torch.equal(value, init[key]) for key, value in model.sam.state_dict().items())


def test_the_sam_task_keeps_the_first_stages_and_the_batch_norms(recipe_file: Path) -> None:
    recipe = load_recipe(recipe_file)
    train(recipe)
    before = load_file(Path(str(recipe.init)) / "model.safetensors")
    after = load_model(recipe.out / "model").state_dict()
    moved = {key for key, value in after.items() if not torch.allclose(before[key], value, atol=2e-3)}
    assert not [key for key in moved if key.startswith(("image_encoder.stem", "image_encoder.stages.0"))]
    assert not [key for key in moved if "running" in key]
    assert [key for key in moved if key.startswith("mask_decoder")]


def test_the_sam_task_takes_a_tiny_sam_only(vns_recipe: Recipe, tmp_path: Path) -> None:
    from vns_sam.sam.model import SamModel
    from vns_sam.sam.vit import vit_config

    SamModel(vit_config("vit_test", image_size=64)).save_pretrained(tmp_path / "vit")
    with pytest.raises(UsageError, match="trains a tiny SAM"):
        build_task(replace(vns_recipe, task="sam", init=str(tmp_path / "vit")))
