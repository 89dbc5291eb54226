from __future__ import annotations

import numpy as np
import pytest

from vns_sam.images.windows import Window, whole
from vns_sam.inference.regions import Region, box_overlaps, enlarged, make_region, overlap, suppress, without_specks


def square(top: int, left: int, side: int, *, rank: float = 0.0) -> Region:
    return Region(top, left, np.ones((side, side), bool), rank, 1.0, (0, 0), rank)


def test_a_region_is_where_its_mask_is() -> None:
    mask = np.zeros((6, 8), bool)
    mask[2:4, 3:7] = True
    region = make_region(mask, Window(10, 16, 20, 28), 0.5, 0.9, (23, 12))
    assert region is not None
    assert region.box == (23, 12, 27, 14)
    assert region.area == 8
    assert region.rank == 0
    full = region.full((30, 40))
    assert full.shape == (30, 40)
    assert np.array_equal(full[10:16, 20:28], mask)
    assert full.sum() == 8


def test_an_empty_mask_is_no_region() -> None:
    assert make_region(np.zeros((4, 4), bool), whole(4, 4), 1.0, 1.0, (0, 0)) is None


def test_overlaps_worked_out_by_hand() -> None:
    boxes = np.array([[0, 0, 4, 4], [4, 4, 8, 8], [2, 0, 6, 4]], float)
    assert box_overlaps(boxes, np.array([0, 0, 4, 4], float)) == pytest.approx([1, 0, 8 / 24])
    assert box_overlaps(boxes, np.array([2, 2, 6, 6], float)) == pytest.approx([4 / 28, 4 / 28, 8 / 24])
    assert overlap(square(0, 0, 4), square(0, 2, 4)) == pytest.approx(8 / 24)
    assert overlap(square(0, 0, 4), square(4, 4, 4)) == 0
    assert overlap(square(0, 0, 10), square(12, 1, 10)) == overlap(square(0, 0, 10), square(1, 12, 10)) == 0


def test_a_pixel_half_of_which_is_object_is_object() -> None:
    region = Region(0, 0, np.array([[True, False]]), 1.0, 1.0, (0, 0))
    wide = enlarged(region, (1, 2), Window(0, 1, 0, 5))
    assert wide.mask.tolist() == [[True, True, True, False, False]]


def test_of_two_masks_of_one_object_the_better_stays() -> None:
    one, same, other = square(0, 0, 10, rank=0.8), square(0, 1, 10, rank=0.9), square(40, 40, 5, rank=0.1)
    kept = suppress([one, same, other], box_iou=0.7, mask_iou=0.7)
    assert kept == [same, other]


def test_of_equal_rank_the_earlier_stays() -> None:
    one, same = square(0, 0, 10, rank=0.5), square(0, 1, 10, rank=0.5)
    assert suppress([one, same], box_iou=0.7, mask_iou=0.7) == [one]


def test_masks_that_agree_are_one_object_though_a_speck_makes_a_box_wide() -> None:
    wide = np.zeros((10, 40), bool)
    wide[:, :10] = True
    wide[0, 39] = True
    far = make_region(wide, whole(10, 40), 0.4, 1.0, (0, 0))
    assert far is not None
    kept = suppress([square(0, 0, 10, rank=0.5), far], box_iou=0.7, mask_iou=0.7)
    assert len(kept) == 1


def test_specks_and_pinholes_go() -> None:
    mask = np.zeros((12, 12), bool)
    mask[0:6, 0:6] = True
    mask[2, 2] = False
    mask[11, 11] = True
    region = make_region(mask, whole(12, 12), 1.0, 1.0, (0, 0))
    assert region is not None
    clean = without_specks(region, 4)
    assert clean is not None
    assert clean.box == (0, 0, 6, 6)
    assert clean.area == 36
    assert without_specks(region, 100) is None


def test_a_region_of_a_reduced_picture_is_brought_to_its_place() -> None:
    region = square(1, 2, 2)
    moved = enlarged(region, (4, 8), Window(100, 140, 200, 280))
    assert moved.window == Window(110, 130, 220, 240)
    assert moved.mask.all()
    assert moved.mask.shape == (20, 20)


def test_islands_and_holes_of_the_least_size_stay() -> None:
    mask = np.zeros((20, 40), bool)
    mask[2:12, 2:12] = True
    mask[5:7, 4:6] = mask[5, 8:11] = False  # holes of four and of three
    mask[2:4, 20:22] = mask[8, 20:23] = True  # islands of four and of three
    region = without_specks(Region(0, 0, mask, 0.5, 1.0, (3, 3)), 4)
    assert region is not None
    found = region.full(mask.shape)
    assert not found[5:7, 4:6].any()
    assert found[5, 8:11].all()
    assert found[2:4, 20:22].all()
    assert not found[8, 20:23].any()


def test_a_bay_is_no_hole_however_small_the_region() -> None:
    mask = np.ones((12, 12), bool)
    mask[:6, 6:] = False
    region = Region(5, 5, mask, 0.5, 1.0, (6, 6))
    assert without_specks(region, 100) is region


def test_a_region_that_shrinks_to_nothing_keeps_a_pixel() -> None:
    moved = enlarged(square(52, 31, 1), (100, 100), Window(20, 30, 40, 50))
    assert (moved.top, moved.left, moved.mask.tolist()) == (25, 43, [[True]])
