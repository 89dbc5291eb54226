"""What the tasks train, and what they leave for users."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from toy import toy_sam
from workshop import changed

from vns_sam.errors import CheckpointError, UsageError
from vns_sam.hq.model import HqSamModel
from vns_sam.inference.load import load_network
from vns_sam.sam.config import MaskDecoderConfig
from vns_sam.sam.model import SamModel
from vns_sam.training.loop import train
from vns_sam.training.recipe import load_recipe
from vns_sam.training.samples.prompted import collate
from vns_sam.training.state import load_state
from vns_sam.training.tasks import base, build_task
from vns_sam.training.tasks.base import add_correction
from vns_sam.training.tasks.frozen import VnsRecipe
from vns_sam.training.tasks.tune import Tune, tuned_parts
from vns_sam.types import PromptBatch, Prompts
from vns_sam.vns.model import VnsSamModel


@pytest.fixture
def vns_recipe(recipe_file: Path) -> VnsRecipe:
    values = yaml.safe_load(recipe_file.read_text())
    values |= {"task": "vns-sam", "steps": 2, "vns": {"name": "vns-narrow", "inner_channels": 8, "head_channels": 8}}
    recipe_file.write_text(yaml.safe_dump(values))
    recipe = load_recipe(recipe_file)
    assert isinstance(recipe, VnsRecipe)
    return recipe


def test_vns_sam_trains_its_own_modules_only(vns_recipe: VnsRecipe) -> None:
    train(vns_recipe)
    state = load_state(vns_recipe.out)
    assert state is not None
    assert all(key.startswith("decoder.") and not key.startswith("decoder.sam.") for key in state["model"])
    model = load_network(vns_recipe.out / "model")
    assert isinstance(model, VnsSamModel)
    assert (model.name, model.config.base) == ("vns-narrow", vns_recipe.init)
    init = load_file(Path(str(vns_recipe.init)) / "model.safetensors")
    assert all(torch.equal(value, init[key]) for key, value in model.sam.state_dict().items())


def test_vns_sam_learns_to_judge_masks_that_stay(vns_recipe: VnsRecipe) -> None:
    with pytest.raises(UsageError, match="head that judges"):
        build_task(changed(vns_recipe, tune="scores"))
    train(vns_recipe)
    trained = vns_recipe.out / "model"
    recipe = changed(
        vns_recipe, tune="scores", init=str(trained), vns={"own_scores": True}, out=vns_recipe.out.parent / "judge"
    )
    train(recipe)
    before, after = (load_file(folder / "model.safetensors") for folder in (trained, recipe.out / "model"))
    assert all(torch.equal(value, after[key]) for key, value in before.items())
    new = after.keys() - before.keys()
    assert new
    assert all(key.startswith("mask_scores.") for key in new)
    again = build_task(changed(vns_recipe, init=str(recipe.out / "model")))  # from then on all of it learns together
    assert again.model.decoder.mask_scores.out.weight.requires_grad


@pytest.mark.parametrize("tune", ["all", "scores"])
def test_a_stopped_run_draws_what_it_would_have_drawn(vns_recipe: VnsRecipe, tmp_path: Path, tune: str) -> None:
    recipe = changed(vns_recipe, vns={**vns_recipe.vns, "own_scores": True}, tune=tune, steps=4, accumulate=2)

    class Stop(Exception):
        pass

    def stop(done: int, total: int, values: dict[str, float]) -> None:
        torch.rand(done)  # what others draw plays no part
        if done == 2:
            raise Stop

    with pytest.raises(Stop):
        train(recipe, stop)
    train(recipe)
    straight = changed(recipe, out=tmp_path / "straight")
    train(straight)
    resumed, expected = (load_file(each.out / "model" / "model.safetensors") for each in (recipe, straight))
    assert any(name.startswith("mask_scores.") for name in expected)
    assert all(torch.equal(resumed[name], value) for name, value in expected.items())


def test_fields_without_effect_are_refused(vns_recipe: VnsRecipe) -> None:
    for name, value in {"adapter_share": 0.5, "adapter_rate": 0.5, "adapter_after": 1, "bce": "mean"}.items():
        with pytest.raises(
            UsageError, match=f"{name}: without effect, tune: scores trains what judges the masks alone"
        ):
            changed(vns_recipe, tune="scores", vns={"own_scores": True}, **{name: value})
    assert changed(vns_recipe, adapter_share=0.5, adapter_after=1, bce="mean").adapter_share == 0.5


def test_hq_sam_trains_its_own_modules_only(vns_recipe: VnsRecipe) -> None:
    recipe = changed(vns_recipe, task="hq-sam", hq={"name": "hq-mine"})
    train(recipe)
    state = load_state(recipe.out)
    assert state is not None
    assert all(key.startswith("decoder.") and not key.startswith("decoder.sam.") for key in state["model"])
    model = load_network(recipe.out / "model")
    assert isinstance(model, HqSamModel)
    assert (model.name, model.config.base) == ("hq-mine", recipe.init)
    init = load_file(Path(str(recipe.init)) / "model.safetensors")
    assert all(torch.equal(value, init[key]) for key, value in model.sam.state_dict().items())


@pytest.mark.parametrize(
    ("tune", "moving"),
    [
        ("token", ("mask_decoder.output_hypernetworks_mlps.0.",)),
        ("decoder", ("mask_decoder.",)),
        ("all", ("mask_decoder.", "image_encoder.")),
    ],
)
def test_sam_tune_moves_what_it_names_and_saves_a_plain_sam(
    vns_recipe: VnsRecipe, tune: Tune, moving: tuple[str, ...]
) -> None:
    recipe = changed(vns_recipe, task="sam-tune", tune=tune)
    train(recipe)
    before = load_file(Path(str(recipe.init)) / "model.safetensors")
    state = load_state(recipe.out)
    assert state is not None
    moved = {key for key, value in state["model"].items() if not torch.equal(before[key], value)}
    assert {prefix for prefix in moving if any(key.startswith(prefix) for key in moved)} == set(moving)
    assert all(key.startswith(moving) for key in moved)
    assert not [key for key in state["model"] if "iou_prediction_head" in key or "running" in key]
    model = load_network(recipe.out / "model")
    assert isinstance(model, SamModel)
    assert model.name == f"narrow-ft-{tune}"
    expected = {**before, **state["model"]}
    assert all(torch.equal(value, expected[key].half().float()) for key, value in model.state_dict().items())


@pytest.mark.parametrize(("task", "kind"), [("hq-sam", HqSamModel), ("sam-tune", SamModel)])
def test_a_vit_is_trained_too(vns_recipe: VnsRecipe, task: str, kind: type, tmp_path: Path) -> None:
    SamModel(toy_sam(64)).save_pretrained(tmp_path / "vit")
    recipe = changed(vns_recipe, task=task, tune="all", init=str(tmp_path / "vit"), steps=1, accumulate=1)
    train(recipe)
    assert isinstance(load_network(recipe.out / "model"), kind)


def test_sam_tune_has_the_papers_parameters() -> None:
    with torch.device("meta"):
        model = SamModel(replace(toy_sam(64), mask_decoder=MaskDecoderConfig()))
    head = sum(p.numel() for p in model.mask_decoder.iou_prediction_head.parameters())
    sizes = {
        tune: sum(p.numel() for part in tuned_parts(model, tune) for p in part.parameters())
        for tune in ("token", "decoder")
    }
    assert sizes == {"token": 559_232, "decoder": 3_925_728 + head}
    assert head == 132_612


@pytest.mark.parametrize(("task", "adapter"), [("vns-sam", False), ("vns-sam", True), ("hq-sam", False)])
def test_a_trained_model_is_continued(vns_recipe: VnsRecipe, task: str, adapter: bool, tmp_path: Path) -> None:
    first = changed(vns_recipe, task=task, vns={**vns_recipe.vns, "adapter": adapter})
    train(first)
    trained = first.out / "model"
    still = replace(first.optim, lr=1e-30)
    recipe = replace(changed(first, init=str(trained), vns={}), out=tmp_path / "more", optim=still)
    begun, given = build_task(recipe).model.eval(), load_network(trained)
    image = [(torch.rand(48, 64, 3) * 255).byte().numpy()]
    prompts = [Prompts(boxes=np.array([[8.0, 8, 40, 40]]))]
    found = begun.decode(begun.encode(image), prompts, [0]).mask_logits
    expected = given.decode(given.encode(image), prompts, [0]).mask_logits
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    train(recipe)
    assert any(key.startswith("adapter.") for key in build_task(recipe).trained_state()) == adapter
    before, after = load_file(trained / "model.safetensors"), load_file(recipe.out / "model" / "model.safetensors")
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    assert all(torch.equal(after[key], before[key]) for key in before if not key.endswith(statistics))
    assert load_network(recipe.out / "model").name == given.name


def test_a_continued_model_may_get_another_name_but_no_other_shape(vns_recipe: VnsRecipe, tmp_path: Path) -> None:
    train(vns_recipe)
    again = changed(vns_recipe, init=str(vns_recipe.out / "model"), vns={"name": "mine", "sum_with_sam": True})
    config = build_task(again).model.config
    assert (config.name, config.sum_with_sam, config.base) == ("mine", True, vns_recipe.init)
    with pytest.raises(CheckpointError, match="must have shape"):
        build_task(replace(again, vns={"inner_channels": 16}))


def test_a_continued_model_may_get_an_adapter_that_changes_nothing_yet(vns_recipe: VnsRecipe, tmp_path: Path) -> None:
    train(vns_recipe)
    trained = vns_recipe.out / "model"
    task = build_task(changed(vns_recipe, init=str(trained), vns={"adapter": True}, out=tmp_path / "more"))
    assert any(key.startswith("adapter.") for key in task.trained_state())
    pixels = torch.randn(1, 3, 64, 64)
    begun, given = task.model.eval().encode_pixels(pixels), load_network(trained).encode_pixels(pixels)
    assert torch.equal(begun.embedding, given.embedding)


@pytest.mark.parametrize(("rate", "moves"), [(0, False), (0.5, True), (1, True)])
def test_an_adapter_keeps_a_share_of_its_effect_and_learns_at_its_own_rate(
    vns_recipe: VnsRecipe, tmp_path: Path, rate: float, moves: bool
) -> None:
    first = changed(vns_recipe, vns={**vns_recipe.vns, "adapter": True})
    train(first)
    trained = first.out / "model"
    recipe = changed(first, init=str(trained), vns={}, adapter_share=0.25, adapter_rate=rate, out=tmp_path / "more")
    given, task = load_network(trained).eval(), build_task(recipe)
    assert isinstance(given, VnsSamModel)
    assert {group["peak"] for group in task.groups(recipe)} == {recipe.optim.lr, (rate or 1) * recipe.optim.lr}
    given_adapter, weakened = given.adapter.state_dict(), task.model.adapter.state_dict()
    for name, value in given_adapter.items():
        assert torch.equal(weakened[name], value / 4 if name.startswith("up.") else value)
    before = {name: value.clone() for name, value in task.model.adapter.state_dict().items()}
    train(recipe)
    after = load_file(recipe.out / "model" / "model.safetensors")
    same = [torch.equal(value.half(), after[f"adapter.{name}"].half()) for name, value in before.items()]
    assert all(same) is not moves


@pytest.mark.parametrize(("after", "moves"), [(0, True), (1, True), (2, False)])
def test_an_adapter_waits_for_its_step(vns_recipe: VnsRecipe, after: int, moves: bool) -> None:
    recipe = changed(vns_recipe, vns={**vns_recipe.vns, "adapter": True}, adapter_after=after, steps=2)
    train(recipe)
    trained = load_file(recipe.out / "model" / "model.safetensors")
    assert any(value.any() for name, value in trained.items() if name.startswith("adapter.up.")) is moves


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"adapter_after": 3}, UsageError, "adapter_after is told, and there is no adapter"),
        (
            {"adapter_share": 0.5, "adapter_rate": 0},
            UsageError,
            "adapter_share, adapter_rate are told, and there is no",
        ),
        ({"init": "vns-sam-tyny"}, UsageError, "unknown model 'vns-sam-tyny'"),
        ({"task": "hq-sam", "init": "vns-sam-tiny"}, UsageError, "expected a SAM or a trained HqSamModel"),
        ({"task": "sam-tune", "init": "vns-sam-tiny"}, UsageError, "trains a plain SAM"),
        ({"task": "hq-sam", "hq": {"nam": "x"}}, UsageError, "no field 'nam'"),
        ({"init": "./nowhere"}, CheckpointError, "no model at ./nowhere"),
    ],
)
def test_what_a_task_cannot_start_from(
    vns_recipe: VnsRecipe, change: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        build_task(changed(vns_recipe, **change))


def test_the_sam_task_keeps_the_first_stages_and_the_batch_norms(recipe_file: Path) -> None:
    recipe = load_recipe(recipe_file)
    train(recipe)
    before = load_file(Path(str(recipe.init)) / "model.safetensors")
    after = load_network(recipe.out / "model").state_dict()
    moved = {key for key, value in after.items() if not torch.allclose(before[key], value, atol=2e-3)}
    assert not [key for key in moved if key.startswith(("image_encoder.stem", "image_encoder.stages.0"))]
    assert not [key for key in moved if "running" in key]
    assert [key for key in moved if key.startswith("mask_decoder")]


def test_the_sam_task_takes_a_tiny_sam_only(vns_recipe: VnsRecipe, tmp_path: Path) -> None:
    SamModel(toy_sam(64)).save_pretrained(tmp_path / "vit")
    with pytest.raises(UsageError, match="trains a tiny SAM"):
        build_task(changed(vns_recipe, task="sam", init=str(tmp_path / "vit")))


def test_the_sam_task_goes_on_from_a_name(vns_recipe: VnsRecipe) -> None:
    task = build_task(changed(vns_recipe, task="sam", init="sam-tiny"))
    bundled = load_network("sam-tiny").state_dict()
    assert all(torch.equal(value, bundled[key]) for key, value in task.trained_state().items())


def test_corrections_click_on_what_is_wrong() -> None:
    target = torch.zeros(2, 32, 32, dtype=torch.bool)
    target[:, 8:16, 8:24] = True
    found = target.clone()
    found[0, 8:16, 8:20] = False
    found[1, 20:30, 2:30] = True
    boxes = torch.tensor([[8.0, 8, 23, 15], [8, 8, 23, 15]])
    once = add_correction(PromptBatch(torch.tensor([0, 1]), boxes), found, target)
    assert once.points is not None
    assert once.labels is not None
    assert once.labels.tolist() == [[1], [0]]
    x, y = once.points[:, 0].long().T
    assert (found[[0, 1], y, x] != target[[0, 1], y, x]).all()
    again = add_correction(once, target, target)
    assert again.points is not None
    assert again.labels is not None
    assert again.points.shape == (2, 2, 2)
    assert again.labels[:, 1].tolist() == [1, 1]
    assert torch.equal(again.points[:, :1], once.points)


@pytest.mark.parametrize("task", ["sam", "vns-sam", "hq-sam", "sam-tune"])
def test_training_asks_for_corrections(vns_recipe: VnsRecipe, task: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def counted(prompts: PromptBatch, found: torch.Tensor, target: torch.Tensor) -> PromptBatch:
        asked.append(len(found))
        return add_correction(prompts, found, target)

    monkeypatch.setattr(base, "add_correction", counted)
    data = replace(vns_recipe.data, corrections=1.0)
    train(replace(changed(vns_recipe, task=task, workers=0), data=data))
    assert len(asked) >= 2
    assert set(asked) == {vns_recipe.batch_size}


def test_what_corrections_cast_to_half_is_not_kept(vns_recipe: VnsRecipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some versions of torch take it again for the step itself, whose weights then have no gradient."""
    recipe = replace(vns_recipe, data=replace(vns_recipe.data, corrections=1.0))
    task = build_task(recipe)
    assert isinstance(task.model, VnsSamModel)
    whole, kept = task.model.decode_batch, []

    def told(*asked: Any, **named: Any) -> Any:
        assert torch.is_autocast_enabled("cpu")
        kept.append(torch.is_autocast_cache_enabled())
        return whole(*asked, **named)

    monkeypatch.setattr(task.model, "decode_batch", told)
    batch = collate([task.samples(recipe, length=1, step_size=1)[0]])
    with torch.autocast("cpu", torch.bfloat16):
        sum(task(batch).values(), torch.zeros(())).backward()
    assert set(kept) == {False}
    assert all(value.grad is not None for value in task.model.trainable_parameters())
