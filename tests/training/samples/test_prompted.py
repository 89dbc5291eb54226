"""The stream of samples: the same whenever it is asked, alike within a step, and true to its prompts."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from zlib import crc32

import cv2
import numpy as np
import pytest
import torch
from workshop import write_disks

from vns_sam.data.pairs import Pair
from vns_sam.errors import DataError
from vns_sam.prompts.slots import PROMPT_SLOTS, tight_box
from vns_sam.sam.preprocessing import Preprocessing
from vns_sam.training.samples.prompted import TrainingSet, collate
from vns_sam.training.samples.sampler import HELD_OUT, divide_pairs, held_pairs, split_pairs, train_pairs
from vns_sam.training.samples.settings import SceneMix, TrainingData

STEP = 3
Sample = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TrainingData:
    root = tmp_path_factory.mktemp("sets")
    write_disks(root / "disks", 50)
    write_disks(root / "more", 4, seed=1)
    mix = SceneMix(composite=0.5, camouflage=0.3, dark=0.3)
    return TrainingData(root=root, sets={"disks": 2, "more": 1}, mix=mix, sizes=(64, 96), cache_side=64)


def stream(data: TrainingData, *, seed: int = 0, edges: bool = False) -> TrainingSet:
    return TrainingSet(data, length=60, step_size=STEP, seed=seed, edges=edges)


def same(first: Sample, second: Sample) -> bool:
    return first.keys() == second.keys() and all(np.array_equal(first[key], second[key]) for key in first)


def write_scene(folder: Path, stem: str, mask: np.ndarray, instances: np.ndarray | None = None) -> None:
    for name in ("images", "masks", "masks_instance"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(folder / "images" / f"{stem}.png"), np.full((64, 64, 3), 90, np.uint8))
    cv2.imwrite(str(folder / "masks" / f"{stem}.png"), mask.astype(np.uint8) * 255)
    if instances is not None:
        cv2.imwrite(str(folder / "masks_instance" / f"{stem}.png"), instances)


def square(low: int, high: int) -> np.ndarray:
    mask = np.zeros((64, 64), bool)
    mask[low:high, low:high] = True
    return mask


def one_set(root: Path) -> TrainingData:
    return TrainingData(root=root, sets={"one": 1}, mix=SceneMix(composite=0), sizes=(64,), cache_side=64)


def test_sample_depends_on_seed_and_position_only(data: TrainingData) -> None:
    asked, fresh = stream(data), stream(data)
    assert len(asked) == 60
    for position in (7, 0, 31):
        assert same(asked[position], fresh[position])
    assert same(asked[7], asked[7])
    assert not same(asked[7], asked[8])
    assert not same(asked[7], stream(data, seed=1)[7])


def test_stream_can_be_sent_to_another_process(data: TrainingData) -> None:
    samples = stream(data)
    first = samples[4]
    assert same(pickle.loads(pickle.dumps(samples))[4], first)


def test_samples_of_a_step_stack(data: TrainingData) -> None:
    samples = stream(data, edges=True)
    sides, kinds = set(), set()
    for step in range(15):
        batch = collate([samples[position] for position in range(step * STEP, step * STEP + STEP)])
        side = batch["image"].shape[-1]
        assert batch["image"].shape == (STEP, 3, side, side)
        assert batch["image"].dtype == torch.uint8
        assert all(value.shape[0] == STEP for value in batch.values())
        sides.add(side)
        kinds.add(frozenset(batch) - {"image"})
    assert sides == {64, 96}
    assert len(kinds) > 2


def test_prompts_belong_to_their_targets(data: TrainingData) -> None:
    samples = stream(data)
    negatives = 0
    for position in range(60):
        sample = samples[position]
        assert "0.box" in sample
        assert "1.points" in sample
        for k in range(PROMPT_SLOTS):
            target = sample[f"{k}.target"]
            assert target.dtype == bool
            assert target.sum() >= 16
            if f"{k}.box" in sample:
                tight = tight_box(target)
                size = np.tile(tight[2:] - tight[:2] + 1, 2)
                assert np.all(np.abs(sample[f"{k}.box"] - tight) <= np.minimum(20, 0.3 * size))
            if f"{k}.points" in sample:
                x, y = sample[f"{k}.points"].astype(int).T
                assert np.array_equal(target[y, x], sample[f"{k}.labels"] == 1)
                negatives += int((sample[f"{k}.labels"] == 0).sum())
            if f"{k}.mask" in sample:
                coarse = cv2.resize(sample[f"{k}.mask"], target.shape[::-1]) > 0.5
                assert (coarse & target).any()
    assert negatives > 5


@pytest.mark.parametrize("edges", [False, True])
def test_edges_on_request(data: TrainingData, edges: bool) -> None:
    sample = stream(data, edges=edges)[0]
    assert [f"{k}.edge" in sample for k in range(PROMPT_SLOTS)] == [edges] * PROMPT_SLOTS
    if edges:
        target = sample["0.target"].astype(np.uint8)
        near = cv2.dilate(target, np.ones((7, 7), np.uint8)) > cv2.erode(target, np.ones((7, 7), np.uint8))
        assert sample["0.edge"].any()
        assert not (sample["0.edge"] & ~near).any()


def test_whole_views_are_what_a_model_is_shown(tmp_path: Path) -> None:
    wide = np.zeros((32, 64, 3), np.uint8)
    wide[:, :, 0] = 200
    mask = np.zeros((32, 64), np.uint8)
    mask[8:24, 16:48] = 255
    for name, values in (("images", wide[..., ::-1]), ("masks", mask)):
        (tmp_path / "one" / name).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "one" / name / "wide.png"), values)
    data = replace(one_set(tmp_path), views="whole", sizes=(128,))
    image, geometry = Preprocessing(128).padded(wide)
    for position in range(4):
        sample = stream(data)[position]
        place = (slice(0, geometry.fitted_height), slice(0, geometry.fitted_width))
        np.testing.assert_array_equal(sample["image"].transpose(1, 2, 0)[place], image.transpose(1, 2, 0)[place])
        assert (sample["image"][:, 64:].reshape(3, -1).T == (124, 116, 104)).all()
        truth = np.zeros((128, 128), bool)
        truth[16:48, 32:96] = True
        np.testing.assert_array_equal(sample["0.target"], truth)


def test_a_view_has_the_detail_of_its_picture(tmp_path: Path) -> None:
    lines = np.zeros((1024, 1024, 3), np.uint8)
    lines[:, ::2] = 255
    mask = np.zeros((1024, 1024), np.uint8)
    mask[200:800, 200:800] = 255
    for name, values in (("images", lines), ("masks", mask)):
        (tmp_path / "one" / name).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "one" / name / "lines.png"), values)
    data = TrainingData(root=tmp_path, sets={"one": 1}, mix=SceneMix(composite=0), sizes=(1024,), views="whole")
    assert np.array_equal(stream(data)[0]["image"], lines.transpose(2, 0, 1))


def test_single_clicks_come_beside_the_prompts(data: TrainingData) -> None:
    plain, more = stream(data), stream(replace(data, clicks=2))
    for position in range(6):
        before, after = plain[position], more[position]
        assert all(np.array_equal(value, after[key]) for key, value in before.items())
        new = sorted(after.keys() - before.keys())
        assert new == [f"{k}.{name}" for k in (3, 4) for name in ("labels", "points", "target")]
        for k in (3, 4):
            ((x, y),) = after[f"{k}.points"].astype(int)
            assert after[f"{k}.target"][y, x]
            assert after[f"{k}.labels"].tolist() == [1]
    corrected = stream(replace(data, prompts=1, clicks=2, corrections=1.0))[0]
    assert [key for key in corrected if key.endswith(".corrections")] == ["0.corrections"]


def test_held_out_pairs_are_never_drawn(data: TrainingData) -> None:
    training, held = split_pairs(data.root, "disks")
    assert {pair.stem for pair in held} == {f"{i:03d}" for i in range(50) if crc32(f"{i:03d}".encode()) % HELD_OUT == 0}
    assert held
    assert len(training) + len(held) == 50
    assert not set(training) & set(held)
    assert stream(data).pairs["disks"] == training


@pytest.mark.parametrize("folders", [("images", "masks"), ("images_train", "masks_train")])
@pytest.mark.parametrize("beside", ["nothing", "val.txt", "test.txt", "images_val", "images_val masks_val"])
def test_what_is_kept_out_of_training_is_what_validates(tmp_path: Path, folders: tuple[str, str], beside: str) -> None:
    root, other = write_disks(tmp_path / "disks", 40), write_disks(tmp_path / "other", 3)
    for place in beside.split():
        if place.endswith(".txt"):
            (root / place).write_text("003\n005\n")
        elif place != "nothing":
            (other / place.removesuffix("_val")).rename(root / place)
    for name, own in zip(("images", "masks"), folders, strict=True):
        (root / name).rename(root / own)
    held = split_pairs(tmp_path, "disks")[1]
    assert held
    assert held_pairs(tmp_path, "disks") == held


def test_a_large_set_is_divided_without_comparing_its_pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = [Pair(f"{i:06d}", tmp_path, tmp_path, None, None, "large") for i in range(2000)]

    def refuse(one: Pair, other: object) -> bool:
        raise AssertionError("pairs are compared one by one")

    monkeypatch.setattr(Pair, "__eq__", refuse)
    training, held = divide_pairs(pairs, None)
    assert (len(training), len(held)) == (1904, 96)


def test_train_list_is_followed(tmp_path: Path) -> None:
    write_disks(tmp_path / "disks", 12)
    (tmp_path / "disks" / "train.txt").write_text("003\n005\n009\n")
    training, held = split_pairs(tmp_path, "disks")
    assert sorted(pair.stem for pair in training + held) == ["003", "005", "009"]


def test_pictures_of_the_tests_are_not_trained_on(tmp_path: Path) -> None:
    write_disks(tmp_path / "disks", 12)
    (tmp_path / "disks" / "test.txt").write_text("003\n005\n")
    (tmp_path / "disks" / "val.txt").write_text("009\n")
    training, held = split_pairs(tmp_path, "disks")
    assert [pair.stem for pair in held] == ["009"]
    assert [pair.stem for pair in training] == [f"{i:03d}" for i in range(12) if i not in (3, 5, 9)]
    assert [pair.stem for pair in train_pairs(tmp_path, "disks")] == [pair.stem for pair in training]


def test_the_parts_of_one_picture_stay_together(tmp_path: Path) -> None:
    folder = write_disks(tmp_path / "disks", 60)
    for file in folder.rglob("*.png"):
        picture = f"toad{int(file.stem) // 3}"
        file.rename(file.with_stem(f"{picture}_comp_{int(file.stem) % 3}"))
    training, held = split_pairs(tmp_path, "disks")
    sides = [{pair.stem.partition("_comp_")[0] for pair in side} for side in (training, held)]
    assert sides[1] == {f"toad{i}" for i in range(20) if crc32(f"toad{i}".encode()) % HELD_OUT == 0}
    assert sides[1]
    assert not sides[0] & sides[1]
    assert len(held) == 3 * len(sides[1])


def test_a_set_with_nothing_left_to_train_on_is_told(tmp_path: Path, data: TrainingData) -> None:
    folder = write_disks(tmp_path / "disks", 1)
    stem = next(f"{i}" for i in range(1000) if crc32(f"{i}".encode()) % HELD_OUT == 0)
    for file in folder.rglob("000.png"):
        file.rename(file.with_stem(stem))
    with pytest.raises(DataError, match=r"pictures to train on in .*disks, found none: all 1 are held out"):
        stream(replace(data, root=tmp_path, sets={"disks": 1}))
    assert [pair.stem for pair in held_pairs(tmp_path, "disks")] == [stem]
    (folder / "train.txt").write_text(stem)
    (folder / "val.txt").write_text(stem)
    with pytest.raises(DataError, match=r"disks, found none: its lists 'val' and 'test' name all"):
        stream(replace(data, root=tmp_path, sets={"disks": 1}))


def test_sets_are_drawn_by_weight(data: TrainingData) -> None:
    assert stream(data).weights.tolist() == pytest.approx([2 / 3, 1 / 3])
    only = stream(replace(data, sets={"disks": 1e-9, "more": 1}))
    for position in range(10):
        _ = only[position]
    assert {pair.dataset for pair in only._scenes} == {"more"}


def test_plain_sets_are_neither_camouflaged_nor_darkened(data: TrainingData) -> None:
    changed = stream(replace(data, mix=SceneMix(composite=0, camouflage=1, dark=1)))
    plain = stream(replace(data, mix=SceneMix(composite=0, camouflage=1, dark=1), plain=("disks", "more")))
    bright = [np.mean([stream_[i]["image"].mean() for i in range(12)]) for stream_ in (changed, plain)]
    assert bright[0] < 0.6 * bright[1]


def test_objects_too_small_to_prompt_are_ignored(tmp_path: Path) -> None:
    ids = square(10, 40) * np.uint8(1)
    ids[50:53, 50:53] = 2
    write_scene(tmp_path / "one", "a", ids > 0, ids)
    samples = stream(one_set(tmp_path))
    targets = [samples[i][f"{k}.target"] for i in range(20) for k in range(PROMPT_SLOTS)]
    assert all(cv2.connectedComponents(target.astype(np.uint8))[0] == 2 for target in targets)
    assert min(target.sum() for target in targets) > 100


def test_empty_masks_are_passed_over(tmp_path: Path) -> None:
    write_scene(tmp_path / "one", "a", square(0, 0))
    write_scene(tmp_path / "one", "b", square(0, 0), np.zeros((64, 64), np.uint8))
    write_scene(tmp_path / "one", "c", square(10, 40))
    samples = stream(one_set(tmp_path))
    assert all(samples[position]["0.target"].any() for position in range(20))
    assert len(samples._scenes) == 3


@pytest.mark.parametrize("mask", [square(0, 0), square(30, 34)], ids=["empty", "speck"])
def test_sets_with_nothing_to_prompt_for_are_refused(tmp_path: Path, mask: np.ndarray) -> None:
    write_scene(tmp_path / "one", "a", mask)
    data = replace(one_set(tmp_path), sizes=(32,))
    with pytest.raises(DataError, match="no object to train on"):
        _ = stream(data)[0]


def test_mask_of_another_size_is_refused(tmp_path: Path) -> None:
    write_scene(tmp_path / "one", "a", np.ones((32, 64), bool))
    with pytest.raises(DataError, match=r"a\.png: mask is 64 x 32, its picture 64 x 64"):
        _ = stream(one_set(tmp_path))[0]


@pytest.mark.parametrize("sets", [{"nowhere": 1}, {}], ids=["missing", "none"])
def test_missing_sets_are_refused(data: TrainingData, sets: dict[str, float]) -> None:
    with pytest.raises(DataError, match="nowhere" if sets else "no training set"):
        stream(replace(data, sets=sets))


def test_memory_is_bounded_and_samples_do_not_depend_on_it(data: TrainingData) -> None:
    roomy, cramped = (stream(replace(data, cache_mib=mib)) for mib in (2048, 0))
    assert all(same(roomy[position], cramped[position]) for position in range(40))
    assert len(roomy._scenes) > 3
    assert len(cramped._scenes) == 1
