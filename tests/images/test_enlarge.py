"""A part of a map at full size is that part of the whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vns_sam.images.enlarge import enlarge_found
from vns_sam.images.geometry import fit, maps_to_original


@pytest.mark.parametrize(("height", "width"), [(60, 96), (333, 120), (700, 500), (20, 500)])
@pytest.mark.parametrize("square", [(3, 4), (15, 16), (0, 1), (0, 16)])
def test_what_is_cut_out_is_what_the_whole_has_there_and_nothing_is_left_out(
    height: int, width: int, square: tuple[int, int]
) -> None:
    rng = np.random.default_rng(0)
    values = -rng.uniform(1, 2, (16, 16)).astype(np.float32)
    first, last = square
    values[first:last, first:last] = rng.uniform(-1, 4, (last - first, last - first))
    geometry = fit(height, width, 64)
    whole = maps_to_original(torch.from_numpy(values)[None, None], geometry)[0].numpy()
    part, found = enlarge_found(values, geometry, (height, width))
    np.testing.assert_allclose(found, whole[part], atol=1e-5)
    outside = whole.copy()
    outside[part] = 0
    assert not (outside > 0).any()
    if last < 16:
        assert found.size < whole.size


@pytest.mark.parametrize("value", [-1, 0])
def test_nothing_found_is_an_empty_part(value: float) -> None:
    part, found = enlarge_found(np.full((16, 16), value, np.float32), fit(30, 40, 64), (30, 40))
    assert found.size == 0
    assert np.zeros((30, 40))[part].size == 0


def test_what_only_padding_shows_is_nothing() -> None:
    values = np.full((16, 16), -1, np.float32)
    values[14:] = 3
    part, found = enlarge_found(values, fit(30, 60, 64), (30, 60))
    assert (part, found.shape) == ((slice(0, 0), slice(0, 0)), (0, 0))


def test_one_faint_cell_is_found_where_it_is() -> None:
    values = np.full((16, 16), -1, np.float32)
    values[3, 11] = 0.5
    geometry = fit(64, 64, 64)
    (rows, columns), found = enlarge_found(values, geometry, (64, 64))
    assert (rows.start + rows.stop) / 2 == 14  # the cell's centre, four pixels a cell
    assert (columns.start + columns.stop) / 2 == 46
    assert found.max() > 0
