from __future__ import annotations

import numpy as np
import pytest

from vns_sam.images.overlay import colour_of, draw_overlay
from vns_sam.types import Prompts, cut_out


@pytest.mark.parametrize("side", [1, 7, 64, 900])
def test_any_size_is_drawn_and_the_picture_is_left_alone(side: int) -> None:
    image = np.full((side, side, 3), 100, np.uint8)
    mask = np.zeros((2, side, side), bool)
    mask[0, : side // 2 + 1] = True
    prompts = Prompts(
        boxes=np.float32([[0, 0, side, side]] * 2),
        points=np.full((2, 2, 2), side / 2, np.float32),
        labels=np.array([[1, 0], [1, -1]]),
    )
    overlay = draw_overlay(image, [cut_out(one) for one in mask], prompts, edges=np.zeros((2, side, side), np.float32))
    assert overlay.shape == image.shape
    assert overlay.dtype == np.uint8
    assert (image == 100).all()
    assert (overlay != 100).any()


def test_object_and_background_are_told_apart() -> None:
    image = np.full((200, 200, 3), 100, np.uint8)
    mask = np.zeros((1, 200, 200), bool)
    mask[0, 50:150, 50:150] = True
    overlay = draw_overlay(image, [cut_out(mask[0])])
    assert overlay[5, 5].tolist() == [72, 72, 72]
    expected = 0.7 * 100 + 0.3 * np.array(colour_of(0))
    np.testing.assert_allclose(overlay[100, 100], expected, atol=1)


def test_colours_are_distinct() -> None:
    assert len({colour_of(index) for index in range(40)}) == 40
