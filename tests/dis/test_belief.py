"""Which of two masks is believed: the picture's edges decide."""

from __future__ import annotations

import numpy as np
import pytest

from vns_sam.dis import belief
from vns_sam.dis.belief import is_believed

SIDE = 96


def square(first: int, last: int) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), bool)
    mask[first:last, first:last] = True
    return mask


def picture(mask: np.ndarray) -> np.ndarray:
    """A bright object on a dark ground."""
    return np.where(mask[..., None], 200, 60).astype(np.uint8).repeat(3, axis=2)


def believed(truth: np.ndarray, coarse: np.ndarray, found: np.ndarray, sure: float = 1.0, rest: float = 0.0) -> bool:
    """With an alpha of ``sure`` in the refined mask, and of ``rest`` in what it leaves out of the coarse one."""
    alpha = np.where(found, np.float32(sure), np.where(coarse, np.float32(rest), np.float32(0)))
    return is_believed(picture(truth), coarse, alpha, found)


def test_a_mask_on_the_objects_edges_is_and_one_beside_them_is_not() -> None:
    right, beside = square(20, 70), square(26, 76)
    assert believed(right, coarse=beside, found=right)
    assert not believed(right, coarse=right, found=beside)


def test_the_same_mask_again_is() -> None:
    assert believed(square(20, 70), square(24, 66), square(24, 66))


@pytest.mark.parametrize(("sure", "taken"), [(0.89, False), (0.91, True)])
def test_an_answer_that_denies_most_of_the_object_is_not(sure: float, taken: bool) -> None:
    assert believed(square(20, 70), square(26, 76), square(20, 70), sure) is taken


def test_a_hollowed_object_is_not() -> None:
    whole = square(20, 70)
    assert not believed(whole, coarse=whole, found=whole & ~square(30, 60))


def wheel() -> np.ndarray:
    """Spokes of two pixels."""
    mask = np.zeros((SIDE, SIDE), bool)
    mask[20:70, 20:70:10] = mask[20:70, 21:70:10] = True
    mask[20:70:10, 20:70] = mask[21:70:10, 20:70] = True
    return mask


def test_a_filled_grid_that_becomes_its_bars_is_though_it_is_less_sure() -> None:
    assert believed(wheel(), coarse=square(20, 70), found=wheel(), sure=0.5)


def test_bars_cut_out_of_an_answer_that_is_grey_all_over_are_not() -> None:
    assert believed(wheel(), coarse=square(20, 70), found=wheel(), sure=0.5, rest=0.09)
    assert not believed(wheel(), coarse=square(20, 70), found=wheel(), sure=0.5, rest=0.11)


@pytest.mark.parametrize(("grey", "taken"), [(0.69, True), (0.71, False)])
def test_so_much_of_it_may_be_grey(grey: float, taken: bool) -> None:
    whole, bars = square(20, 70), wheel()
    alpha = np.zeros((SIDE, SIDE), np.float32)
    rows, columns = np.nonzero(whole)
    alpha[rows[: round(grey * whole.sum())], columns[: round(grey * whole.sum())]] = 0.5
    assert is_believed(picture(bars), whole, alpha, bars) is taken


def test_bars_where_the_picture_has_none_are_not() -> None:
    assert not believed(square(20, 70), coarse=square(20, 70), found=wheel(), sure=0.5)


def test_thin_parts_may_have_weaker_edges_but_not_by_far(monkeypatch: pytest.MonkeyPatch) -> None:
    for strength, taken in ((0.91, True), (0.89, False)):
        values = iter((1.0, strength))
        monkeypatch.setattr(belief, "_along", lambda *_, values=values: next(values))
        assert believed(wheel(), square(20, 70), wheel(), 0.5) is taken


def test_without_a_coarse_mask_it_is_and_an_empty_one_is_not() -> None:
    nothing = np.zeros((SIDE, SIDE), bool)
    assert believed(square(20, 70), coarse=nothing, found=square(20, 70))
    assert not believed(square(20, 70), coarse=square(20, 70), found=nothing)


def test_a_mask_of_the_whole_picture_is_as_thick_as_it() -> None:
    everything = np.ones((SIDE, SIDE), bool)
    assert not believed(square(0, SIDE), coarse=everything, found=square(10, 86), sure=0.5)


def test_a_picture_without_edges_leaves_it_to_the_network() -> None:
    flat = np.full((SIDE, SIDE, 3), 90, np.uint8)
    for sure, taken in ((0.91, True), (0.5, False)):
        alpha = np.where(square(20, 70), np.float32(sure), np.float32(0))
        assert is_believed(flat, square(20, 70), alpha, square(22, 72)) is taken


@pytest.mark.parametrize("times", [1, 12])
def test_large_pictures_are_judged_as_small_ones(times: int) -> None:
    def large(mask: np.ndarray) -> np.ndarray:
        return mask.repeat(times, axis=0).repeat(times, axis=1)

    right, beside = large(square(20, 70)), large(square(26, 76))
    assert believed(right, coarse=beside, found=right)
    assert not believed(right, coarse=right, found=beside)
    assert believed(large(wheel()), coarse=large(square(20, 70)), found=large(wheel()), sure=0.5)
