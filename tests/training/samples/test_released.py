"""The authors' own samples, reached by a recipe: what they are, and that a task learns from them."""

from __future__ import annotations

import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from workshop import changed

from vns_sam.data.pairs import find_pairs, read_mask
from vns_sam.dis.channels import LARGEST_SIDE, released_sample
from vns_sam.errors import DataError, UsageError
from vns_sam.training.dis_settings import Dis
from vns_sam.training.loop import lr_factor, train
from vns_sam.training.recipe import load_recipe, parse_recipe
from vns_sam.training.samples.edges import contour, edge_target
from vns_sam.training.samples.refinement import RefinementSet, released
from vns_sam.training.samples.released import ReleasedSet
from vns_sam.training.samples.sampler import split_pairs
from vns_sam.training.samples.settings import SetData, TrainingData
from vns_sam.training.tasks.base import half, mean_terms, prompt_slots
from vns_sam.training.tasks.frozen import VnsRecipe, VnsTask


@pytest.fixture
def recipe(recipe_file: Path) -> VnsRecipe:
    values = yaml.safe_load(recipe_file.read_text())
    values |= {"task": "vns-sam", "steps": 2, "vns": {"inner_channels": 8, "head_channels": 8, "mask_prompt": "grey"}}
    values["data"] |= {"samples": "released", "edge": 5}
    found = parse_recipe(values, "r")
    assert isinstance(found, VnsRecipe)
    return found


def test_recipes_reach_the_authors_training() -> None:
    vns, dis = load_recipe("vns_sam_vit_l"), load_recipe("dis_sam_released")
    assert isinstance(vns, VnsRecipe)
    assert (vns.data.samples, vns.data.edge, vns.data.sizes, vns.bce) == ("released", 5, (1024,), "mean")
    assert vns.vns["mask_prompt"] == "grey"
    assert (vns.optim.name, vns.optim.lr, vns.optim.schedule, vns.optim.gamma) == ("adam", 1e-3, "step", 0.1)
    assert vns.steps / vns.optim.step_every == 12 / 10  # epochs in all, and until the rate drops
    assert vns.batch_size * vns.accumulate == 16
    assert dis.dis.loader == dis.dis.preset == "released"  # type: ignore[attr-defined]
    papers = [load_recipe(name) for name in ("dis_sam", "dis_sam_hqseg44k")]
    assert [found.data.kept_side for found in papers] == [LARGEST_SIDE] * 2  # type: ignore[attr-defined]


def test_a_sample_is_a_function_of_its_position_and_soft(recipe: VnsRecipe) -> None:
    samples = ReleasedSet(recipe.data, length=200, seed=0)
    one, again, other = samples[3], ReleasedSet(recipe.data, length=200, seed=0)[3], samples[4]
    assert all(np.array_equal(one[key], again[key]) for key in one)
    assert not np.array_equal(one["image"], other["image"])
    assert (one["image"].shape, one["label"].shape, one["image"].dtype) == ((3, 64, 64), (64, 64), np.uint8)
    labels = np.stack([samples[k]["label"] for k in range(40)])
    assert labels.min() == 0
    assert labels.max() == pytest.approx(1)
    assert ((labels > 0) & (labels < 1)).any()


def test_an_epoch_shows_every_picture_once(recipe: VnsRecipe) -> None:
    samples = ReleasedSet(recipe.data, length=10**6, seed=0)
    count = len(samples.pairs)
    assert sorted(samples._orders[0]) == sorted(samples._orders[1]) == list(range(count))
    assert list(samples._orders[0]) != list(samples._orders[1])


def test_edges_are_as_thick_as_asked(recipe: VnsRecipe) -> None:
    thick, thin = (
        sum(ReleasedSet(replace(recipe.data, edge=width), length=9, seed=0)[k]["edge"].sum() for k in range(9))
        for width in (5, 1)
    )
    mask = np.zeros((64, 64), bool)
    mask[20:40, 20:40] = True
    expected = edge_target(mask, thickness=5).sum() / edge_target(mask, thickness=1).sum()
    assert thick / thin == pytest.approx(expected, rel=0.3)


def test_sets_may_have_edges_of_their_own(recipe: VnsRecipe) -> None:
    (name,) = recipe.data.sets
    own = replace(recipe.data, edges={name: "own"})
    samples = ReleasedSet(own, length=1, seed=0)
    with pytest.raises(DataError, match="expected the edge map"):
        samples[0]
    _, pair = samples.pairs[int(samples._orders[0][0])]
    mask = read_mask(pair.mask)
    folder = recipe.data.root / name / "Edge"
    folder.mkdir()
    try:
        cv2.imwrite(str(folder / f"{pair.stem}.png"), contour(mask, thickness=1).astype(np.uint8) * 255)
        drawn = ReleasedSet(replace(recipe.data, edges={name: 1}, edge=5), length=1, seed=0)[0]["edge"]
        assert np.array_equal(samples[0]["edge"], drawn)
        assert samples[0]["edge"].sum() < ReleasedSet(replace(recipe.data, edge=5), length=1, seed=0)[0]["edge"].sum()
        cv2.imwrite(str(folder / f"{pair.stem}.png"), np.zeros((3, 4), np.uint8))
        with pytest.raises(DataError, match="expected the size of the mask"):
            samples[0]
    finally:
        shutil.rmtree(folder)


def test_nothing_is_held_out_but_a_list(recipe: VnsRecipe) -> None:
    (name,) = recipe.data.sets
    every = find_pairs(recipe.data.root / name)
    assert [pair.stem for _, pair in ReleasedSet(recipe.data, length=1, seed=0).pairs] == [pair.stem for pair in every]
    assert len(split_pairs(recipe.data.root, name)[0]) < len(every)


def test_the_authors_recipe_reaches_all_that_they_do() -> None:
    found = load_recipe("vns_sam_vit_l")
    assert isinstance(found, VnsRecipe)
    assert found.batch_norm == "process"
    edges = {name: found.data.edges.get(name, found.data.edge) for name in found.data.sets}
    assert {name for name, edge in edges.items() if edge == 1} == {"dis_dark", "thin_dark", "fss_dark"}
    assert sum(found.data.sets.values()) == 23232
    assert found.steps == 12 * (23232 // 16)
    assert found.batch_size * found.accumulate == 16
    rates = [lr_factor(epoch * 1452, found.steps, found.optim) for epoch in (0, 9, 10, 11)]
    assert rates == pytest.approx([1, 1, 0.1, 0.1])
    assert (found.optim.name, found.optim.lr, found.optim.weight_decay, found.optim.clip) == ("adam", 1e-3, 0, 0)


def test_prompts_are_drawn_as_the_authors_do(recipe: VnsRecipe) -> None:
    task = VnsTask(recipe)
    labels = torch.zeros(4, 64, 64)
    labels[:3, 20:40, 10:30] = 1
    batch = {"image": torch.zeros(4, 3, 64, 64), "label": labels, "seed": torch.tensor([5])}
    for official, rows in ((True, 4), (False, 3)):  # a picture without an object: an empty prompt, or none
        drawn = list(prompt_slots(batch, task.model, None, official=official))  # type: ignore[arg-type]
        assert sum(len(prompts) for prompts, _ in drawn) == rows
        assert all(torch.equal(target, labels[prompts.image_index]) for prompts, target in drawn)
    nothing = {**batch, "label": torch.zeros(4, 64, 64)}
    assert len(list(prompt_slots(nothing, task.model, None, official=False))) > 0  # type: ignore[arg-type]


def test_losses_are_means_over_pictures_at_full_size() -> None:
    assert half(torch.rand(2, 8, 8)).shape == (2, 1, 8, 8)
    assert half(torch.ones(2, 8, 8, dtype=torch.bool)).shape == (2, 1, 4, 4)
    slots = [{"a": torch.tensor(1.0)}, {"a": torch.tensor(4.0)}]
    assert mean_terms(slots, [2, 1])["a"].item() == pytest.approx(2.0)
    assert mean_terms(slots)["a"] == 2.5


@pytest.mark.parametrize("task", ["vns-sam", "hq-sam"])
def test_a_run_learns_from_them_and_goes_on(recipe: VnsRecipe, task: str) -> None:
    values = {"task": task, "checkpoint_every": 1, "validation": {"every": 9, "limit": 1}}
    run = changed(recipe, **values)

    class Stop(Exception):
        pass

    def stop(done: int, total: int, told: dict[str, float]) -> None:
        if done == 1:
            raise Stop

    with pytest.raises(Stop):
        train(run, stop)
    train(run)
    straight = replace(run, out=run.out.parent / "straight")
    train(straight)
    one, two = (load_file(folder / "model" / "model.safetensors") for folder in (run.out, straight.out))
    assert all(torch.equal(one[key], two[key]) for key in one)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mix": {"dark": 0.5}}, "belong to samples: house"),
        ({"prompts": 1}, "belong to samples: house"),
        ({"sizes": [64, 96]}, "views of one size"),
        ({"samples": "mine"}, r"data\.samples"),
        ({"edge": 2}, r"data\.edge"),
        ({"edges": {"camo": 1}}, "names 'camo', which is not among the sets"),
    ],
)
def test_what_does_not_go_together_is_refused(recipe: VnsRecipe, change: dict[str, object], message: str) -> None:
    data = {"root": "x", "sets": {"a": 1}, "sizes": [64], "samples": "released", **change}
    with pytest.raises(UsageError, match=message):
        changed(recipe, data=data)
    with pytest.raises(UsageError, match="samples: house alone"):
        changed(recipe, task="sam")
    with pytest.raises(UsageError, match="belong to loader: house"):
        changed(recipe, task="dis-sam", dis={"loader": "released", "thin": 3})


def test_the_released_loader_of_dis_sam_is_the_one_in_dis() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)
    truth, mask = np.zeros((2, 40, 50), np.uint8)
    truth[10:30, 5:40], mask[12:33, 5:38] = 255, 255
    channels, label = released_sample(image, truth, mask, 32)
    found = released(np.concatenate([image, mask[..., None], truth[..., None]], axis=2), 32)
    shift = torch.tensor([0.5, 0.5, 0.5, 0, 0])[:, None, None]
    torch.testing.assert_close(torch.from_numpy(found["input"]).float() / 255 - shift, channels)
    torch.testing.assert_close(torch.from_numpy(found["label"]).float() / 255, label)
    assert TrainingData(root=Path(), sets={"a": 1}).samples == "house"


@pytest.mark.parametrize("loader", ["released", "house"])
def test_dis_sam_learns_lines_of_one_pixel_from_files_larger_than_its_views(tmp_path: Path, loader: str) -> None:
    image = np.random.default_rng(0).integers(0, 256, (300, 200, 3), dtype=np.uint8)
    truth = np.zeros((300, 200), np.uint8)
    truth[40:260, 20:180:5], truth[100:120, 20:180] = 255, 255
    for name, values in (("images", image[..., ::-1]), ("masks", truth)):
        (tmp_path / "fences" / name).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "fences" / name / "a.png"), values)
    side = {"released": 64, "house": 4096}[loader]
    data = SetData(root=tmp_path, sets={"fences": 1}, sizes=(64,), cache_side=side)
    dis = Dis(preset="released", loader=loader)  # type: ignore[arg-type]
    found = RefinementSet(data, dis, None, None, length=1, step_size=1, seed=0)[0]
    ways = [(slice(None, None, down), slice(None, None, across)) for down in (1, -1) for across in (1, -1)]
    expected = [released_sample(image[way], truth[way], truth[way], 64) for way in ways]
    shift = torch.tensor([0.5, 0.5, 0.5, 0])[:, None, None]
    grey = [
        (((channels[:4] + shift) * 255).round().byte(), (label * 255).round().byte()) for channels, label in expected
    ]
    seen = torch.from_numpy(found["input"][:4]), torch.from_numpy(found["label"])
    assert any(torch.equal(seen[0], colours) and torch.equal(seen[1], label) for colours, label in grey)


def test_edges_of_a_set_go_by_the_name_that_the_recipe_has_for_it(recipe: VnsRecipe, tmp_path: Path) -> None:
    (tmp_path / "disks_dark").symlink_to(recipe.data.root / "disks", target_is_directory=True)
    linked = replace(recipe.data, root=tmp_path, sets={"disks_dark": 1.0})
    thin = ReleasedSet(replace(linked, edge=1), length=6, seed=0)
    asked = ReleasedSet(replace(linked, edges={"disks_dark": 1}), length=6, seed=0)
    thick = ReleasedSet(linked, length=6, seed=0)
    assert all(np.array_equal(asked[k]["edge"], thin[k]["edge"]) for k in range(6))
    assert any(not np.array_equal(asked[k]["edge"], thick[k]["edge"]) for k in range(6))


def test_a_sets_own_edges_are_found_through_a_link(recipe: VnsRecipe, tmp_path: Path) -> None:
    shutil.copytree(recipe.data.root / "disks", tmp_path / "real")
    for mask in (tmp_path / "real" / "masks").iterdir():
        (tmp_path / "real" / "edges").mkdir(exist_ok=True)
        shutil.copy(mask, tmp_path / "real" / "edges" / mask.name)
    (tmp_path / "sets").mkdir()
    (tmp_path / "sets" / "linked").symlink_to(tmp_path / "real", target_is_directory=True)
    data = replace(recipe.data, root=tmp_path / "sets", sets={"linked": 1.0}, edges={"linked": "own"})
    assert ReleasedSet(data, length=1, seed=0)[0]["edge"].shape == (64, 64)


def test_samples_travel_to_a_spawned_worker(recipe: VnsRecipe) -> None:
    samples = ReleasedSet(recipe.data, length=9, seed=0)
    expected = samples[3]
    found = pickle.loads(pickle.dumps(samples))[3]
    assert all(np.array_equal(found[name], value) for name, value in expected.items())
