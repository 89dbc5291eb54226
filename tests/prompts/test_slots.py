"""Prompts for training: true to the mask they are drawn from, whatever its shape."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vns_sam.prompts.slots import (
    PROMPT_SLOTS,
    Slot,
    coarse_mask,
    draw_clicks,
    draw_prompt,
    jitter_box,
    plan_slots,
    tight_box,
)

SIDE = 64
FULL = Slot(box=True, points=4, mask=True)
ANY_MASK = arrays(bool, (16, 16), elements=st.booleans()).filter(np.any)


def block(top: int, bottom: int, left: int, right: int) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), bool)
    mask[top:bottom, left:right] = True
    return mask


def rngs(count: int) -> list[np.random.Generator]:
    return [np.random.default_rng(seed) for seed in range(count)]


SHAPES = {
    "one pixel": block(30, 31, 40, 41),
    "a corner pixel": block(63, 64, 0, 1),
    "a line": block(12, 13, 0, 64),
    "two parts": block(2, 9, 2, 9) | block(50, 60, 40, 64),
    "everything": block(0, 64, 0, 64),
}


@pytest.mark.parametrize(
    ("mask", "box"),
    [
        (SHAPES["one pixel"], [40, 30, 40, 30]),
        (SHAPES["two parts"], [2, 2, 63, 59]),
        (SHAPES["everything"], [0, 0, 63, 63]),
    ],
    ids=["one pixel", "two parts", "everything"],
)
def test_tight_box_ends_on_the_outermost_pixels(mask: np.ndarray, box: list[int]) -> None:
    found = tight_box(mask)
    assert found.dtype == np.float32
    assert found.tolist() == box


def test_half_of_the_boxes_move_a_little() -> None:
    box = np.array([10, 20, 49, 39], np.float32)
    moves = np.array([jitter_box(box, SIDE, rng) - box for rng in rngs(2000)])
    still = (moves == 0).all(axis=1)
    assert 0.45 < still.mean() < 0.55
    spread = moves[~still].std(axis=0)
    assert spread == pytest.approx([2, 1, 2, 1], rel=0.1)  # 5 % of 40 x 20 pixels


def test_boxes_stay_ordered_inside_the_picture_and_near() -> None:
    side = 1024
    for box in ([0, 0, 1023, 1023], [5, 5, 5, 5], [0, 1000, 3, 1023]):
        tight = np.array(box, np.float32)
        for rng in rngs(200):
            moved = jitter_box(tight, side, rng)
            assert moved.dtype == np.float32
            assert np.all(np.abs(moved - tight) <= 20)
            assert np.all(moved[:2] <= moved[2:])
            assert moved.min() >= 0
            assert moved.max() <= side - 1


@settings(max_examples=60, deadline=None)
@given(mask=ANY_MASK, count=st.integers(1, 10), seed=st.integers(0, 99))
def test_labels_of_clicks_are_those_of_the_mask(mask: np.ndarray, count: int, seed: int) -> None:
    points, labels = draw_clicks(mask, count, None, np.random.default_rng(seed))
    x, y = points.astype(int).T
    assert points.shape == (count, 2)
    assert points.dtype == np.float32
    assert labels.dtype == np.int64
    assert np.array_equal(labels == 1, mask[y, x])
    assert labels[0] == 1


def test_first_click_is_often_deep_and_background_clicks_are_near() -> None:
    mask = block(10, 50, 10, 50)
    drawn = [draw_clicks(mask, 7, None, rng) for rng in rngs(300)]
    first = np.array([points[0] for points, _ in drawn])
    deep = np.abs(first - 29.5).max(axis=1) < 9
    assert 0.45 < deep.mean() < 0.75  # half on purpose, and a fifth of the rest by chance
    points = np.concatenate([points[1:] for points, _ in drawn])
    background = np.concatenate([labels[1:] for _, labels in drawn]) == 0
    assert 0.12 < background.mean() < 0.21
    assert np.all((points[background] >= 2) & (points[background] <= 57))


@pytest.mark.parametrize(("error", "label"), [(block(10, 20, 40, 44), 1), (block(60, 64, 0, 5), 0)])
def test_first_click_corrects_the_error(error: np.ndarray, label: int) -> None:
    mask = block(10, 30, 30, 50)
    for rng in rngs(30):
        points, labels = draw_clicks(mask, 3, error, rng)
        x, y = points[0].astype(int)
        assert error[y, x]
        assert labels[0] == label


def test_without_an_error_the_first_click_lies_on_the_object() -> None:
    mask = block(10, 30, 30, 50)
    assert all(draw_clicks(mask, 1, np.zeros_like(mask), rng)[1].tolist() == [1] for rng in rngs(20))


@settings(max_examples=100, deadline=None)
@given(mask=ANY_MASK, seed=st.integers(0, 99))
def test_coarse_mask_is_never_empty(mask: np.ndarray, seed: int) -> None:
    coarse = coarse_mask(mask, np.random.default_rng(seed))
    assert coarse.dtype == bool
    assert coarse.shape == mask.shape
    assert coarse.any()


def test_coarse_mask_is_wrong_but_not_far_off() -> None:
    mask = cv2.circle(np.zeros((SIDE, SIDE), np.uint8), (30, 34), 18, 1, -1).astype(bool)
    coarse = [coarse_mask(mask, rng) for rng in rngs(100)]
    overlap = np.array([(c & mask).sum() / (c | mask).sum() for c in coarse])
    assert overlap.min() > 0.4
    assert 0.8 < overlap.mean() < 0.97
    assert (overlap == 1).mean() < 0.1


@pytest.mark.parametrize("mask", SHAPES.values(), ids=SHAPES.keys())
def test_prompt_has_what_its_slot_has_for_any_mask(mask: np.ndarray) -> None:
    for rng in rngs(30):
        prompt = draw_prompt(mask, FULL, rng)
        assert {key: (value.shape, value.dtype.name) for key, value in prompt.items()} == {
            "box": ((4,), "float32"),
            "points": ((4, 2), "float32"),
            "labels": ((4,), "int64"),
            "mask": ((SIDE // 4, SIDE // 4), "float32"),
        }
        assert prompt["mask"].max() > 0
        assert prompt["mask"].min() >= 0
        assert prompt["mask"].max() <= 1
        x, y = prompt["points"].astype(int).T
        assert np.array_equal(mask[y, x], prompt["labels"] == 1)


@pytest.mark.parametrize(
    ("slot", "keys"),
    [(Slot(box=True), {"box"}), (Slot(points=2), {"points", "labels"}), (Slot(mask=True), {"mask"})],
)
def test_prompt_has_no_more_than_its_slot(slot: Slot, keys: set[str]) -> None:
    assert set(draw_prompt(SHAPES["two parts"], slot, np.random.default_rng(0))) == keys


def test_steps_ask_with_a_box_with_clicks_and_in_another_way() -> None:
    plans = [plan_slots(rng) for rng in rngs(300)]
    assert all(len(plan) == PROMPT_SLOTS for plan in plans)
    assert {plan[0] for plan in plans} == {Slot(box=True)}
    assert {plan[1] for plan in plans} == {Slot(points=n) for n in (1, 2, 3, 4, 5, 7, 10)}
    assert {(p.box, p.points, p.mask) for p in (plan[2] for plan in plans)} == {
        (True, 0, False),
        (True, 1, False),
        (True, 2, False),
        (True, 3, False),
        (False, 0, True),
        (False, 1, True),
    }
