"""The second look: where it looks, what it asks there, and how the answers are put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from fakes import FakeModel
from workshop import narrow_sam

from vns_sam.errors import UsageError
from vns_sam.images.windows import Window
from vns_sam.inference.predictor import Predictor
from vns_sam.sam.answers import MapAnswers
from vns_sam.sam.prompt_rows import row_geometry
from vns_sam.sam.second_look import Crop, look_again, move_into, plan_crops, wants_second_look
from vns_sam.types import PADDING_LABEL, ImageFeatures, ModelInfo, Prompts

HEIGHT, WIDTH = 300, 400
SURE = np.ones(1, np.float32)
"""The score of one answer that the model is sure of."""


def box(*corners: float) -> Prompts:
    return Prompts(boxes=np.array([corners], np.float32))


def nothing(count: int = 1) -> np.ndarray:
    return np.zeros((count, HEIGHT, WIDTH), bool)


def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def test_crops_are_squares_around_boxes_cut_at_the_rim() -> None:
    assert list(plan_crops(box(200, 100, 240, 120), nothing())) == [Crop(0, Window(80, 141, 190, 251))]
    assert list(plan_crops(box(0, 0, 40, 40), nothing())) == [Crop(0, Window(0, 51, 0, 51))]


def test_small_objects_get_a_crop_of_some_size_and_large_ones_none() -> None:
    assert list(plan_crops(box(200, 100, 200, 100), nothing())) == [Crop(0, Window(84, 117, 184, 217))]
    assert list(plan_crops(box(200, 150, 390, 290), nothing())) == [Crop(0, Window(77, 300, 152, 400))]
    assert not list(plan_crops(box(50, 10, 350, 290), nothing()))


def test_a_picture_of_one_column_is_not_looked_at_again() -> None:
    assert not list(plan_crops(box(0, 10, 1, 12), np.zeros((1, HEIGHT, 1), bool)))
    assert not list(plan_crops(box(10, 0, 12, 1), np.zeros((1, 1, WIDTH), bool)))
    assert list(plan_crops(box(0, 10, 1, 12), np.zeros((1, HEIGHT, 2), bool)))
    assert list(plan_crops(box(10, 0, 12, 1), np.zeros((1, 2, WIDTH), bool)))


@pytest.mark.parametrize("corners", [(500, 100, 510, 110), (100, 500, 110, 510)])
def test_a_box_beside_the_picture_is_not_looked_at_again(corners: tuple[float, ...]) -> None:
    assert not list(plan_crops(box(*corners), nothing()))


def test_without_a_box_the_mask_and_the_clicks_tell_where() -> None:
    found = nothing()
    found[0, 100:121, 200:241] = True
    points, labels = np.array([[[260, 110], [20, 20]]], np.float32), np.array([[1, 0]])
    (crop,) = plan_crops(Prompts(points=points, labels=labels), found)
    assert (crop.window.left + crop.window.right) // 2 == pytest.approx(230, abs=1)
    assert crop.window.left <= 200 < 260 < crop.window.right
    assert not list(plan_crops(Prompts(points=points, labels=labels), nothing()))


@pytest.mark.parametrize(("logit", "again"), [(0.0, False), (0.5, True)])
def test_what_was_found_is_above_0(logit: float, again: bool) -> None:
    found = np.full((1, HEIGHT, WIDTH), -1, np.float32)
    found[0, 100:121, 200:241] = logit
    points = Prompts(points=np.array([[[220, 110]]], np.float32), labels=np.array([[1]]))
    assert look_again(Constant(), picture(), points, found, SURE) is again


def test_a_row_whose_clicks_all_lie_outside_of_the_crop_is_not_asked_again() -> None:
    found = np.full((1, HEIGHT, WIDTH), -1, np.float32)
    found[0, 100:121, 200:241] = 1
    before = found.copy()
    background = Prompts(points=np.array([[[10, 10]]], np.float32), labels=np.array([[0]]))
    assert not look_again(FakeModel(), picture(), background, found, SURE)
    np.testing.assert_array_equal(found, before)


def test_prompts_move_into_their_crop() -> None:
    crop = Crop(1, Window(50, 120, 100, 200))
    prompts = Prompts(
        boxes=np.array([[0, 0, 9, 9], [110, 60, 250, 90]], np.float32),
        points=np.array([[[0, 0], [0, 0]], [[150, 60], [20, 60]]], np.float32),
        labels=np.array([[1, 1], [1, 0]]),
        masks=np.stack([np.zeros((HEIGHT, WIDTH)), np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH)]),
    )
    moved = move_into(prompts, crop)
    assert moved.boxes is not None
    assert moved.points is not None
    assert moved.labels is not None
    assert moved.masks is not None
    assert moved.boxes.tolist() == [[10, 10, 99, 40]]
    assert moved.points[0, 0].tolist() == [50, 10]
    assert moved.labels.tolist() == [[1, -1]]
    assert moved.masks.shape == (1, 70, 100)
    assert moved.masks[0, 0, 0] == 50 * WIDTH + 100


@pytest.mark.parametrize(
    ("click", "inside"),
    [
        ((100, 50), True),
        ((199, 119), True),
        ((199.6, 119.6), True),
        ((99.6, 50), False),
        ((200.2, 119), False),
        ((99, 50), False),
        ((100, 49), False),
        ((200, 119), False),
        ((199, 120), False),
    ],
)
def test_a_click_on_the_rim_of_a_crop_lies_inside(click: tuple[float, float], inside: bool) -> None:
    prompts = Prompts(points=np.array([[click]], np.float32), labels=np.array([[1]]))
    labels = move_into(prompts, Crop(0, Window(50, 120, 100, 200))).labels
    assert labels is not None
    assert labels.tolist() == [[1 if inside else PADDING_LABEL]]


def test_windows_along_a_line_lie_around_it() -> None:
    mask = nothing()
    mask[0, 150:152, 50:300] = True
    windows = [crop.window for crop in plan_crops(box(50, 150, 300, 152), mask)]
    assert {(window.top, window.bottom) for window in windows} == {(71, 231)}  # 160 rows, the line in their middle
    assert (windows[0].left, windows[-1].right) == (30, 320)  # an eighth of 160 beyond its ends


@pytest.mark.parametrize(("columns", "window"), [((394, 396), (240, 400)), ((4, 6), (0, 160))])
def test_windows_along_a_line_at_the_rim_are_moved_into_the_picture(
    columns: tuple[int, int], window: tuple[int, int]
) -> None:
    mask = nothing()
    mask[0, 20:280, slice(*columns)] = True
    crops = list(plan_crops(box(columns[0], 20, columns[1], 280), mask))
    assert {(crop.window.left, crop.window.right) for crop in crops} == {window}


class Constant(FakeModel):
    """Answers 1 everywhere, whatever it is asked."""

    tells_edges = False

    def decode(
        self, features: ImageFeatures, prompts: Sequence[Prompts], image_index: Sequence[int], **_: bool
    ) -> MapAnswers:
        scores, geometry = np.ones(len(prompts), np.float32), row_geometry(features, prompts, image_index)
        maps = torch.ones(len(prompts), 1, 16, 16)
        return MapAnswers(maps, scores, geometry, 0 * maps if self.tells_edges else None)


def test_answers_are_averaged_inside_the_crop_only() -> None:
    logits = np.full((2, HEIGHT, WIDTH), -4.0, np.float32)
    prompts = Prompts(boxes=np.array([[200, 100, 240, 120], [50, 10, 350, 290]], np.float32))
    model = Constant()
    look_again(model, picture(), prompts, logits, np.ones(2))
    inside = np.zeros((HEIGHT, WIDTH), bool)
    inside[80:141, 190:251] = True
    assert np.allclose(logits[0][inside], -1.5)
    assert np.all(logits[0][~inside] == -4)
    assert np.all(logits[1] == -4)
    assert model.encoded == [(61, 61, 3)]


class WithEdges(Constant):
    """And edges of one half."""

    tells_edges = True


def test_edges_are_averaged_too_and_may_be_left_out() -> None:
    logits, edges = np.full((1, HEIGHT, WIDTH), -4.0, np.float32), np.full((1, HEIGHT, WIDTH), 0.25, np.float32)
    look_again(WithEdges(), picture(), box(200, 100, 240, 120), logits, SURE, edges)
    inside = np.zeros((HEIGHT, WIDTH), bool)
    inside[80:141, 190:251] = True
    np.testing.assert_allclose(edges[0], np.where(inside, 0.375, 0.25), atol=1e-6)
    before = logits.copy()
    assert look_again(WithEdges(), picture(), box(200, 100, 240, 120), logits, SURE)
    assert (logits != before).any()


def line(thickness: int = 4) -> np.ndarray:
    """A bar down the middle of the picture, from rim to rim."""
    found = nothing()
    found[0, :, 200 : 200 + thickness] = True
    return found


def test_a_thin_object_is_followed_in_windows_that_overlap() -> None:
    prompts = box(0, 0, WIDTH - 1, HEIGHT - 1)
    crops = list(plan_crops(prompts, line()))
    seen = np.zeros((HEIGHT, WIDTH), int)
    for crop in crops:
        seen[crop.window.index] += 1
        assert crop.thin == (200, crop.window.top, 204, crop.window.bottom)
        assert crop.window.shape == (160, 160)
    assert seen[line()[0]].min() >= 1
    assert seen.max() >= 2
    assert not list(plan_crops(prompts, line(thickness=40)))
    assert len(list(plan_crops(prompts, line(thickness=12)))) > 1  # 14 of 400 pixels are thin


def test_a_short_line_is_looked_at_whole() -> None:
    mask = nothing()
    mask[0, 150:152, 150:240] = True
    (crop,) = plan_crops(box(150, 150, 240, 152), mask)
    assert crop.thin is None


def test_a_band_across_the_picture_is_as_wide_as_its_own_pixels_say() -> None:
    band = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.line(band, (60, 20), (340, 280), 1, thickness=24)
    assert not list(plan_crops(box(0, 0, WIDTH - 1, HEIGHT - 1), band[None] > 0))
    cv2.line(band, (60, 20), (340, 280), 0, thickness=16)
    assert list(plan_crops(box(0, 0, WIDTH - 1, HEIGHT - 1), band[None] > 0))


def test_windows_that_hold_nothing_of_it_are_left_out() -> None:
    found = line()
    found[0, 100:104, 200:] = True
    crops = list(plan_crops(box(0, 0, WIDTH - 1, HEIGHT - 1), found))
    assert all(found[0][crop.window.index].any() for crop in crops)
    assert not any(crop.window.right <= 200 for crop in crops)


def test_a_thin_object_is_asked_for_by_what_was_found_of_it_within_the_box() -> None:
    crop = Crop(0, Window(100, 200, 100, 200), thin=(150, 100, 160, 200))
    (boxes,) = (move_into(box(0, 120, 155, 400), crop).boxes,)
    assert boxes is not None
    assert boxes.tolist() == [[50, 20, 55, 99]]
    away = box(0, 0, 120, 120)
    assert move_into(away, crop).boxes.tolist() == [[0, 0, 20, 20]]  # type: ignore[union-attr]
    touching = box(110, 120, 150, 180)
    assert move_into(touching, crop).boxes.tolist() == [[10, 20, 50, 80]]  # type: ignore[union-attr]
    points = Prompts(points=np.array([[[155, 110]]], np.float32), labels=np.array([[1]]))
    near, far = move_into(points, crop), move_into(points, Crop(0, Window(150, 250, 100, 200), (150, 150, 160, 250)))
    assert near.points is not None
    assert near.points.tolist() == [[[55, 10]]]
    assert far.points is None
    assert far.boxes is not None


def test_windows_and_the_first_answer_to_a_thin_object_count_alike() -> None:
    first = np.where(line(), 6.0, -4.0).astype(np.float32)
    logits, edges = first.copy(), np.full_like(first, 0.25)
    look_again(Constant(), picture(), box(0, 0, WIDTH - 1, HEIGHT - 1), logits, SURE, edges)
    windows = np.zeros((HEIGHT, WIDTH), np.float32)
    for crop in plan_crops(box(0, 0, WIDTH - 1, HEIGHT - 1), line()):
        windows[crop.window.index] += 1
    assert windows.max() > 1
    assert np.allclose(logits[0], (first[0] + windows) / (1 + windows))
    assert np.all(edges == 0.25)


@pytest.mark.parametrize(("score", "share"), [(1.0, 0.5), (0.25, 0.8), (0.0, 1 / 1.01), (-0.3, 1 / 1.01), (1.7, 0.5)])
def test_each_answer_counts_by_the_iou_that_is_expected_of_it(score: float, share: float) -> None:
    logits = np.full((1, HEIGHT, WIDTH), -4.0, np.float32)
    look_again(Constant(), picture(), box(200, 100, 240, 120), logits, np.array([score]))
    assert logits.max() == pytest.approx(1 * share - 4 * (1 - share))
    assert logits.min() == -4


def test_objects_do_not_depend_on_their_company() -> None:
    predictor = Predictor(narrow_sam(), second_look="on")
    predictor.set_image(picture())
    boxes = [[10 + 30 * k, 40, 40 + 30 * k, 80] for k in range(7)]
    together = predictor.predict(boxes=boxes).logits
    alone = np.concatenate([predictor.predict(boxes=[given]).logits for given in boxes])
    assert np.abs(together - alone).max() < 1e-4


def test_a_second_look_changes_small_objects_and_leaves_large_ones() -> None:
    model = narrow_sam()
    once, twice = Predictor(model, second_look="off"), Predictor(model, second_look="on")
    for predictor in (once, twice):
        predictor.set_image(picture())
    small, large = [[10, 10, 50, 50]], [[10, 10, 390, 290]]
    assert not np.allclose(once.predict(boxes=small).logits, twice.predict(boxes=small).logits)
    assert np.array_equal(once.predict(boxes=large).logits, twice.predict(boxes=large).logits)


def test_small_models_want_it_by_default() -> None:
    model = narrow_sam()
    assert wants_second_look(model.info, "auto")
    assert not wants_second_look(model.info, "off")
    assert not wants_second_look(replace(FakeModel().info, input_side=1024), "auto")
    assert wants_second_look(FakeModel().info, "on")
    assert wants_second_look(replace(model.info, look_again="first"), "auto")
    assert not wants_second_look(replace(model.info, look_again="itself"), "auto")


@pytest.mark.parametrize(("asked", "message"), [("on", "cannot be asked about one object"), (True, "auto, on or off")])
def test_a_second_look_that_cannot_be(asked: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        wants_second_look(ModelInfo("all", "all", frozenset(), look_again="never"), asked)
