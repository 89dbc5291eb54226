"""Prompts of an evaluation: they depend on seed, set and picture, and on nothing else."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from vns_sam.errors import DataError, UsageError
from vns_sam.evaluation.protocol import Protocol, draw_prompt, parse_protocols


def disk() -> np.ndarray:
    return cv2.circle(np.zeros((48, 64), np.uint8), (30, 20), 12, 1, -1).astype(bool)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("box", [Protocol("box")]),
        ("noise-box", [Protocol("noise-box")]),
        ("points", [Protocol("points", 10)]),
        ("points:3", [Protocol("points", 3)]),
        ("points:2-4", [Protocol("points", 2), Protocol("points", 3), Protocol("points", 4)]),
        ("mask", [Protocol("mask")]),
        ("image", [Protocol("image")]),
        ("clicks", [Protocol("clicks", 20)]),
        ("clicks:5", [Protocol("clicks", 5)]),
    ],
)
def test_protocols_are_read_and_written(text: str, expected: list[Protocol]) -> None:
    assert parse_protocols([text]) == expected
    assert parse_protocols([str(protocol) for protocol in expected]) == expected
    assert {protocol.seed for protocol in parse_protocols([text], seed=7)} == {7}


def test_a_protocol_named_twice_counts_once() -> None:
    assert parse_protocols(["points:1-2", "box", "points:2", "points:10", "points"]) == [
        Protocol("points", 1),
        Protocol("points", 2),
        Protocol("box"),
        Protocol("points", 10),
    ]


@pytest.mark.parametrize("text", ["", "boxes", "points:-1", "points:x", "points:", " box", "points:3-"])
def test_unknown_protocols_are_named(text: str) -> None:
    with pytest.raises(UsageError, match=f"unknown prompt '{text}'"):
        parse_protocols([text])


@pytest.mark.parametrize(
    ("text", "says"), [("box:3", "takes no count"), ("points:0", "from 1"), ("points:4-2", "from 1")]
)
def test_counts_that_make_no_sense_are_refused(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        parse_protocols([text])


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


def test_more_points_contain_the_fewer() -> None:
    one, four = (draw_prompt(disk(), Protocol("points", count), "a").points for count in (1, 4))
    assert one is not None
    assert four is not None
    assert np.array_equal(one, four[:, :1])


def test_the_box_of_the_image_tells_nothing() -> None:
    box = draw_prompt(np.zeros((48, 64), bool), Protocol("image"), "a").boxes
    assert box is not None
    assert box.tolist() == [[0, 0, 63, 47]]


def test_coarse_masks_differ_from_the_truth_along_the_contour_only() -> None:
    truth = np.zeros((300, 400), bool)
    truth[100:200, 150:300] = True
    coarse = draw_prompt(truth, Protocol("mask"), "a").masks
    assert coarse is not None
    assert coarse.shape == (1, 300, 400)
    wrong = (coarse[0] > 0.5) != truth
    near = cv2.dilate(truth.astype(np.uint8), np.ones((41, 41))) - cv2.erode(truth.astype(np.uint8), np.ones((41, 41)))
    assert wrong.any()
    assert not wrong[near == 0].any()


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


@pytest.mark.parametrize("kind", ["box", "noise-box", "points", "mask", "clicks"])
def test_nothing_can_be_asked_of_an_empty_mask(kind: str) -> None:
    with pytest.raises(DataError, match="disks/009: the true mask is empty"):
        draw_prompt(np.zeros((8, 8), bool), parse_protocols([kind])[0], "disks/009")
