"""Measuring: a perfect model scores in full, broken pairs are passed over, and nothing is measured twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from fakes import SIDE, FakeModel
from workshop import narrow_sam, write_disks

from vns_sam.data.importing import write_objects
from vns_sam.data.pairs import Pair, find_pairs, read_instances
from vns_sam.errors import DataError, UsageError
from vns_sam.evaluation.ablate import Ablation, ablated
from vns_sam.evaluation.frames import Resize
from vns_sam.evaluation.measure import Measure
from vns_sam.evaluation.picture import true_objects
from vns_sam.evaluation.protocol import Protocol, parse_protocols
from vns_sam.evaluation.rows import Key, Row, RowStore
from vns_sam.evaluation.runner import evaluate, scored_pairs
from vns_sam.evaluation.settings import Clock, Settings
from vns_sam.evaluation.suite import make_suite
from vns_sam.formats.objects import Object
from vns_sam.runs.job import Mapper
from vns_sam.runs.processes import Processes
from vns_sam.runs.threads import in_line
from vns_sam.sam.answers import MapAnswers
from vns_sam.types import ImageFeatures, Prompts


class Oracle(FakeModel):
    """Marks what is bright in the picture: the disk, all of it or its left part, or nothing."""

    def __init__(self, share: float = 1.0) -> None:
        super().__init__()
        self.share = share
        self.bright = np.zeros((SIDE, SIDE), bool)
        self.asked: list[Prompts] = []

    def encode(self, images: Sequence[np.ndarray]) -> ImageFeatures:
        found = images[0].min(axis=2) > 110
        if images[0].shape[0] > SIDE:
            found = cv2.resize(found.astype(np.uint8) * 255, (SIDE, SIDE), interpolation=cv2.INTER_AREA) > 127
        xs = np.flatnonzero(found.any(axis=0))
        if self.share < 1:
            found[:, xs[0] + int(self.share * len(xs)) :] = False
        self.bright = np.pad(found, ((0, SIDE - found.shape[0]), (0, SIDE - found.shape[1])))
        return super().encode(images)

    def decode(
        self, features: ImageFeatures, prompts: Sequence[Prompts], image_index: Sequence[int], **_: bool
    ) -> MapAnswers:
        self.asked += prompts
        logits = torch.from_numpy(self.bright)[None, None].float() * 10 - 5
        scores, geometry = np.ones(len(prompts), np.float32), features.geometry * len(prompts)
        return MapAnswers(logits.expand(len(prompts), -1, -1, -1), scores, geometry)


class Learner(FakeModel):
    """Marks a band around each click that is wide enough to be right after a few."""

    def decode(
        self, features: ImageFeatures, prompts: Sequence[Prompts], image_index: Sequence[int], **_: bool
    ) -> MapAnswers:
        (given,) = prompts
        assert given.points is not None
        assert given.labels is not None
        logits = torch.full((1, 1, SIDE, SIDE), -5.0)
        for (x, y), label in zip(given.points[0].astype(int), given.labels[0], strict=True):
            logits[0, 0, max(0, y - 6) : y + 7, max(0, x - 6) : x + 7] = 5.0 if label else -5.0
        return MapAnswers(logits, np.ones(1, np.float32), features.geometry)


@pytest.fixture(scope="module")
def disks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_disks(tmp_path_factory.mktemp("sets") / "disks", 6)


def score(model: FakeModel, pairs: Sequence[Pair], *prompts: str, settings: Settings | None = None) -> list[Row]:
    store = RowStore(None, "fake", {})
    list(evaluate(model, pairs, parse_protocols(prompts or ["box"]), settings or Settings(), store, strict=True))
    return list(store.rows.values())


def test_a_perfect_model_scores_one_with_every_prompt(disks: Path) -> None:
    model = Oracle()
    prompts = ("box", "noise-box", "points:3", "mask", "image", "clicks:2")
    rows = score(model, find_pairs(disks), *prompts)
    assert [row.key for row in rows] == [("disks", f"{i:03d}", "", prompt) for i in range(6) for prompt in prompts]
    assert {(row.scores.values["iou"], row.scores.values["biou"]) for row in rows} == {(1, 1)}
    assert {row.scores.values.get("noc90") for row in rows} == {1, None}
    assert all(row.decode > 0 for row in rows)
    assert len(model.encoded) == 6


def test_half_an_object_scores_half_and_nothing_scores_zero(disks: Path) -> None:
    half = [row.scores.values["iou"] for row in score(Oracle(0.5), find_pairs(disks))]
    assert half == pytest.approx([0.5] * 6, abs=0.06)
    assert [row.scores.values["iou"] for row in score(Oracle(0), find_pairs(disks))] == [0] * 6


def test_squashed_pictures_are_scored_at_their_own_size(disks: Path) -> None:
    rows = score(Oracle(), find_pairs(disks), settings=Settings(resize="square"))
    assert min(row.scores.values["iou"] for row in rows) > 0.85


def test_clicks_are_counted_until_the_mask_is_right(tmp_path: Path) -> None:
    folder = write_disks(tmp_path / "disks", 1)
    truth = np.zeros((48, 64), np.uint8)
    truth[10:23, 5:44] = 255
    cv2.imwrite(str(folder / "masks" / "000.png"), truth)
    (row,) = score(Learner(), find_pairs(folder), "clicks:8")
    assert 3 <= row.scores.values["noc85"] <= row.scores.values["noc90"] < 8
    assert row.scores.values["iou"] >= 0.9
    (hopeless,) = score(Oracle(0), find_pairs(folder), "clicks:8")
    assert hopeless.scores.values["noc85"] == hopeless.scores.values["noc90"] == 8


@pytest.mark.parametrize("prompt", ["box", "clicks:3"])
@pytest.mark.parametrize("resize", ["fit", "square"])
def test_ignored_pixels_do_not_count(tmp_path: Path, prompt: str, resize: Resize) -> None:
    folder = write_disks(tmp_path / "disks", 1)
    path = folder / "masks" / "000.png"
    disk = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    left = np.zeros_like(disk)
    left[:, : int(np.flatnonzero(disk.any(axis=0)).mean())] = 255
    cv2.imwrite(str(path), disk & ~left)
    (counted,) = score(Oracle(), find_pairs(folder), prompt, settings=Settings(resize=resize))
    (folder / "masks_ignore").mkdir()
    cv2.imwrite(str(folder / "masks_ignore" / "000.png"), left)
    for truth in (disk, disk & ~left):  # whether the mask has them or not
        cv2.imwrite(str(path), truth)
        (row,) = score(Oracle(), find_pairs(folder), prompt, settings=Settings(resize=resize))
        assert row.scores.values["iou"] > 0.85 > 0.6 > counted.scores.values["iou"]
    assert row.scores.values.get("noc85", 1) == 1


def test_ignored_pixels_of_another_size_are_told(tmp_path: Path) -> None:
    folder = write_disks(tmp_path / "disks", 1)
    (folder / "masks_ignore").mkdir()
    cv2.imwrite(str(folder / "masks_ignore" / "000.png"), np.zeros((5, 5), np.uint8))
    with pytest.raises(DataError, match=r"masks_ignore/000.png: expected the size of its mask, 64 x 48"):
        score(Oracle(), find_pairs(folder))


def test_a_changed_mask_is_measured_again(tmp_path: Path) -> None:
    folder = write_disks(tmp_path / "disks", 2)
    store = RowStore(tmp_path / "rows", "fake", {})

    def done_before() -> list[bool]:
        run = evaluate(Oracle(), find_pairs(folder), parse_protocols(["box"]), Settings(), store)
        return [outcome.done_before for outcome in run]

    assert done_before() == [False, False]
    assert done_before() == [True, True]
    mask = cv2.imread(str(folder / "masks" / "001.png"), cv2.IMREAD_GRAYSCALE)
    mask[:, : int(np.flatnonzero(mask.any(axis=0)).mean())] = 0
    cv2.imwrite(str(folder / "masks" / "001.png"), mask)
    assert done_before() == [True, False]
    assert min(row.scores.values["iou"] for row in store.rows.values()) < 0.9


def test_each_instance_is_asked_for_by_itself(tmp_path: Path) -> None:
    folder = write_disks(tmp_path / "disks", 1)
    ids = np.zeros((48, 64), np.uint8)
    ids[5:20, 5:20], ids[25:40, 30:50] = 3, 7
    (folder / "masks_instance").mkdir()
    cv2.imwrite(str(folder / "masks_instance" / "000.png"), ids)
    rows = score(FakeModel(), find_pairs(folder), settings=Settings(instances=True))
    assert [row.key.target for row in rows] == ["1", "2"]
    assert min(row.scores.values["iou"] for row in rows) > 0.8


def test_an_object_that_cannot_be_asked_for_leaves_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_disks(tmp_path / "disks", 1)
    (folder / "masks_instance").mkdir()
    (folder / "masks_instance" / "000.png").write_bytes((folder / "masks" / "000.png").read_bytes())
    empty, whole = np.zeros((48, 64), bool), np.ones((48, 64), bool)
    monkeypatch.setattr("vns_sam.data.pairs.read_instances", lambda path: [empty, whole])
    store = RowStore(None, "fake", {})
    settings = Settings(instances=True)
    (outcome,) = evaluate(FakeModel(), find_pairs(folder), parse_protocols(["box"]), settings, store)
    assert outcome.error.startswith("disks/000/1: the true mask is empty")
    assert [key.target for key in store.rows] == ["2"]
    with pytest.raises(DataError, match="disks/000/1"):
        list(evaluate(FakeModel(), find_pairs(folder), parse_protocols(["box"]), settings, store, strict=True))


def test_average_precision_of_objects(tmp_path: Path) -> None:
    pytest.importorskip("faster_coco_eval")
    folder = write_disks(tmp_path / "disks", 1)
    ids = np.zeros((48, 64), np.uint8)
    ids[5:20, 5:20], ids[25:40, 30:50] = 1, 2
    (folder / "masks_instance").mkdir()
    cv2.imwrite(str(folder / "masks_instance" / "000.png"), ids)
    suite = make_suite([folder], Measure(metrics=("iou", "ap"), instances=True))
    run = suite.run(narrow_sam(), "narrow", tmp_path / "out")
    list(run)
    again = suite.run(narrow_sam(), "narrow", tmp_path / "out").result()
    assert again.means() == run.result().means()
    assert set(again.means()["box"]["disks"]) == {"iou", "ap", "ap50", "ap75", "count"}
    perfect = [
        replace(row, detection=replace(row.detection, found=row.detection.truth)) for row in again.rows if row.detection
    ]
    assert replace(again, rows=perfect).means()["box"]["disks"]["ap"] == pytest.approx(1)


def overlapping(folder: Path) -> Path:
    """A set of one picture whose large cat hides behind a small dog."""
    write_disks(folder, 1)
    cat, dog = np.zeros((48, 64), bool), np.zeros((48, 64), bool)
    cat[4:40, 4:40], dog[10:20, 10:20] = True, True
    write_objects(folder, "000", [Object(cat, "cat"), Object(dog, "dog")])
    return folder


def test_objects_that_overlap_are_asked_for_whole(tmp_path: Path) -> None:
    (pair,) = find_pairs(overlapping(tmp_path / "pets"))
    assert pair.instances is not None
    areas = [int(mask.sum()) for mask in read_instances(pair.instances)]
    assert areas == [36 * 36 - 100, 100]  # ids cannot tell that the cat goes on below the dog
    objects, ignored = true_objects(pair, Settings(instances=True))
    assert [(number, each.label, int(each.mask.sum())) for number, each in objects.items()] == [
        ("1", "cat", 36 * 36),
        ("2", "dog", 100),
    ]
    assert ignored is None
    assert list(true_objects(pair, Settings(instances=("others",)))[0]) == [""]
    assert list(true_objects(pair, Settings(instances=("pets",)))[0]) == ["1", "2"]


def test_precision_is_the_mean_over_classes(tmp_path: Path) -> None:
    pytest.importorskip("faster_coco_eval")
    folder = overlapping(tmp_path / "pets")
    measure = Measure(metrics=("iou", "ap"), instances=("pets",))
    suite = make_suite([folder, write_disks(tmp_path / "disks", 2)], measure)
    run = suite.run(narrow_sam(), "narrow")
    list(run)
    result = run.result()
    assert [row.detection.label for row in result.rows if row.detection] == ["cat", "dog"]  # no masks of disks are kept
    exact = [
        replace(row, detection=replace(row.detection, found=row.detection.truth))
        if row.detection and row.detection.label == "dog"
        else row
        for row in result.rows
    ]
    classes = replace(result, rows=exact).classes["box", "pets"]
    assert classes["dog"] == {"ap": 1.0, "ap50": 1.0, "ap75": 1.0}
    assert replace(result, rows=exact).means()["box"]["pets"]["ap"] == pytest.approx((classes["cat"]["ap"] + 1) / 2)
    text = suite.report([run]).to_markdown()
    assert "**box**: ap / ap50 / ap75\n\n| model | pets (2) |\n" in text
    assert "**box**: iou\n\n| model | pets (2) | disks (2) | mean |\n" in text
    assert "| class | narrow ap | narrow ap50 | narrow ap75 |" in text
    assert set(suite.report([run]).to_json()["models"]["narrow"]["classes"]["box"]["pets"]) == {"cat", "dog"}


def test_a_list_may_name_objects(tmp_path: Path) -> None:
    folder = overlapping(tmp_path / "pets")
    (folder / "ns.txt").write_text("000#2\n")
    suite = make_suite([f"{folder}@ns"], Measure(instances=True))
    run = suite.run(FakeModel(), "fake")
    list(run)
    assert [row.key.target for row in run.result().rows] == ["2"]
    with pytest.raises(DataError, match=r"lists objects \('000#2'\), expected pictures") as caught:
        make_suite([f"{folder}@ns"])
    assert caught.value.hint == "--instances asks for objects"
    (folder / "ns.txt").write_text("000#7\n")
    run = make_suite([f"{folder}@ns"], Measure(instances=True)).run(FakeModel(), "fake")
    assert ["expected object 7 of the list" in outcome.error for outcome in run] == [True]


def test_sets_behind_links_are_called_as_the_links(tmp_path: Path) -> None:
    for name in ("gdd", "gsd"):
        write_disks(tmp_path / name.upper() / "test", 1)
        (tmp_path / name).symlink_to(tmp_path / name.upper() / "test", target_is_directory=True)
    folders = [tmp_path / "gdd", tmp_path / "gsd"]
    suite = make_suite(folders, Measure(groups={"glass": ("gdd", "gsd")}))
    assert suite.sets == ["gdd", "gsd"]


def test_rows_of_another_configuration_are_refused(disks: Path, tmp_path: Path) -> None:
    suite, model = make_suite([disks]), narrow_sam()
    suite.run(model, "narrow", tmp_path)
    suite.run(model, "narrow", tmp_path)
    model.config = replace(model.config, mask_prompt="grey")
    with pytest.raises(UsageError, match="with model"):
        suite.run(model, "narrow", tmp_path)


def test_order_of_the_pictures_does_not_matter(disks: Path) -> None:
    pairs = find_pairs(disks)
    forth, back = Oracle(), Oracle()
    first = [row.key for row in score(forth, pairs, "points:2")]
    second = [row.key for row in score(back, pairs[::-1], "points:2")]
    assert first == second[::-1]
    for a, b in zip(forth.asked, back.asked[::-1], strict=True):
        assert a.points is not None
        assert b.points is not None
        assert np.array_equal(a.points, b.points)


def test_worker_processes_give_the_same_rows(disks: Path) -> None:
    stores = [RowStore(None, "fake", {}) for _ in range(2)]
    settings = Settings(("iou", "biou", "weighted_f", "max_e"))
    for store, mapper in zip(stores, (in_line, Processes(2)), strict=True):
        list(evaluate(Oracle(0.5), find_pairs(disks), parse_protocols(["box"]), settings, store, mapper=mapper))
    here, there = ({key: row.scores.to_json() for key, row in store.rows.items()} for store in stores)
    assert here == there
    assert len(here) == 6


@pytest.mark.parametrize("damage", ["size", "empty", "cut"])
def test_broken_pairs_are_told_and_passed_over_unless_strict(tmp_path: Path, damage: str) -> None:
    folder = write_disks(tmp_path / "disks", 3)
    mask = folder / "masks" / "001.png"
    if damage == "size":
        cv2.imwrite(str(mask), np.full((24, 32), 255, np.uint8))
    elif damage == "empty":
        cv2.imwrite(str(mask), np.zeros((48, 64), np.uint8))
    else:
        mask.write_bytes(mask.read_bytes()[:40])
    store = RowStore(None, "fake", {})
    outcomes = list(evaluate(Oracle(), find_pairs(folder), [Protocol()], Settings(), store))
    assert [bool(outcome.error) for outcome in outcomes] == [False, True, False]
    assert [key.stem for key in store.rows] == ["000", "002"]
    assert list(store.skipped) == [("disks", "001")]
    with pytest.raises(DataError):
        score(Oracle(), find_pairs(folder))


def test_what_has_a_row_is_not_measured_again(disks: Path, tmp_path: Path) -> None:
    pairs = find_pairs(disks)

    def measure(prompts: Sequence[str], share: float) -> tuple[Oracle, RowStore]:
        model, store = Oracle(share), RowStore(tmp_path, "fake", {"weights": "x"})
        list(evaluate(model, pairs, parse_protocols(prompts), Settings(), store))
        return model, store

    first, _ = measure(["box"], 1.0)
    second, store = measure(["box"], 0.0)
    assert (len(first.encoded), len(second.encoded)) == (6, 0)
    assert {row.scores.values["iou"] for row in store.rows.values()} == {1}
    third, store = measure(["box", "points"], 0.0)
    assert (len(third.encoded), len(third.asked), len(store.rows)) == (6, 6, 12)


def test_the_clock_tells_where_the_time_went(disks: Path) -> None:
    clock = Clock()
    store = RowStore(None, "fake", {})
    list(evaluate(Oracle(), find_pairs(disks), [Protocol()], Settings(), store, clock=clock))
    assert min(clock.read, clock.encode, clock.decode, clock.metrics) > 0
    assert replace(clock, wait=0.0) != Clock()


def test_only_the_test_list_is_scored(tmp_path: Path) -> None:
    folder = write_disks(tmp_path / "disks", 3)
    assert len(scored_pairs(folder)) == 3
    (folder / "test.txt").write_text("002\n")
    assert [pair.stem for pair in scored_pairs(folder)] == ["002"]
    (folder / "list").mkdir()
    (folder / "test.txt").rename(folder / "list" / "test.txt")
    assert [pair.stem for pair in scored_pairs(folder)] == ["002"]


def test_a_broken_test_list_does_not_score_the_training_pictures(tmp_path: Path) -> None:
    folder = write_disks(tmp_path / "disks", 3)
    (folder / "test.txt").write_text("002\n009\n")
    with pytest.raises(DataError, match="'009'"):
        scored_pairs(folder)
    broken: dict[str, str] = {}
    assert [pair.stem for pair in scored_pairs(folder, broken=broken)] == ["002"]
    assert list(broken) == ["009"]


def test_only_what_failed_is_measured_again(tmp_path: Path) -> None:
    folder = write_disks(tmp_path / "disks", 3)
    mask = folder / "masks" / "001.png"
    whole = mask.read_bytes()
    mask.write_bytes(whole[:40])
    suite, model = make_suite([folder]), narrow_sam()
    list(suite.run(model, "narrow", tmp_path / "out"))
    mask.write_bytes(whole)
    again = suite.run(model, "narrow", tmp_path / "out", retry_failed=True)
    assert len(again) == 1
    assert [(outcome.pair.stem, outcome.done_before) for outcome in again] == [("001", False)]
    assert not again.result().skipped
    assert [row.key.stem for row in again.result().rows] == ["000", "001", "002"]


def test_a_fault_at_one_picture_leaves_the_others(disks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def odd(truth: np.ndarray, protocol: Protocol, key: str) -> Prompts:
        if key.endswith("002"):
            raise ZeroDivisionError("odd")
        return Prompts(boxes=np.array([[0.0, 0, 20, 20]]))

    monkeypatch.setattr("vns_sam.evaluation.picture.draw_prompt", odd)
    store = RowStore(None, "fake", {})
    outcomes = list(evaluate(FakeModel(), find_pairs(disks), [Protocol()], Settings(), store))
    assert [outcome.error.split(":")[0] for outcome in outcomes if outcome.error] == ["disks/002"]
    assert len(store.rows) == 5


def test_a_part_that_is_switched_off_is_so_in_every_process(disks: Path) -> None:
    model, pairs = narrow_sam(), find_pairs(disks)[:2]

    def scores(mapper: Mapper, ablation: Ablation | None) -> dict[Key, float]:
        store = RowStore(None, "narrow", {})
        with ablated(model, ablation):
            list(evaluate(model, pairs, [Protocol()], Settings(("iou",)), store, mapper=mapper))
        return {key: row.scores.values["iou"] for key, row in store.rows.items()}

    part = Ablation("prompt_encoder", "zero")
    assert scores(Processes(1), part) == scores(in_line, part) != scores(in_line, None)
