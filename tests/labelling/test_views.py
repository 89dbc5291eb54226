from itertools import combinations

import numpy as np
import pytest
import torch

from vns_sam.images.geometry import fit
from vns_sam.labelling.views import View, usable, views
from vns_sam.sam.answers import MapAnswers
from vns_sam.types import Prompts

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(("preset", "count"), [("none", 1), ("flip", 2), ("d4", 8), ("ws12", 12), ("full24", 24)])
def test_views_are_distinct_and_start_with_the_picture_itself(preset: str, count: int) -> None:
    image = RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)
    seen = [view.image(image) for view in views(preset)]
    assert len(seen) == count
    assert (seen[0] == image).all()
    for one, other in combinations(seen, 2):
        assert one.shape != other.shape or (one != other).any()


def test_the_twelve_have_each_scale_four_times_and_six_mirrors() -> None:
    twelve = views("ws12")
    assert sorted(view.scale for view in twelve) == [0.5] * 4 + [1.0] * 4 + [2.0] * 4
    assert sum(view.flip for view in twelve) == 6


@pytest.mark.parametrize("view", views("d4"), ids=str)
@pytest.mark.parametrize("shape", [(5, 8), (7, 7), (1, 3)])
def test_turning_there_and_back_changes_no_bit(view: View, shape: tuple[int, int]) -> None:
    values = RNG.random(shape, np.float32)
    assert (view.turn_back(view.turn(values)) == values).all()


@pytest.mark.parametrize("view", views("d4"), ids=str)
def test_raw_maps_come_back_without_a_changed_bit(view: View) -> None:
    values = RNG.standard_normal((12, 16)).astype(np.float32)
    turned = np.zeros((16, 16), np.float32)
    height, width = view.size(12, 16)
    turned[:height, :width] = view.turn(values)
    answers = MapAnswers(torch.from_numpy(turned)[None, None], np.ones(1, np.float32), (fit(height, width, 16),))
    back = view.turn_back(answers.logits(0, view.turned_size(12, 16)))
    assert (back == values).all()


@pytest.mark.parametrize("view", views("full24"), ids=str)
def test_points_stay_on_their_pixel(view: View) -> None:
    image = np.arange(10 * 16, dtype=np.uint8).reshape(10, 16, 1).repeat(3, axis=2)
    points = np.array([[[0, 0], [15, 9], [3, 7], [12, 1]]], np.float32)
    seen = image if view.scale == 1 else image.repeat(2, 0).repeat(2, 1)
    if view.scale == 0.5:
        seen = image[::2, ::2]
        points = points // 2 * 2
    moved = view.prompts(Prompts(points=points, labels=np.ones((1, 4))), 10, 16)
    for (x, y), (u, v) in zip(points[0].astype(int), moved.points[0], strict=True):
        assert view.turn(seen)[int(np.floor(v + 0.49)), int(np.floor(u + 0.49)), 0] == image[y, x, 0]


@pytest.mark.parametrize("view", views("full24"), ids=str)
def test_boxes_stay_around_their_object(view: View) -> None:
    mask = np.zeros((20, 30), np.uint8)
    mask[4:10, 6:24] = 1
    seen = view.turn(mask if view.scale == 1 else mask[::2, ::2] if view.scale < 1 else mask.repeat(2, 0).repeat(2, 1))
    (box,) = view.prompts(Prompts(boxes=np.array([[6, 4, 24, 10]], np.float32)), 20, 30).boxes
    ys, xs = np.nonzero(seen)
    assert box.tolist() == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]


def test_huge_pictures_are_not_enlarged() -> None:
    assert len(usable(views("ws12"), 2048, 100)) == 12
    assert {view.scale for view in usable(views("ws12"), 2049, 100)} == {1.0, 0.5}
    assert len(usable(views("ws12"), 9000, 9000)) == 8
