"""The task "ws-sam": from sparse labels and pseudo-labels to a segmenter, resumed, with bad pictures passed over."""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from jobs import do
from PIL import Image
from safetensors.torch import load_file
from workshop import changed

from vns_sam.data.pairs import find_pairs, read_mask
from vns_sam.data.scribble_set import ScribbleJob, plan_run
from vns_sam.errors import DataError, UsageError
from vns_sam.inference.load import load_network
from vns_sam.labelling.maps import write_map
from vns_sam.labelling.records import LINES, Record, write_records
from vns_sam.labelling.store import LabelStore
from vns_sam.training.loop import train
from vns_sam.training.recipe import load_recipe
from vns_sam.training.samples.weak import SetLabels, WeakSet
from vns_sam.training.tasks import build_task
from vns_sam.training.tasks.ws import WsRecipe, WsTask, begin
from vns_sam.training.tracking import read_log
from vns_sam.ws.config import WsSamConfig
from vns_sam.ws.model import WsSamModel

SMALL = {"backbone": "efficientnet-lite0", "channels": 16, "image_size": 64, "name": "small"}


@pytest.fixture(scope="module")
def labelled(workshop: Path) -> Path:
    """Scribbles of all disks but one, and a store that is sure about every other of them."""
    source, labels, store = workshop / "data" / "disks", workshop / "labels" / "disks", workshop / "pseudo" / "disks"
    assert not any(outcome.error for outcome in do(ScribbleJob(plan_run(source, labels))))
    records = []
    for number, pair in enumerate(find_pairs(source)):
        fused = read_mask(pair.mask).astype(np.float32)
        if number % 2:
            fused[:, :32] = 0.5
        path, doubt = write_map(store, pair.image.name, fused, 2)
        relative = doubt.relative if np.isfinite(doubt.relative) else None
        counts = {"kind": "scribble", "levels": 2, "vote": True, "views": 2, "believed": 2, "area": 0.1, "score": 1.0}
        measured = {"absolute": doubt.absolute, "relative": relative, "relative_to_all": None}
        records.append(Record(image=pair.image.name, key="", map=path, height=48, width=64, **counts, **measured))
    write_records(store / LINES, records)
    (labels / "001.png").unlink()
    return workshop


@pytest.fixture
def recipe(recipe_file: Path, labelled: Path) -> WsRecipe:
    values = yaml.safe_load(recipe_file.read_text())
    values |= {"task": "ws-sam", "init": None, "steps": 3, "accumulate": 1, "ema": 0.9}
    values["validation"] = {"every": 3, "limit": 1}
    values["ws"] = {
        "model": SMALL,
        "labels": str(labelled / "labels" / "{set}"),
        "pseudo": str(labelled / "pseudo" / "{set}"),
    }
    recipe_file.write_text(yaml.safe_dump(values))
    return load_recipe(recipe_file)


def samples_of(recipe: WsRecipe, count: int = 40, **ws: object) -> list[dict[str, np.ndarray]]:
    samples = WeakSet(recipe.data, replace(recipe.ws, **ws), length=count, step_size=2, seed=0)
    return [samples[position] for position in range(count)]


def test_a_run_ends_in_a_model(recipe: WsRecipe) -> None:
    scores = train(recipe)
    assert set(scores) == {"disks", "mean"}
    (line,) = [line for line in read_log(recipe.out) if line["step"] == 3 and "loss" in line]
    assert {"partial", "pseudo", "undecided"} <= set(line)
    model = load_network(recipe.out / "model")
    assert isinstance(model, WsSamModel)
    assert (model.name, model.config.channels) == ("small", 16)
    probability = model.segment(np.zeros((30, 50, 3), np.uint8))
    assert probability.shape == (30, 50)


def test_a_stopped_run_continues_to_the_same_weights(recipe: WsRecipe) -> None:
    class Stop(Exception):
        pass

    def stop(done: int, total: int, values: dict[str, float]) -> None:
        if done == 2:
            raise Stop

    with pytest.raises(Stop):
        train(recipe, stop)
    train(recipe)
    straight = replace(recipe, out=recipe.out.parent / "straight")
    train(straight)
    resumed, expected = (load_file(r.out / "model" / "model.safetensors") for r in (recipe, straight))
    assert all(torch.equal(resumed[key], expected[key]) for key in expected)


def unmasked(recipe: WsRecipe, labelled: Path, root: Path, held: str = "") -> WsRecipe:
    """The recipe on the same pictures, of which only those that ``held`` names have masks."""
    source, own = labelled / "data" / "disks", root / "disks"
    shutil.copytree(source / "images", own / "images")
    for stem in held.split():
        (own / "masks").mkdir(exist_ok=True)
        shutil.copy(source / "masks" / f"{stem}.png", own / "masks")
    if held:
        (own / "val.txt").write_text(held.replace(" ", "\n"))
    return replace(recipe, data=replace(recipe.data, root=root))


@pytest.mark.parametrize("supervision", ["pseudo", "sparse"])
def test_only_held_out_pictures_need_masks(
    recipe: WsRecipe, labelled: Path, tmp_path: Path, supervision: str, caplog: pytest.LogCaptureFixture
) -> None:
    few = unmasked(recipe, labelled, tmp_path / "few", "003 007")
    few = replace(few, ws=replace(few.ws, supervision=supervision))
    scores = train(few)
    assert set(scores) == {"disks", "mean"}
    assert isinstance(load_network(few.out / "best"), WsSamModel)
    assert "no held-out picture" not in caplog.text
    seen = WeakSet(few.data, few.ws, length=1, step_size=1, seed=0).pairs["disks"]
    assert len(seen) == 57  # all but the held out, and the one of which nothing is known
    with pytest.raises(DataError, match=r"expected a mask in .*masks for '000' and 57 more, found none"):
        samples_of(few, 1, supervision="full")


def test_without_any_mask_the_last_averaged_weights_are_the_model(
    recipe: WsRecipe, labelled: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bare = unmasked(recipe, labelled, tmp_path / "bare")
    assert train(bare) == {}
    told = [record.message for record in caplog.records if "no held-out picture" in record.message]
    assert told == [
        "no held-out picture with an object in a mask: no validation, model/ gets the averaged weights of the last step"
    ]
    assert not (bare.out / "best").exists()
    averages = torch.load(bare.out / "last.pt", weights_only=True)["ema"]
    shipped = load_file(bare.out / "model" / "model.safetensors")
    assert all(torch.equal(shipped[name], value.half()) for name, value in averages.items())
    seen = WeakSet(bare.data, bare.ws, length=1, step_size=1, seed=0).pairs["disks"]
    assert len(seen) == 59  # all but the one of which nothing is known: none is held out in vain
    with pytest.raises(DataError, match=r"expected a folder masks/ in .*bare/disks, found none"):
        samples_of(bare, 1, supervision="full")


def test_a_plain_folder_of_pictures_is_learnt_from(recipe: WsRecipe, labelled: Path, tmp_path: Path) -> None:
    shutil.copytree(labelled / "data" / "disks" / "images", tmp_path / "plain" / "disks")
    (tmp_path / "plain" / "disks" / "train.txt").write_text("003\n007.png\n")
    plain = replace(recipe, data=replace(recipe.data, root=tmp_path / "plain"))
    seen = WeakSet(plain.data, plain.ws, length=1, step_size=1, seed=0).pairs["disks"]
    assert [each.stem for each in seen] == ["003", "007"]


def test_samples_are_a_function_of_their_position(recipe: WsRecipe) -> None:
    for one, again in zip(samples_of(recipe, 8), samples_of(recipe, 8), strict=True):
        assert all(np.array_equal(one[key], again[key]) for key in one)
        assert (one["image"].shape, one["codes"].shape, one["target"].shape) == ((3, 64, 64), (1, 64, 64), (1, 64, 64))


def test_what_is_learned_from_what(recipe: WsRecipe) -> None:
    for sample in samples_of(recipe, supervision="full"):
        assert sample["keep"]
        assert not sample["codes"].any()
        assert set(np.unique(sample["target"])) <= set(range(256))
    for sample in samples_of(recipe, supervision="sparse"):
        assert not sample["keep"]
        assert not sample["target"].any()
    mixed = samples_of(recipe)
    assert {bool(sample["keep"]) for sample in mixed} == {True, False}
    assert all(sample["target"].any() <= sample["keep"] for sample in mixed)
    assert any(sample["codes"].any() for sample in mixed if not sample["keep"])


def test_pictures_in_sub_folders_are_told(
    recipe: WsRecipe, labelled: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "plain" / "disks"
    shutil.copytree(labelled / "data" / "disks" / "images", folder)
    for name in ("cam1", "images_val", "notes"):
        (folder / name).mkdir()
    for name in ("cam1", "images_val"):
        shutil.copy(folder / "003.png", folder / name)
    plain = replace(recipe, data=replace(recipe.data, root=tmp_path / "plain"))
    WeakSet(plain.data, plain.ws, length=1, step_size=1, seed=0)
    assert f"disks: pictures in sub-folders of {folder} are not read: cam1" in caplog.messages
    for path in folder.glob("*.png"):
        path.unlink()
    with pytest.raises(DataError, match="expected at least one picture, found none in ") as caught:
        WeakSet(plain.data, plain.ws, length=1, step_size=1, seed=0)
    assert "sub-folders are not read" in str(caught.value.hint)


def test_rejected_pictures_without_a_sparse_label_are_left_out(
    recipe: WsRecipe, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert all(sample["keep"] for sample in samples_of(recipe, labels=None))
    assert "pictures left out, no label: 001" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        samples_of(recipe, 1, supervision="sparse")
    assert "1 of" in caplog.text


def test_a_pool_of_rounds_is_learned_from_in_turn(recipe: WsRecipe, labelled: Path, tmp_path: Path) -> None:
    first, second = labelled / "pseudo" / "disks", tmp_path / "second" / "disks"
    records = []
    for record in LabelStore(first).records.values():
        path, _ = write_map(second, record.image, np.ones((record.height, record.width), np.float32), 2)
        records.append(replace(record, map=path, absolute=0.0, relative=0.0))
    write_records(second / LINES, records)
    stores = (str(labelled / "pseudo" / "{set}"), str(tmp_path / "second" / "{set}"))
    seen = {pool: samples_of(recipe, pseudo=stores, pool=pool) for pool in (1, 2)}
    objects = {pool: [(s["target"] == 255).sum() / (s["weight"] > 0).sum() for s in seen[pool]] for pool in seen}
    assert min(objects[1]) > 0.8  # the second round calls everything object, and is as sure or surer
    assert min(objects[2]) < 0.6
    assert max(objects[2]) > 0.8
    labels = SetLabels(replace(recipe.ws, pseudo=stores), "disks", [])
    sizes = [len(labels.pool(pair)) for pair in find_pairs(labelled / "data" / "disks")]
    assert set(sizes) == {1, 2}
    assert all(labels.pool(pair)[0].root == second for pair in find_pairs(labelled / "data" / "disks"))


def test_weights_are_how_sure_the_label_is(recipe: WsRecipe) -> None:
    lenient = replace(recipe.ws.selection, absolute=0.9, relative=float("inf"))
    halves = {}
    for entropy in (True, False):
        samples = samples_of(recipe, selection=lenient, entropy=entropy)
        assert all(sample["keep"] for sample in samples)
        halves[entropy] = np.concatenate([sample["weight"][sample["target"] == 128] for sample in samples])
    assert len(halves[True]) > 1000
    assert np.median(halves[True]) == 0
    assert np.median(halves[False]) == 255


def test_damaged_pictures_are_told_and_passed_over(
    recipe: WsRecipe, labelled: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for path in sorted((labelled / "labels" / "disks").glob("*.png")):
        size = (64, 48) if path.stem > "010" else (20, 20)
        codes = np.ones(size[::-1], np.uint8)
        Image.fromarray(codes).save(tmp_path / path.name)
    with caplog.at_level(logging.WARNING):
        found = samples_of(recipe, 60, labels=str(tmp_path), supervision="sparse")
    assert all(sample["codes"].any() for sample in found)
    assert "disks/002 is left out: expected a label map of 64 x 48" in caplog.text


def test_a_damaged_round_leaves_the_others_and_what_was_drawn_before_plays_no_part(
    recipe: WsRecipe, labelled: Path, tmp_path: Path
) -> None:
    second = tmp_path / "second" / "disks"
    records = [
        replace(record, map=write_map(second, record.image, np.ones((20, 20), np.float32), 2)[0], relative=0.0)
        for record in LabelStore(labelled / "pseudo" / "disks").records.values()
    ]
    write_records(second / LINES, records)
    stores = (str(labelled / "pseudo" / "{set}"), str(tmp_path / "second" / "{set}"))
    ws = replace(recipe.ws, pseudo=stores, pool=2)
    long = WeakSet(recipe.data, ws, length=60, step_size=2, seed=0)
    history = [long[position] for position in range(60)]
    assert any(sample["keep"] for sample in history[30:])
    assert {place for _, _, place in long.broken} == {0}  # the second round, which is surer
    for position in (7, 30, 59):
        fresh = WeakSet(recipe.data, ws, length=60, step_size=2, seed=0)[position]
        assert all(np.array_equal(value, history[position][name]) for name, value in fresh.items()), position


def test_labels_are_found_as_labelling_finds_them_and_problems_are_told(
    recipe: WsRecipe, labelled: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = tmp_path / "points.csv"
    table.write_text("name,x,y,label\n" + "".join(f"C:\\shots\\{i:03d}.png,20,20,1\n" for i in range(60)))
    found = samples_of(recipe, 8, labels=str(table), supervision="sparse")
    assert all((sample["codes"] == 1).any() for sample in found)
    folder = tmp_path / "mixed"
    shutil.copytree(labelled / "labels" / "disks", folder)
    (folder / "notes.json").write_text('{"notes": []}')
    with caplog.at_level(logging.WARNING):
        samples_of(recipe, 1, labels=str(folder), supervision="sparse")
    assert "disks: of the labels not used: not used: " in caplog.text
    assert "notes.json" in caplog.text


@pytest.mark.parametrize(
    ("ws", "error", "message"),
    [
        ({"labels": None, "supervision": "sparse"}, UsageError, r"expected 'ws\.labels'"),
        ({"pseudo": None}, UsageError, r"expected 'ws\.pseudo'"),
        ({"pseudo": "nowhere/{set}"}, DataError, "expected pseudo-labels at nowhere/disks"),
        ({"labels": "recipes", "supervision": "sparse"}, DataError, "holds no annotations|nothing is known of any"),
    ],
)
def test_missing_labels_are_told(
    recipe: WsRecipe, ws: dict[str, object], error: type[Exception], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    with pytest.raises(error, match=message):
        samples_of(recipe, 1, **ws)


def test_pseudo_masks_of_somebody_else_need_no_sparse_labels(
    recipe: WsRecipe, labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(labelled / "data" / "disks" / "masks", tmp_path / "authors" / "disks")
    with pytest.raises(DataError, match="expected sparse labels at labels/disks, found none") as caught:
        samples_of(recipe, 1, labels="labels/{set}", pseudo="authors/{set}")
    assert caught.value.hint.startswith("--ws.labels null")
    assert all(sample["keep"] for sample in samples_of(recipe, 8, labels=None, pseudo="authors/{set}"))


def test_progress_is_of_the_run_or_of_the_epoch(recipe: WsRecipe) -> None:
    ws = recipe.ws
    run = WeakSet(recipe.data, ws, length=100, step_size=10, seed=0)
    assert [float(run[position]["progress"]) for position in (0, 55, 99)] == [0, 0.5, 0.9]
    epoch = WeakSet(recipe.data, ws, length=400, step_size=10, seed=0, by_epoch=True)
    count = len(epoch.pairs["disks"])
    assert float(epoch[390]["progress"]) == pytest.approx(390 % count / count)


def test_what_a_run_starts_from(workshop: Path, tmp_path: Path) -> None:
    sam = load_network("sam-tiny").image_encoder
    model = begin("sam-tiny", {name: value for name, value in SMALL.items() if name != "backbone"})
    assert model.config.backbone.kind == "efficientnet-lite2"  # that of the SAM
    assert torch.equal(model.backbone.encoder.stem[1].weight, sam.stem[1].weight)
    assert torch.equal(model.backbone.encoder.stages[6][0].project[1].weight, sam.stages[6][0].project[1].weight)
    model.save_pretrained(tmp_path / "ws")
    again = begin(str(tmp_path / "ws"), {"name": "other"})
    assert (again.name, again.config.channels) == ("other", 16)
    expected = model.state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in again.state_dict().items())
    for init, fields in (("efficientnet-lite0", {"backbone": "swin-tiny"}), ("vns-sam-tiny", SMALL)):
        with pytest.raises(UsageError, match=r"fits the backbone|expected a tiny SAM"):
            begin(init, fields)
    assert begin(None, SMALL).config == WsSamConfig.make(**SMALL)


def test_frozen_stages_and_small_batches(recipe: WsRecipe) -> None:
    task = build_task(replace(recipe, ws=replace(recipe.ws, frozen=2)))
    assert isinstance(task, WsTask)
    encoder = task.model.backbone.encoder
    assert not any(p.requires_grad for p in (*encoder.stem.parameters(), *encoder.stages[1].parameters()))
    assert all(p.requires_grad for p in encoder.stages[2].parameters())
    head, backbone = task.groups(recipe)
    assert (head["peak"], backbone["peak"]) == (recipe.optim.lr, recipe.optim.backbone_lr)
    with pytest.raises(UsageError, match="batch_size"):
        changed(recipe, batch_size=1)
