"""VNS-SAM, HQ-SAM and the adapter on every foundation: three steps of training, saved, loaded, evaluated."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from foundation_models import narrow_foundation
from safetensors.torch import load_file

from vns_sam.cli.main import main
from vns_sam.hq.model import HqSamModel
from vns_sam.inference.load import load_network
from vns_sam.training.fields import find_recipe
from vns_sam.training.recipe import load_recipe, recipe_fields
from vns_sam.types import PromptBatch, Prompts
from vns_sam.vns.config import VnsSamConfig
from vns_sam.vns.model import VnsSamModel

FOUNDATIONS = ["vit", "sam2", "sam3", "mobile-sam"]
PROMPTS = [
    Prompts(boxes=np.array([[4.0, 4, 30, 30], [10, 6, 60, 38]])),
    Prompts(points=np.array([[[20.0, 20], [5, 5]], [[8, 9], [0, 0]]]), labels=np.array([[1, 0], [1, -1]])),
]
IMAGES = [np.random.default_rng(i).integers(0, 255, (40 + 8 * i, 64, 3), dtype=np.uint8) for i in range(2)]


def written(name: str, workshop: Path) -> Path:
    folder = workshop / name
    if not folder.exists():
        narrow_foundation(name).save_pretrained(folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("task", ["vns-sam", "hq-sam"])
@pytest.mark.parametrize("name", FOUNDATIONS)
def test_three_steps_on_each(name: str, task: str, workshop: Path, recipe_file: Path, tmp_path: Path) -> None:
    base = written(name, workshop)
    side = json.loads((base / "config.json").read_text())["image_size"]
    values = yaml.safe_load(recipe_file.read_text())
    values |= {"task": task, "steps": 3, "init": str(base), "data": {**values["data"], "sizes": [side]}}
    if task == "vns-sam":
        values["vns"] = {"inner_channels": 8, "head_channels": 8, "adapter": True}
    recipe_file.write_text(yaml.safe_dump(values))
    assert main(["train", str(recipe_file)]) == 0
    folder = tmp_path / "run" / "model"
    model = load_network(folder)
    assert isinstance(model, VnsSamModel | HqSamModel)
    frozen, trained = load_file(base / "model.safetensors"), load_file(folder / "model.safetensors")
    assert all(torch.equal(value, frozen[key]) for key, value in model.sam.state_dict().items())
    assert not any(key.startswith(("sam.", "image_encoder.")) for key in trained)
    assert any(key.startswith("adapter.") for key in trained) == (task == "vns-sam")
    data = ["--data", str(workshop / "data" / "disks"), "--prompt", "box", "--limit", "2", "--workers", "0"]
    assert main(["evaluate", str(base), str(folder), *data, "--quiet", "--out", str(tmp_path / "eval")]) == 0


@pytest.mark.parametrize("name", FOUNDATIONS)
def test_a_step_reaches_what_is_trained_and_nothing_else(name: str, tmp_path: Path) -> None:
    sam = narrow_foundation(name)
    config = VnsSamConfig.for_sam(sam.config, inner_channels=8, head_channels=8, adapter=True)
    before = {key: value.clone() for key, value in sam.state_dict().items()}
    model = VnsSamModel.from_sam(sam, config).train()
    optimiser = torch.optim.Adam(model.trainable_parameters(), 1e-2)
    side, rng = model.preprocessing.image_size, torch.Generator().manual_seed(0)
    batch = PromptBatch(torch.tensor([0, 1]), boxes=torch.tensor([[8.0, 8, 40, 50], [4, 20, 60, 60]]))
    for _ in range(2):  # an adapter starts as a no-op: what is before its last layer moves from the second step on
        maps = model.decode_levels(model.encode_pixels(torch.randn(2, 3, side, side, generator=rng)), batch)
        loss = sum((level.square().mean() for level in vars(maps).values() if level is not None), torch.zeros(()))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert model.adapter is not None
    assert all(value.grad is not None for value in model.adapter.parameters())
    assert all(torch.equal(value, before[key]) for key, value in model.sam.state_dict().items())
    model.eval().save_pretrained(tmp_path)
    back = VnsSamModel.from_pretrained(tmp_path, narrow_foundation(name))
    first, second = (one.decode(one.encode(IMAGES), PROMPTS, [0, 1]) for one in (model, back))
    assert len(first.scores) == 4
    for mine, other in ((first.scores, second.scores), (first.logits(3), second.logits(3))):
        np.testing.assert_allclose(np.asarray(mine), np.asarray(other), atol=1e-6)  # another place in memory


@pytest.mark.parametrize("name", FOUNDATIONS)
@torch.no_grad()
def test_new_tokens_stand_between_sams_own_and_the_prompt(name: str) -> None:
    """IoU and mask tokens are where SAM's are, after the object's in a SAM 2; both read-outs of the VNS tokens fit."""
    sam = narrow_foundation(name)
    first = 1 if name.startswith("sam") else 0
    for variant, place in (("official", first + 4), ("paper", first + 5)):
        config = VnsSamConfig.for_sam(sam.config, variant=variant, inner_channels=8, head_channels=8)
        decoder = VnsSamModel.from_sam(narrow_foundation(name), config).decoder
        assert (decoder.mask_index, decoder.edge_index) == (place, place + 1)
        tokens = decoder._own_tokens(torch.zeros(1, 2, config.mask_decoder.hidden_size))
        assert tokens.shape[1] == first + 1 + 4 + 2 + 2
        assert torch.equal(tokens[0, first], sam.mask_decoder.iou_token.weight[0])
        assert torch.equal(tokens[0, first + 5], decoder.tokens.weight[0])


@pytest.mark.parametrize(("recipe", "foundation"), [("vns_sam_sam2_b", "sam2.1-b+"), ("vns_sam_sam2_l", "sam2.1-l")])
def test_recipes_on_sam2_differ_from_the_papers_by_the_foundation_alone(recipe: str, foundation: str) -> None:
    mine, papers = (recipe_fields(load_recipe(find_recipe(name))) for name in (recipe, "vns_sam_vit_l"))
    different = {key for key in papers if mine[key] != papers[key]}
    assert different == {"out", "init", "vns"}
    assert mine["init"] == foundation
    assert papers["vns"].pop("mask_prompt") == "grey"
    assert mine["vns"] == {**papers["vns"], "name": mine["vns"]["name"]}
    assert (mine["steps"], mine["batch_size"] * mine["accumulate"], mine["optim"]["lr"]) == (17424, 16, 1e-3)
