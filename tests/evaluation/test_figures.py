from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vns_sam.errors import DataError
from vns_sam.evaluation.figures import FOUND, MISSED, TRUTH, WRONG, Case, side_by_side, worst_cases
from vns_sam.images.tiles import PROMPT, Tile, View, grid, outline
from vns_sam.types import Prompts

RED, BLUE = (200, 0, 0), (0, 0, 200)


def plain(height: int, width: int, colour: tuple[int, int, int] = (90, 90, 90)) -> np.ndarray:
    return np.full((height, width, 3), colour, np.uint8)


def places(picture: np.ndarray, colour: tuple[int, int, int], *, tolerance: int = 0) -> np.ndarray:
    """Where a picture has a colour: (n, 2) as row, column."""
    return np.argwhere((np.abs(picture.astype(int) - colour) <= tolerance).all(axis=-1))


def case(name: str = "set/one", score: float = 0.5, colour: tuple[int, int, int] = (90, 90, 90)) -> Case:
    """Truth is the left half of the middle, found its lower half and as much below it."""
    truth, found = np.zeros((2, 80, 120), bool)
    truth[20:60, 20:60] = True
    found[40:80, 20:60] = True
    prompt = Prompts(boxes=np.float32([[20, 20, 60, 60]]))
    return Case(name, plain(80, 120, colour), truth, prompt, {"a": found, "b": truth}, {}, {"a": score, "b": 1.0})


def test_grid_keeps_aspects_and_order() -> None:
    drawn = grid([[Tile(plain(50, 100, RED)), Tile(plain(300, 100, BLUE), "tall\nand thin")]], cell=90)
    red, blue = places(drawn, RED), places(drawn, BLUE)
    assert (np.ptp(red, axis=0) + 1).tolist() == [45, 90]
    assert (np.ptp(blue, axis=0) + 1).tolist() == [90, 30]
    assert red[:, 1].max() < blue[:, 1].min()
    assert red[:, 0].max() == blue[:, 0].max()


def test_grid_writes_titles_above_and_captions_below() -> None:
    bare = grid([[Tile(plain(60, 60, RED))]], cell=60)
    full = grid([[Tile(plain(60, 60, RED), "caption " * 40)]], cell=60, titles=["title"])
    rows = places(full, RED)[:, 0]
    ink = np.argwhere((full < 128).all(axis=-1))
    assert full.shape[1] == bare.shape[1]
    assert (ink[:, 0] < rows.min()).any()
    assert (ink[:, 0] > rows.max()).any()
    assert (full[:2] == 255).all()
    assert (full[-2:] == 255).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 4000), (3000, 2), (2400, 3200)])
def test_pictures_of_any_size_fit(size: tuple[int, int]) -> None:
    mask = np.ones(size, bool)
    prompt = Prompts(points=np.float32([[[0, 0]]]), labels=np.array([[1]]))
    one = Case("set/one", plain(*size), mask, prompt, {"a": mask}, {"a": mask.astype(np.float32)}, {"a": 1.0})
    assert max(worst_cases([one], "a").shape) < 600
    assert max(side_by_side([one], ["a"]).shape) < 1600


def test_a_line_of_one_pixel_survives_reduction() -> None:
    mask = np.zeros((3000, 4000), bool)
    mask[:, 1501] = True
    view = View(plain(3000, 4000))
    canvas = view.image.copy()
    view.draw_outline(canvas, mask, TRUTH)
    assert len(set(places(canvas, TRUTH)[:, 0])) == canvas.shape[0]


def test_outline_leaves_the_picture_alone() -> None:
    image, mask = plain(40, 40), np.zeros((40, 40), bool)
    mask[10:30, 10:30] = True
    drawn = outline(image, mask, RED)
    assert (image == 90).all()
    assert (drawn[20, 10] == RED).all()
    assert (drawn[20, 20] == 90).all()


def test_the_worst_case_comes_first() -> None:
    cases = [case("set/good", 0.9, (200, 180, 180)), case("set/bad", 0.1, (180, 180, 200))]
    sheet = worst_cases(cases, "a")
    good, bad = places(sheet, (200, 180, 180)), places(sheet, (180, 180, 200))
    assert bad[:, 1].max() < good[:, 1].min()
    for colour in (TRUTH, PROMPT, FOUND):
        assert len(places(sheet, colour, tolerance=40)) > 50


def test_prompts_and_masks_lie_where_they_do_in_the_picture() -> None:
    view = View(plain(80, 120), cell=180)
    canvas = view.image.copy()
    view.draw_prompts(canvas, Prompts(boxes=np.float32([[30, 20, 90, 60]])))
    box = places(canvas, PROMPT, tolerance=60)
    np.testing.assert_allclose([*box.min(axis=0), *box.max(axis=0)], [60, 90, 180, 270], atol=4)


def test_hits_errors_and_misses_are_told_apart() -> None:
    row = side_by_side([case()], ["a", "b"])
    body = row[60:]
    wrong, missed = places(body, WRONG), places(body, MISSED)
    half = 40 * 20 * (320 / 120) ** 2
    assert len(wrong) == pytest.approx(half, rel=0.1)
    assert len(missed) == pytest.approx(half, rel=0.1)
    assert wrong[:, 0].min() > missed[:, 0].max()


def test_edges_have_a_column_where_a_model_has_them() -> None:
    without = case()
    with_edges = replace(without, edges={"b": np.ones((80, 120), np.float32)})
    narrow, wide = (side_by_side(cases, ["a", "b"]) for cases in ([without], [without, with_edges]))
    assert wide.shape[1] > narrow.shape[1] + 300


def test_a_coarse_mask_and_clicks_are_drawn() -> None:
    mask = np.zeros((1, 80, 120), np.float32)
    mask[0, 30:50, 40:80] = 1
    prompt = Prompts(points=np.float32([[[60, 40], [5, 5]]]), labels=np.array([[1, 0]]), masks=mask)
    drawn, plainly = (side_by_side([replace(case(), prompt=p)], ["a"]) for p in (prompt, case().prompt))
    assert (drawn != plainly).any()


@pytest.mark.parametrize("draw", [lambda: grid([]), lambda: worst_cases([], "a"), lambda: side_by_side([], ["a"])])
def test_nothing_to_draw_is_an_error(draw: object) -> None:
    with pytest.raises(DataError, match="found none"):
        draw()  # type: ignore[operator]


def test_a_model_without_masks_is_named() -> None:
    with pytest.raises(DataError, match=r"set/one: expected a mask and a score of 'c', found those of: a, b"):
        worst_cases([case()], "c")


@pytest.mark.parametrize("field", ["truth", "found", "edges"])
def test_another_size_is_an_error(field: str) -> None:
    values = np.zeros((80, 121), bool)
    with pytest.raises(DataError, match=r"is 121 x 80, its picture 120 x 80"):
        replace(case(), **{field: values if field == "truth" else {"a": values}})
