"""Charts as pictures: a line chart and a histogram, drawn with Pillow."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from PIL import Image, ImageDraw

from vns_sam.errors import DataError
from vns_sam.images.text import font, shorten, width_of

Colour = tuple[int, int, int]
Points = Sequence[tuple[float, float]]

SERIES: tuple[Colour, ...] = (
    (0, 114, 178),
    (213, 94, 0),
    (0, 158, 115),
    (204, 121, 167),
    (230, 159, 0),
    (86, 180, 233),
    (90, 90, 90),
)
"""Colours of lines, from Okabe and Ito: told apart with colour-blind eyes too."""

_WIDTH, _HEIGHT = 1200, 720
_FINE = 3  # drawn three times as large, then reduced: smooth lines and text
_TEXT, _TITLE, _MARGIN = 22, 27, 36
_INK, _GREY, _RULE, _WHITE = (33, 37, 41), (108, 117, 125), (226, 229, 233), (255, 255, 255)


def curve(series: Mapping[str, Points], *, x: str, y: str, title: str = "") -> np.ndarray:
    """Draws a line for each series, with markers, axes, ticks and a legend.

    Args:
        series: Name to its points (x, y), drawn in the order given.
        x: What the horizontal axis shows.
        y: What the vertical axis shows.
        title: Above the chart.

    Returns:
        (720, 1200, 3) uint8 RGB.

    Raises:
        DataError: There is no series, one has no points, or a value is not finite.
    """
    if not series:
        raise DataError("expected at least one series to draw, found none")
    for name, points in series.items():
        if not points or not np.isfinite(np.asarray(points, float)).all():
            raise DataError(f"expected finite points in the series '{name}', found {_fault(points)}")
    xs, ys = (np.array([point[axis] for points in series.values() for point in points], float) for axis in (0, 1))
    chart = _Chart.open(title, list(series), y)
    chart.set_range(_padded(xs, 0.02), _padded(ys, 0.06))
    steps = _ticks(*chart.x_range, 11)
    chart.draw_axes(x, y, [tick for tick in steps if xs.min() <= tick <= xs.max()] or steps, _ticks(*chart.y_range, 6))
    for index, points in enumerate(series.values()):
        chart.draw_line(points, index)
    return chart.finish()


def histogram(
    values: Sequence[float] | np.ndarray, *, bins: int | Sequence[float], x: str, threshold: float | None = None
) -> np.ndarray:
    """Draws how many values fall into each bin.

    Args:
        values: The values.
        bins: How many bins of one width from the least to the greatest value, or their edges, rising.
        x: What the values are.
        threshold: Where the values are split; the two sides are coloured and counted. In a bin that it cuts,
            the upper side stands on the lower one.

    Returns:
        (720, 1200, 3) uint8 RGB.

    Raises:
        DataError: There is no value, or one is not finite.
    """
    given = np.asarray(values, float).ravel()
    if not given.size or not np.isfinite(given).all():
        raise DataError(f"expected finite values for a histogram, found {_fault(given)}")
    edges = np.histogram_bin_edges(given, bins if isinstance(bins, int) else np.asarray(bins, float))
    below = given < (np.inf if threshold is None else threshold)
    lower, upper = np.histogram(given[below], edges)[0], np.histogram(given[~below], edges)[0]
    names = [] if threshold is None else _sides(given, threshold)
    y = f"count, {given.size:,} in all"
    chart = _Chart.open("", names, y)
    marks = [float(edges[0]), float(edges[-1]), *([] if threshold is None else [threshold])]
    chart.set_range(_padded(np.array(marks), 0.02), (0.0, max(1.0, float((lower + upper).max()) * 1.06)))
    whole = [tick for tick in _ticks(*chart.y_range, 6) if tick == round(tick)]
    chart.draw_axes(x, y, _ticks(*chart.x_range, 11), whole)
    for index, (low, high) in enumerate(pairwise(edges.tolist())):
        chart.draw_bar(low, high, 0, int(lower[index]), SERIES[0])
        chart.draw_bar(low, high, int(lower[index]), int(upper[index]), SERIES[1])
    if threshold is not None:
        chart.draw_threshold(threshold)
    return chart.finish()


def _fault(values: Points | np.ndarray) -> str:
    return "none" if not len(values) else f"{int((~np.isfinite(np.asarray(values, float))).sum())} that are not"


def _sides(values: np.ndarray, threshold: float) -> list[str]:
    below = int((values < threshold).sum())
    parts = (("below", below), ("from", len(values) - below))
    return [f"{side} {_number(threshold)}: {n:,} ({n / len(values):.0%})" for side, n in parts]


def _padded(values: np.ndarray, share: float) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    room = (high - low) * share or max(abs(high), 1.0) * share
    return low - room, high + room


def _ticks(low: float, high: float, most: int) -> list[float]:
    """Round numbers in [low, high]: at most ``most`` of them, in steps of 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    step = next(power * factor for factor in (1, 2, 5, 10, 20) if (high - low) / (power * factor) < most)
    return [round(step * k, 10) for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.6g}"


@dataclass
class _Chart:
    """A canvas ``_FINE`` times as large as the result, a plot area in it and the ranges shown there."""

    image: Image.Image
    draw: ImageDraw.ImageDraw
    area: tuple[float, float, float, float]
    x_range: tuple[float, float] = (0.0, 1.0)
    y_range: tuple[float, float] = (0.0, 1.0)

    @classmethod
    def open(cls, title: str, names: Sequence[str], y: str) -> _Chart:
        """An empty chart with title and legend; the plot area takes the rest."""
        image = Image.new("RGB", (_WIDTH * _FINE, _HEIGHT * _FINE), _WHITE)
        chart = cls(image, ImageDraw.Draw(image), (0, 0, 0, 0))
        top = float(_MARGIN)
        if title:
            chart.text(_MARGIN, top, shorten(title, _TITLE, _WIDTH - 2 * _MARGIN), "la", size=_TITLE)
            top += _TITLE * 1.7
        if names:
            top = chart._legend(names, top) + _TEXT
        top += _TEXT * 1.6 if y else 0
        chart.area = (_MARGIN + 4.0 * _TEXT, top, _WIDTH - _MARGIN, _HEIGHT - _MARGIN - 3.0 * _TEXT)
        return chart

    def set_range(self, x_range: tuple[float, float], y_range: tuple[float, float]) -> None:
        """Says what the plot area shows."""
        self.x_range, self.y_range = x_range, y_range

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Place of a value in pixels of the result."""
        left, top, right, bottom = self.area
        across = (x - self.x_range[0]) / (self.x_range[1] - self.x_range[0])
        up = (y - self.y_range[0]) / (self.y_range[1] - self.y_range[0])
        return left + across * (right - left), bottom - up * (bottom - top)

    def text(self, x: float, y: float, text: str, anchor: str, *, size: int = _TEXT, colour: Colour = _INK) -> None:
        """Writes one line; ``anchor`` is Pillow's."""
        self.draw.text((x * _FINE, y * _FINE), text, fill=colour, font=font(size * _FINE), anchor=anchor)

    def line(self, points: Points, colour: Colour, width: float) -> None:
        """Draws connected lines in pixels of the result."""
        fine = [(x * _FINE, y * _FINE) for x, y in points]
        self.draw.line(fine, fill=colour, width=round(width * _FINE), joint="curve")

    def draw_axes(self, x: str, y: str, x_ticks: Sequence[float], y_ticks: Sequence[float]) -> None:
        """Rules, numbers and names of both axes."""
        left, top, right, bottom = self.area
        for tick in y_ticks:
            level = self.at(0, tick)[1]
            self.line([(left, level), (right, level)], _RULE, 1.3)
            self.text(left - 0.6 * _TEXT, level, _number(tick), "rm", colour=_GREY)
        for tick in x_ticks:
            place = self.at(tick, 0)[0]
            self.line([(place, bottom), (place, bottom + 0.35 * _TEXT)], _GREY, 1.3)
            self.text(place, bottom + 0.6 * _TEXT, _number(tick), "ma", colour=_GREY)
        self.line([(left, bottom), (right, bottom)], _GREY, 1.6)
        self.text((left + right) / 2, bottom + 2.1 * _TEXT, x, "ma")
        self.text(_MARGIN, top - 0.7 * _TEXT, y, "ls")

    def draw_line(self, points: Points, index: int) -> None:
        """One series: the line, then its markers with a white rim."""
        placed = [self.at(*point) for point in points]
        colour = SERIES[index % len(SERIES)]
        if len(placed) > 1:
            self.line(placed, colour, 3.0)
        if len(placed) <= 40:
            for place in placed:
                self.marker(*place, index)

    def marker(self, x: float, y: float, index: int) -> None:
        """A disc, square, triangle or diamond in the colour of series ``index``."""
        for radius, colour in ((8.5, _WHITE), (6.5, SERIES[index % len(SERIES)])):
            shape = _MARKERS[index % len(_MARKERS)](radius)
            self.draw.polygon([((x + dx) * _FINE, (y + dy) * _FINE) for dx, dy in shape], fill=colour)

    def draw_bar(self, low: float, high: float, base: int, count: int, colour: Colour) -> None:
        """``count`` values of one bin, standing on ``base``; a hair narrower than the bin."""
        (left, top), (right, bottom) = self.at(low, base + count), self.at(high, base)
        gap = min(1.0, (right - left) / 8)
        if count:
            box = ((left + gap) * _FINE, top * _FINE, (right - gap) * _FINE, bottom * _FINE)
            self.draw.rectangle(box, fill=colour)

    def draw_threshold(self, threshold: float) -> None:
        """A dashed upright line."""
        place, top, bottom = self.at(threshold, 0)[0], self.area[1], self.area[3]
        for start in np.arange(top, bottom, 14.0).tolist():
            self.line([(place, start), (place, min(start + 8, bottom))], _INK, 2.0)

    def finish(self) -> np.ndarray:
        """The picture at its size."""
        return np.asarray(self.image.reduce(_FINE)).copy()

    def _legend(self, names: Sequence[str], top: float) -> float:
        """Marker and name of each series, in lines; returns the height below them."""
        left, mark, gap = float(_MARGIN), 1.1 * _TEXT, 1.4 * _TEXT
        for index, name in enumerate(names):
            label = shorten(name, _TEXT, _WIDTH / 2)
            width = mark + width_of(label, _TEXT)
            if left > _MARGIN and left + width > _WIDTH - _MARGIN:
                left, top = float(_MARGIN), top + 1.5 * _TEXT
            self.marker(left + 7, top + 0.5 * _TEXT, index)
            self.text(left + mark, top + 0.5 * _TEXT, label, "lm")
            left += width + gap
        return top + _TEXT


def _regular(corners: int, turn: float, size: float) -> Callable[[float], list[tuple[float, float]]]:
    """Corners of a regular polygon for a radius; the first one is ``turn`` degrees clockwise of the right."""
    angles = [math.radians(turn + 360 * k / corners) for k in range(corners)]
    return lambda radius: [(size * radius * math.cos(a), size * radius * math.sin(a)) for a in angles]


_MARKERS = (_regular(36, 0, 1.0), _regular(4, 45, 1.22), _regular(3, -90, 1.35), _regular(4, 0, 1.25))
