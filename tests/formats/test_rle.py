"""Masks as run lengths and polygons."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vns_sam.formats import cvat, rle
from vns_sam.formats.annotation import Contents
from vns_sam.formats.rle import decode_rle, encode_piece, encode_rle, fill_polygon, number_objects
from vns_sam.types import Piece, cut_out

masks = arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12)))


@settings(deadline=None)
@given(mask=masks)
def test_run_lengths_lead_back(mask: np.ndarray) -> None:
    np.testing.assert_array_equal(decode_rle(encode_rle(mask)), mask)


@settings(deadline=None)
@given(mask=masks, above=st.integers(0, 3), before=st.integers(0, 3), below=st.integers(0, 3), after=st.integers(0, 3))
def test_a_piece_has_the_run_lengths_of_its_picture(
    mask: np.ndarray, above: int, before: int, below: int, after: int
) -> None:
    picture = np.pad(mask, ((above, below), (before, after)))
    height, width = picture.shape
    assert encode_piece(cut_out(picture), (height, width)) == encode_rle(picture)
    np.testing.assert_array_equal(decode_rle(encode_piece(cut_out(picture), (height, width))), picture)


@settings(deadline=None)
@given(mask=masks, top=st.integers(-14, 14), left=st.integers(-14, 14))
def test_a_piece_that_reaches_beyond_its_picture_is_cut(mask: np.ndarray, top: int, left: int) -> None:
    around = np.zeros((40, 40), bool)
    around[14 + top : 14 + top + mask.shape[0], 14 + left : 14 + left + mask.shape[1]] = mask
    expected = around[14:23, 14:21]
    found = Piece(top, left, mask).within((9, 7))
    np.testing.assert_array_equal(found.full((9, 7)), expected)
    assert encode_piece(found, (9, 7)) == encode_rle(expected)


def test_run_lengths_are_those_of_coco() -> None:
    # columns: 0 1 | 1 1 | 0 0 -> one 0, three 1, two 0; long runs take several characters
    assert encode_rle(np.array([[0, 1, 0], [1, 1, 0]], bool)) == {"size": [2, 3], "counts": "132"}
    assert encode_rle(np.ones((1, 1000), bool))["counts"] == "0Xo0"
    np.testing.assert_array_equal(decode_rle({"size": [2, 2], "counts": [1, 3]}), [[0, 1], [1, 1]])


@pytest.mark.parametrize(
    "corners",
    [
        [(2, 1), (7, 1), (7, 4), (2, 4)],
        [(2.4, 0.6), (7.4, 0.6), (7.4, 4.4), (2.4, 4.4)],  # the same pixel centres
        [(2, 4), (7, 4), (7, 1), (2, 1)],
    ],
)
def test_a_rectangle_covers_its_pixel_centres(corners: list[tuple[float, float]]) -> None:
    expected = np.zeros((6, 9), bool)
    expected[1:4, 2:7] = True
    np.testing.assert_array_equal(fill_polygon(np.array(corners), 6, 9), expected)


def test_a_circle_has_its_area() -> None:
    angle = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    drawn = fill_polygon(np.stack([50 + 30 * np.cos(angle), 40 + 30 * np.sin(angle)], axis=1), 80, 100)
    assert drawn.sum() == pytest.approx(np.pi * 900, rel=0.01)
    rows, columns = np.nonzero(drawn)
    assert (rows.mean() + 0.5, columns.mean() + 0.5) == pytest.approx((40, 50), abs=0.05)


def test_what_lies_outside_is_cut_off() -> None:
    drawn = fill_polygon(np.array([(-50.0, -50), (3, -50), (3, 90), (-50, 90)]), 5, 8)
    assert drawn[:, :3].all()
    assert not drawn[:, 3:].any()
    assert not fill_polygon(np.array([(20.0, 1), (30, 1), (25, 4)]), 5, 8).any()


def test_the_smaller_object_stays_on_top() -> None:
    small, large = np.zeros((2, 4, 4), bool)
    small[1, 1], large[:3, :3] = True, True
    expected = np.where(small, 1, np.where(large, 2, 0))
    np.testing.assert_array_equal(number_objects([cut_out(small), cut_out(large)], (4, 4)), expected)
    assert not number_objects([], (4, 4)).any()


@pytest.mark.parametrize(
    ("size", "counts"),
    [
        ([2, 3], [1, 2, 2]),
        ([2, 3], [10**12]),
        ([10**6, 10**6], [10**12]),
        ([6], [6]),
        ([2, 3], [-1, 7]),
        ([2, 3], [2.5, 3.5]),
        ([2, 3], [[6]]),
        ([2, 3], "zz"),
    ],
)
def test_lengths_that_do_not_fill_their_size_are_refused_before_a_mask_is_made(size: list[int], counts: Any) -> None:
    with pytest.raises(ValueError, match=r"run lengths|unpack"):
        decode_rle({"size": size, "counts": counts})


def test_the_largest_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="fill the size"):
        decode_rle({"size": [2**15, 2**15 + 1], "counts": [2**30 + 2**15]})
    monkeypatch.setattr(rle, "MOST", 6)
    assert decode_rle({"size": [2, 3], "counts": [0, 6]}).all()
    with pytest.raises(ValueError, match="fill the size"):
        decode_rle({"size": [2, 4], "counts": [0, 8]})


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0, 0)])
def test_a_mask_without_pixels_leads_back(shape: tuple[int, int]) -> None:
    assert encode_rle(np.zeros(shape, bool)) == {"size": [*shape], "counts": "0"}
    assert decode_rle({"size": shape, "counts": "0"}).shape == shape


def cvat_mask(rle: str, window: tuple[int, int, int, int]) -> Contents:
    left, top, width, height = window
    mask = f'<mask label="a" rle="{rle}" left="{left}" top="{top}" width="{width}" height="{height}"/>'
    text = f'<annotations><image name="a.jpg" width="5" height="4">{mask}</image></annotations>'
    return cvat.read(text.encode(), "a.xml")


def test_masks_of_cvat_run_across() -> None:
    """Three to a row: one of nothing, four of the object. The second row and the last column lie beside the picture."""
    (picture,) = cvat_mask("1,4,1", (3, 3, 3, 2)).pictures
    expected = np.zeros((4, 5), bool)
    expected[3, 4] = True
    np.testing.assert_array_equal(decode_rle(picture.shapes[0].outline), expected)


@pytest.mark.parametrize("rle", ["1,4", "1,-4,9", "", "999999999999,1", "x"])
def test_a_mask_of_cvat_that_does_not_fill_its_window_is_told(rle: str) -> None:
    found = cvat_mask(rle, (0, 0, 10**6, 10**6) if "9999" in rle else (0, 0, 3, 2))
    assert len(found.problems) == 1
