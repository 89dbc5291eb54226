"""Measuring: prompts that depend on the picture only, and scores that a perfect model gets in full."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from fakes import SIDE, FakeModel
from workshop import write_disks

from vns_sam.data.pairs import Pair, find_pairs
from vns_sam.errors import DataError, UsageError
from vns_sam.evaluation.protocol import Protocol, Row, draw_prompt, evaluate, parse_protocol, scored_pairs
from vns_sam.types import DecoderOutput, ImageFeatures, Prompts


class Oracle(FakeModel):
    """Marks what is bright in the picture: the disk, all of it or its left half, or nothing."""

    def __init__(self, share: float = 1.0) -> None:
        super().__init__()
        self.share = share
        self.bright = np.zeros((SIDE, SIDE), bool)
        self.asked: list[Prompts] = []

    def encode(self, images: Sequence[np.ndarray]) -> ImageFeatures:
        found = images[0].min(axis=2) > 110
        xs = np.flatnonzero(found.any(axis=0))
        if self.share < 1:
            found[:, xs[0] + int(self.share * len(xs)) :] = False
        self.bright = np.pad(found, ((0, SIDE - found.shape[0]), (0, SIDE - found.shape[1])))
        return super().encode(images)

    def decode(self, features: ImageFeatures, prompts: Sequence[Prompts], image_index: Sequence[int]) -> DecoderOutput:
        self.asked += prompts
        logits = torch.from_numpy(self.bright)[None, None].float() * 10 - 5
        return DecoderOutput(logits, torch.ones(1))


@pytest.fixture(scope="module")
def disks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_disks(tmp_path_factory.mktemp("sets") / "disks", 6)


def score(model: FakeModel, pairs: Sequence[Pair], *protocols: Protocol) -> list[Row]:
    return [row for rows in evaluate(model, pairs, protocols or [Protocol()]) for row in rows]


def disk() -> np.ndarray:
    return cv2.circle(np.zeros((48, 64), np.uint8), (30, 20), 12, 1, -1).astype(bool)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("box", Protocol("box")),
        ("noise-box", Protocol("noise-box")),
        ("points", Protocol("points", 10)),
        ("points:3", Protocol("points", 3)),
    ],
)
def test_protocols_are_read_and_written(text: str, expected: Protocol) -> None:
    assert parse_protocol(text) == expected
    assert parse_protocol(str(expected)) == expected
    assert parse_protocol(text, seed=7).seed == 7


@pytest.mark.parametrize("text", ["", "boxes", "box:3", "points:0", "points:-1", "points:x", "points:", " box", "mask"])
def test_unknown_protocols_are_named(text: str) -> None:
    with pytest.raises(UsageError, match=f"unknown prompt '{text}'"):
        parse_protocol(text)


def test_box_is_tight_and_points_lie_on_the_object() -> None:
    box = draw_prompt(disk(), Protocol("box"), "disks/001").boxes
    assert box is not None
    assert box.tolist() == [[18, 8, 42, 32]]
    prompt = draw_prompt(disk(), Protocol("points", 5), "disks/001")
    assert prompt.points is not None
    assert prompt.labels is not None
    x, y = prompt.points[0].astype(int).T
    assert disk()[y, x].all()
    assert prompt.labels.tolist() == [[1] * 5]


def test_noisy_boxes_move_by_a_tenth_at_most_and_stay_inside() -> None:
    mask = np.ones((30, 64), bool)
    for key in map(str, range(50)):
        box = draw_prompt(mask, Protocol("noise-box"), key).boxes
        assert box is not None
        assert np.all(np.abs(box[0] - [0, 0, 63, 29]) <= np.array([6.3, 2.9, 6.3, 2.9]) + 1e-4)
        assert box.min() >= 0
        assert np.all(box[0, 2:] <= [63, 29])


def test_prompts_depend_on_seed_set_and_picture() -> None:
    def drawn(key: str, seed: int = 0) -> list[float]:
        points = draw_prompt(disk(), Protocol("points", 3, seed), key).points
        assert points is not None
        return points.flatten().tolist()

    first = drawn("disks/001")
    others = [drawn("disks/002"), drawn("more/001"), drawn("disks/001", seed=1)]
    assert drawn("disks/001") == first
    assert first not in others


def test_fewer_points_where_the_object_has_fewer_pixels() -> None:
    mask = np.zeros((8, 8), bool)
    mask[2, 3:5] = True
    points = draw_prompt(mask, Protocol("points"), "a").points
    assert points is not None
    assert sorted(points[0].tolist()) == [[3, 2], [4, 2]]


def test_nothing_can_be_asked_of_an_empty_mask() -> None:
    with pytest.raises(DataError, match="disks/009: the true mask is empty"):
        draw_prompt(np.zeros((8, 8), bool), Protocol(), "disks/009")


def test_a_perfect_model_scores_one_with_every_prompt(disks: Path) -> None:
    model = Oracle()
    rows = score(model, find_pairs(disks), *map(parse_protocol, ("box", "noise-box", "points:3")))
    expected = [("disks", f"{i:03d}", prompt) for i in range(6) for prompt in ("box", "noise-box", "points:3")]
    assert [(row.dataset, row.stem, row.prompt) for row in rows] == expected
    assert {(row.iou, row.biou) for row in rows} == {(1, 1)}
    assert all(row.seconds > 0 for row in rows)
    assert len(model.encoded) == 6


def test_half_an_object_scores_half_and_nothing_scores_zero(disks: Path) -> None:
    half = [row.iou for row in score(Oracle(0.5), find_pairs(disks))]
    assert half == pytest.approx([0.5] * 6, abs=0.06)
    assert [row.iou for row in score(Oracle(0), find_pairs(disks))] == [0] * 6


def test_order_of_the_pictures_does_not_matter(disks: Path) -> None:
    pairs = find_pairs(disks)
    forth, back = Oracle(), Oracle()
    first = [row.stem for row in score(forth, pairs, Protocol("points", 2))]
    second = [row.stem for row in score(back, pairs[::-1], Protocol("points", 2))]
    assert first == second[::-1]
    for a, b in zip(forth.asked, back.asked[::-1], strict=True):
        assert a.points is not None
        assert b.points is not None
        assert np.array_equal(a.points, b.points)


def test_mask_of_another_size_is_refused(tmp_path: Path) -> None:
    folder = write_disks(tmp_path / "disks", 1)
    cv2.imwrite(str(folder / "masks" / "000.png"), np.full((24, 32), 255, np.uint8))
    with pytest.raises(DataError, match=r"000\.png: mask is 32 x 24, its picture 64 x 48"):
        score(Oracle(), find_pairs(folder))


def test_only_the_test_list_is_scored(tmp_path: Path) -> None:
    folder = write_disks(tmp_path / "disks", 3)
    assert len(scored_pairs(folder)) == 3
    (folder / "test.txt").write_text("002\n")
    assert [pair.stem for pair in scored_pairs(folder)] == ["002"]


def test_a_broken_test_list_does_not_score_the_training_pictures(tmp_path: Path) -> None:
    folder = write_disks(tmp_path / "disks", 3)
    (folder / "test.txt").write_text("002\n009\n")
    with pytest.raises(DataError, match="'009'"):
        scored_pairs(folder)
