from __future__ import annotations

import numpy as np
import pytest

from vns_sam.errors import DataError
from vns_sam.images.charts import SERIES, curve, histogram

LINE = [(float(k), 0.5 + k / 20) for k in range(1, 11)]


def pixels_of(chart: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """Where a chart has a colour: (n, 2) as row, column."""
    return np.argwhere((chart == colour).all(axis=-1))


def below_legend(chart: np.ndarray) -> np.ndarray:
    return chart[75:]


def test_a_line_rises_from_left_to_right() -> None:
    drawn = pixels_of(below_legend(curve({"a": LINE}, x="clicks", y="IoU")), SERIES[0])
    rows, columns = drawn.T
    assert np.corrcoef(rows, columns)[0, 1] < -0.95
    assert np.ptp(columns) > 800


def test_each_series_has_its_colour_and_ink_stays_inside() -> None:
    series = {f"series {k} with a long name": [(x, y + k) for x, y in LINE] for k in range(9)}
    chart = curve(series, x="clicks", y="IoU", title="A title " * 30)
    assert chart.shape == (720, 1200, 3)
    assert chart.dtype == np.uint8
    assert all(len(pixels_of(chart, colour)) for colour in SERIES)
    frame = np.ones(chart.shape[:2], bool)
    frame[8:-8, 8:-8] = False
    assert (chart[frame] == 255).all()


@pytest.mark.parametrize("points", [[(1.0, 1.0)], [(0.0, 0.0), (0.0, 0.0)], [(1e6, -1e-6), (2e6, 1e-6)]])
def test_any_range_is_drawn(points: list[tuple[float, float]]) -> None:
    assert len(pixels_of(curve({"a": points}, x="x", y="y"), SERIES[0]))


@pytest.mark.parametrize("series", [{}, {"a": []}, {"a": [(1.0, float("nan"))]}])
def test_nothing_to_draw_is_an_error(series: dict[str, list[tuple[float, float]]]) -> None:
    with pytest.raises(DataError, match="expected"):
        curve(series, x="x", y="y")


@pytest.mark.parametrize("values", [[], [0.5, float("inf")]])
def test_no_values_is_an_error(values: list[float]) -> None:
    with pytest.raises(DataError, match="expected finite values"):
        histogram(values, bins=4, x="x")


def test_bars_are_as_high_as_their_counts() -> None:
    chart = histogram([0.1] * 4 + [0.9] * 2, bins=[0.0, 0.5, 1.0], x="score")
    rows, columns = pixels_of(chart, SERIES[0]).T
    middle = columns.mean().round()
    heights = [np.ptp(rows[columns == column]) + 1 for column in (columns.min() + 20, columns.max() - 20)]
    assert columns.min() < middle < columns.max()
    assert heights[0] / heights[1] == pytest.approx(2, rel=0.02)


def test_the_threshold_splits_a_bin_that_it_cuts() -> None:
    chart = below_legend(histogram([0.60, 0.69, 0.7, 0.9], bins=[0.0, 1.0], x="score", threshold=0.7))
    lower, upper = (pixels_of(chart, colour) for colour in SERIES[:2])
    assert len(lower) == pytest.approx(len(upper), rel=0.1)
    assert upper[:, 0].max() < lower[:, 0].min()


def test_one_value_is_a_histogram() -> None:
    assert len(pixels_of(histogram([3.0], bins=10, x="x", threshold=5.0), SERIES[0]))
