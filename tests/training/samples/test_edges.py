"""Edge targets: equal to the authors' code, and right on shapes worked out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from vns_sam.training.samples.edges import contour, edge_target, widen


@pytest.mark.parametrize("thickness", [1, 5])
def test_edges_equal_the_authors(fixtures_dir: Path, thickness: int) -> None:
    reference = load_file(fixtures_dir / "vns" / "aux.safetensors")
    for i, mask in enumerate(reference["edge.masks"]):
        line = contour(mask, thickness=thickness)
        assert np.array_equal(line, reference[f"edge.boundary_t{thickness}"][i] > 0)
        assert np.array_equal(edge_target(mask, thickness=thickness), reference[f"edge.dilated_t{thickness}"][i] > 0)


def ring() -> np.ndarray:
    mask = np.zeros((40, 40), bool)
    mask[5:35, 5:35] = True
    mask[15:25, 15:25] = False
    return mask


def test_contour_is_the_outer_rim_and_holes_have_none() -> None:
    expected = np.zeros((40, 40), bool)
    expected[5:35, 5:35] = True
    expected[6:34, 6:34] = False
    assert np.array_equal(contour(ring(), thickness=1), expected)


@pytest.mark.parametrize(("thickness", "width"), [(1, 5), (5, 11)])
def test_band_width(thickness: int, width: int) -> None:
    assert edge_target(ring(), thickness=thickness)[20, :20].sum() == width


def test_any_value_but_zero_is_object() -> None:
    assert np.array_equal(contour(ring().astype(np.uint8)), contour(ring().astype(np.uint8) * 255))


def test_an_empty_mask_has_no_edge() -> None:
    assert not edge_target(np.zeros((8, 8), bool)).any()


def test_widen_grows_by_two_pixels() -> None:
    point = np.zeros((9, 9), bool)
    point[4, 4] = True
    assert widen(point).sum() == 25
