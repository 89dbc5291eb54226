"""DIS-SAM's training: one recipe from nothing to a model, resumed, with a cache that knows what is stale."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from workshop import changed, narrow_sam

from vns_sam.data.pairs import Pair
from vns_sam.data.synthesis.scenes import Scene
from vns_sam.dis.isnet import IsNet
from vns_sam.dis.model import DisSamModel
from vns_sam.errors import DataError, UsageError
from vns_sam.inference.load import load_network
from vns_sam.training.chain import train_all
from vns_sam.training.dis_settings import Dis
from vns_sam.training.loop import train
from vns_sam.training.recipe import load_recipe
from vns_sam.training.samples.coarse import CoarseCache, fingerprint
from vns_sam.training.samples.prompted import collate
from vns_sam.training.samples.refinement import all_pairs, flip, held_out
from vns_sam.training.samples.sampler import split_pairs
from vns_sam.training.tasks import build_task
from vns_sam.training.tasks import dis as module
from vns_sam.training.tasks.dis import DisRecipe, make_thin
from vns_sam.training.tracking import read_log


@pytest.fixture
def recipe(recipe_file: Path, workshop: Path) -> DisRecipe:
    values = yaml.safe_load(recipe_file.read_text())
    values |= {"task": "dis-sam", "steps": 4, "accumulate": 1, "init": None, "checkpoint_every": 2}
    values["dis"] = {
        "model": {"base": str(workshop / "init"), "width": 0.1, "image_size": 64, "choice": "single"},
        "encoder_steps": 2,
        "views": "object",
        "thin": 3,
    }
    values["data"]["cache_side"] = 64
    recipe_file.write_text(yaml.safe_dump(values))
    return load_recipe(recipe_file)


def test_one_recipe_trains_both_networks(recipe: DisRecipe) -> None:
    scores = train_all(recipe)
    assert set(scores) - {"thin"} == {"disks", "mean"}
    (line,) = [line for line in read_log(recipe.out) if line["step"] == 4 and "loss" in line]
    assert {"mask", "sides", "features", "ortho"} <= set(line)
    (line,) = [line for line in read_log(recipe.out / "gt_encoder") if line["step"] == 2 and "loss" in line]
    assert {"mask", "sides", "ortho"} <= set(line)
    model = load_network(recipe.out / "model")
    assert isinstance(model, DisSamModel)
    assert (model.config.width, model.first.name) == (0.1, "narrow")
    first = load_file(Path(model.config.base) / "model.safetensors")
    assert all(torch.equal(value, first[key]) for key, value in model.first.state_dict().items())
    assert len(list((recipe.out / "cache" / "thin" / "images").iterdir())) == 3
    assert train_all(recipe) == {}  # both runs are done


def test_a_stopped_run_continues_to_the_same_weights(recipe: DisRecipe) -> None:
    shared = replace(recipe.dis, cache=recipe.out.parent / "cache", thin=0)
    recipe = replace(recipe, dis=shared)

    class Stop(Exception):
        pass

    def stop(done: int, total: int, values: dict[str, float]) -> None:
        if (done, total) == (3, 4):
            raise Stop

    with pytest.raises(Stop):
        train_all(recipe, stop)
    train_all(recipe)
    straight = replace(recipe, out=recipe.out.parent / "straight")
    train_all(straight)
    resumed, expected = (load_file(r.out / "model" / "model.safetensors") for r in (recipe, straight))
    assert all(torch.equal(resumed[key], expected[key]) for key in expected)


def test_what_a_model_does_not_see_it_is_not_trained_on(recipe: DisRecipe) -> None:
    train(changed(recipe, task="gt-encoder", out=recipe.out / "encoder", steps=1))
    given = replace(recipe.dis, encoder=recipe.out / "encoder" / "model", thin=0)
    for hidden in ("mask_channel", "box_channel"):
        seen = replace(recipe, dis=replace(given, model={**given.model, hidden: False}))
        task = build_task(seen).eval()
        samples = task.samples(seen, length=2, step_size=2)
        batch = collate([samples[0], samples[1]])
        other = {**batch, "input": batch["input"].clone()}
        other["input"][:, 3 if hidden == "mask_channel" else 4] = 255 - other["input"][:, 3:4].amax()
        first, second = task(batch), task(other)
        assert all(torch.equal(first[name], second[name]) for name in first)
        other["input"][:, 0] += 50
        assert not torch.equal(first["mask"], task(other)["mask"])


def test_the_encoder_is_frozen_and_in_the_presets_mode(recipe: DisRecipe) -> None:
    train(changed(recipe, task="gt-encoder", out=recipe.out / "encoder", steps=1))
    for preset, mode in (("paper", False), ("released", True)):
        dis = replace(recipe.dis, encoder=recipe.out / "encoder" / "model", preset=preset, thin=0)
        task = build_task(replace(recipe, dis=dis))
        assert task.encoder.training is mode
        assert not any(p.requires_grad for p in task.encoder.parameters())
        trained = {id(p) for group in task.groups(recipe) for p in group["params"]}
        assert trained == {id(p) for p in task.model.network.parameters()}


def test_a_model_goes_on_as_a_correction(recipe: DisRecipe, tmp_path: Path) -> None:
    train_all(recipe)
    dis = recipe.dis
    more = replace(dis, model={**dis.model, "residual": True}, encoder=recipe.out / "gt_encoder" / "model")
    second = replace(recipe, out=tmp_path / "second", init=str(recipe.out / "model"), dis=more)
    before, network = load_file(recipe.out / "model" / "model.safetensors"), build_task(second).model.network
    for name, value in network.state_dict().items():
        kept = torch.zeros_like(value) if name.startswith("side") else before[name].to(value.dtype)
        assert torch.equal(value, kept), name
    train_all(second)
    assert load_network(second.out / "model").network.residual
    back = replace(recipe, out=tmp_path / "third", init=str(second.out / "model"), dis=replace(more, model=dis.model))
    with pytest.raises(UsageError, match="expected 'init' to draw masks anew"):
        train_all(back)


def test_the_loss_falls(recipe: DisRecipe) -> None:
    recipe = changed(recipe, task="gt-encoder", steps=25, optim=replace(recipe.optim, lr=3e-3), log_every=5)
    train(replace(recipe, dis=replace(recipe.dis, thin=0)))
    log = [line for line in read_log(recipe.out) if "loss" in line]
    assert log[-1]["mask"] < 0.8 * log[0]["mask"]


def test_a_run_without_an_encoder_says_how(recipe: DisRecipe) -> None:
    with pytest.raises(UsageError, match=r"needs 'dis\.encoder'"):
        train(recipe)


def test_samples_are_a_function_of_their_position(recipe: DisRecipe) -> None:
    dis = replace(recipe.dis, drop=0.0, thin=0)
    task = build_task(changed(recipe, task="gt-encoder", dis=dis))
    samples = task.samples(recipe, length=40, step_size=2)
    one, again = samples[7], samples[7]
    assert all(np.array_equal(one[key], again[key]) for key in one)
    for position in range(12):
        sample = samples[position]
        assert (sample["input"].shape, sample["label"].shape) == ((5, 64, 64), (1, 64, 64))
        assert sample["input"].dtype == sample["label"].dtype == np.uint8
        assert set(np.unique(sample["input"][4])) <= {0, 255}
        covered = sample["label"][0] > 127
        assert covered.any()
        assert (sample["input"][4] > 0)[covered].mean() > 0.9


def test_flips_of_the_presets() -> None:
    values = np.arange(4, dtype=np.uint8).reshape(2, 2, 1)
    rng = np.random.default_rng(0)
    seen = {
        preset: {flip(values, Dis(preset=preset), rng).tobytes() for _ in range(60)} for preset in ("paper", "released")
    }
    ways = [values, values[:, ::-1], values[::-1], values[::-1, ::-1]]
    assert seen["paper"] == {way.tobytes() for way in ways[:2]}
    assert seen["released"] == {way.tobytes() for way in ways}


def test_coarse_masks_are_made_once_and_never_stale(
    workshop: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pairs = split_pairs(workshop / "data", "disks")[0][:3]
    image = np.zeros((32, 32, 3), np.uint8)
    scene = Scene(image, np.stack([cv2.circle(image[..., 0].copy(), (16, 16), 8, 1, -1) > 0] * 2))
    models = [narrow_sam(0), narrow_sam(1)]
    prints = [fingerprint(model, "single") for model in models]
    assert prints[0] != prints[1] != fingerprint(models[1], "first")
    cache = CoarseCache(tmp_path / "c", 32, prints)
    with pytest.raises(DataError, match="no usable coarse mask"):
        cache.read(pairs[0], 0)
    assert cache.fill(models, pairs, lambda pair: scene, "single") == 6
    assert cache.fill(models, pairs, lambda pair: scene, "single") == 0
    assert cache.read(pairs[2], 1).shape == (2, 32, 32)
    changed = tmp_path / "changed.png"
    changed.write_bytes(pairs[0].mask.read_bytes() + b"x")
    moved = [replace(pairs[0], mask=changed), *pairs[1:]]
    with caplog.at_level(logging.INFO):
        assert cache.fill(models, moved, lambda pair: scene, "single") == 2
    assert "4 coarse masks at hand, 2 to make, 2 stale" in caplog.text


def test_processes_share_the_coarse_masks(workshop: Path, tmp_path: Path) -> None:
    pairs = split_pairs(workshop / "data", "disks")[0][:3]
    scene = Scene(np.zeros((32, 32, 3), np.uint8), np.ones((1, 32, 32), bool))
    models = [narrow_sam(0)]
    cache = CoarseCache(tmp_path / "c", 32, [fingerprint(models[0], "single")])
    seen: list[int] = []

    def read(pair: Pair) -> Scene:
        seen.append(pairs.index(pair))
        if len(seen) == 1:  # meanwhile another process makes the one that would come next
            assert cache.fill(models, pairs[2:], read, "single", (2, 3)) == 1
        return scene

    assert cache.fill(models, pairs, read, "single", (1, 3)) == 2
    assert seen == [1, 2, 0]


def test_first_stages_are_asked_where_the_run_trains(
    recipe: DisRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    narrow_sam(1).save_pretrained(tmp_path / "other")
    train(changed(recipe, task="gt-encoder", out=recipe.out / "encoder", steps=1))
    base = recipe.dis.model["base"]
    given = replace(recipe.dis, encoder=recipe.out / "encoder" / "model", stages=(base, str(tmp_path / "other")))
    asked: list[tuple[list[str], tuple[int, int]]] = []

    def fill(cache: CoarseCache, models: list[DisSamModel], *given: object) -> None:
        asked.append(([str(model.device) for model in models], given[-1]))  # type: ignore[arg-type]

    monkeypatch.setattr(CoarseCache, "fill", fill)
    here = SimpleNamespace(device=torch.device("meta"), process_index=1, num_processes=2)
    monkeypatch.setattr(module, "this_process", lambda: here)
    build_task(replace(recipe, dis=given))
    assert asked == [(["meta", "meta"], (1, 2))]


def test_an_is_net_of_another_width_is_refused_before_anything_is_trained(recipe: DisRecipe, tmp_path: Path) -> None:
    torch.save(IsNet(5, 0.25).state_dict(), tmp_path / "isnet.pth")
    with pytest.raises(UsageError, match=r"width 0\.1 as 'init', .*isnet\.pth has 0\.25"):
        train_all(replace(recipe, init=str(tmp_path / "isnet.pth")))
    assert not recipe.out.exists()
    with pytest.raises(UsageError, match="unknown model 'sam-tny'"):
        train_all(replace(recipe, dis=replace(recipe.dis, stages=("sam-tny",))))
    assert not recipe.out.exists()


def test_a_shared_cache_with_more_synthetic_pictures_adds_none(recipe: DisRecipe) -> None:
    more = changed(recipe, task="gt-encoder", dis=replace(recipe.dis, thin=5))
    make_thin(more)
    fewer = changed(recipe, task="gt-encoder", dis=replace(recipe.dis, thin=2))
    samples = build_task(fewer).samples(fewer, length=2, step_size=2)
    stems = {pair.stem for pair in all_pairs(samples, held_out(fewer.data, fewer.dis, make_thin(fewer)))}
    assert {stem for stem in stems if stem.startswith("thin_")} == {"thin_00000", "thin_00001"}


@pytest.mark.parametrize(
    ("fields", "needed"),
    [({}, False), ({"margin": 0.2}, True), ({"guard": True}, True), ({"box_channel": False}, False)],
)
def test_a_model_without_a_mask_channel_is_trained(recipe: DisRecipe, fields: dict[str, object], needed: bool) -> None:
    model = {**recipe.dis.model, "mask_channel": False, **fields}
    recipe = replace(recipe, dis=replace(recipe.dis, model=model, thin=0))
    assert "mean" in train_all(recipe)
    assert any((recipe.out / "cache").glob("coarse/*.npz")) is needed
    again = load_network(recipe.out / "model")
    assert not fields.get("guard") or again.config.guard


def test_a_guard_is_kept_where_the_network_is_told_nothing(recipe: DisRecipe) -> None:
    model = {**recipe.dis.model, "mask_channel": False, "box_channel": False, "guard": True}
    recipe = replace(recipe, dis=replace(recipe.dis, model=model, thin=0))
    train_all(recipe)
    found = load_network(recipe.out / "model")
    assert isinstance(found, DisSamModel)
    assert found.config.guard


def test_the_encoder_takes_no_init(recipe: DisRecipe) -> None:
    with pytest.raises(UsageError, match="init belongs to other tasks"):
        changed(recipe, task="gt-encoder", init="sam-tiny")
