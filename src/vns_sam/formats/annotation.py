"""What annotation files of all kinds hold, in one form: pictures, and on each the objects that someone described."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

Polygons = tuple[np.ndarray, ...]
"""Each (N, 2) XY; an object is their union."""

RunLengths = Mapping[str, Any]
"""COCO's: ``size`` and ``counts``."""

Box = tuple[float, float, float, float]
"""XYXY, right and bottom exclusive."""

MALFORMED = (ValueError, TypeError, LookupError, ArithmeticError, AttributeError)
"""What reading a part of a file raises that is not what belongs there: text for a number, a number of 400 digits, a
list for a mapping."""


@dataclass(frozen=True)
class Shape:
    """One object as a file describes it. What the file does not tell is None or empty.

    Attributes:
        label: Its class.
        category: The number that the file gives to its class.
        box: Around it.
        outline: Polygons or run lengths.
        points: (N, 2) XY, single points on it or beside it.
        point_labels: For each point, 1 on the object, 0 beside it.
        lines: Strokes along it, each (N, 2) XY.
        mark: Name of the object in the file, for messages ("annotation 7").
        fault: Why its outline, or a part of it, cannot be used, or "".
    """

    label: str = ""
    category: int | None = None
    box: Box | None = None
    outline: Polygons | RunLengths | None = None
    points: tuple[tuple[float, float], ...] = ()
    point_labels: tuple[int, ...] = ()
    lines: Polygons = ()
    mark: str = ""
    fault: str = ""

    def bounds(self) -> Box | None:
        """The box, or the one around the polygons."""
        if self.box is not None or not isinstance(self.outline, tuple):
            return self.box
        corners = np.concatenate(self.outline)
        (x0, y0), (x1, y1) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
        return (x0, y0, x1, y1)


@dataclass(frozen=True)
class Described:
    """One picture as a file describes it.

    Attributes:
        name: As in the file.
        size: (H, W) that the coordinates are made for, or None where the file does not tell.
        shapes: Its objects.
        fractions: Whether coordinates are fractions of the picture's size.
        stored: Whether they may count pixels as they are stored, before EXIF turns the picture (COCO of other tools);
            whether they do shows beside the picture, see :func:`vns_sam.images.read.must_turn`.
    """

    name: str
    size: tuple[int, int] | None
    shapes: tuple[Shape, ...]
    fractions: bool = False
    stored: bool = False


@dataclass
class Contents:
    """What a file or a folder of annotations holds.

    Attributes:
        kind: What it is, for messages ("COCO file").
        pictures: Those that it describes.
        categories: Classes by number, in the file's order; empty where it has no numbers.
        problems: One line for each thing that could not be read.
    """

    kind: str
    pictures: list[Described] = field(default_factory=list)
    categories: dict[int, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def add(self, other: Contents) -> None:
        """Takes what another file of the same kind holds, which numbered its classes by itself.

        Classes are joined by name. One that is new keeps its number where that is free, else it gets the next one;
        shapes follow. The number of a shape whose class the other file does not name is dropped.
        """
        numbers = self._numbers_of(other.categories)
        self.categories |= {numbers[number]: name for number, name in other.categories.items()}
        self.pictures += [_renumbered(picture, numbers) for picture in other.pictures]
        self.problems += other.problems

    def _numbers_of(self, categories: Mapping[int, str]) -> dict[int, int]:
        """The number that each class of another file has here, by the one that it has there."""
        known = {name: number for number, name in reversed(self.categories.items())}
        found = {}
        for number, name in categories.items():
            if self.categories.get(number, name) == name:
                found[number] = number if number in self.categories else known.setdefault(name, number)
        for number, name in categories.items():
            if number not in found:
                found[number] = known.setdefault(name, max((*known.values(), *self.categories)) + 1)
        return found


def _renumbered(picture: Described, numbers: Mapping[int, int]) -> Described:
    """A picture whose shapes have other numbers of their classes."""
    shapes = tuple(
        shape if shape.category is None else replace(shape, category=numbers.get(shape.category))
        for shape in picture.shapes
    )
    return replace(picture, shapes=shapes)


def join_groups(shapes: Iterable[tuple[Shape, str]]) -> tuple[Shape, ...]:
    """The objects of a picture: polygons of one group and class are one object, at the place of the first of them.

    Args:
        shapes: In the order of the file, each with its group, "" where it has none.
    """
    found: list[Shape] = []
    firsts: dict[tuple[str, str], int] = {}
    outlines: dict[int, Polygons] = {}
    for shape, group in shapes:
        if not group or not isinstance(shape.outline, tuple):
            found.append(shape)
            continue
        place = firsts.setdefault((group, shape.label), len(found))
        outlines[place] = outlines.get(place, ()) + shape.outline
        if place == len(found):
            found.append(shape)
        else:
            found[place] = replace(found[place], outline=outlines[place])
    return tuple(found)


def numbered(names: Iterable[str]) -> dict[int, str]:
    """Numbers from 1 for classes that have none, by name."""
    return dict(enumerate(sorted(set(names) - {""}), 1))


def corners_of(values: Any, least: int = 3) -> np.ndarray:
    """Corners (N, 2) of a polygon, or with ``least`` 1 of a line, from a flat row ``x y x y ...`` or from pairs.

    Raises:
        ValueError: There are fewer than ``least``, half of one, or some that are no finite number.
    """
    found = np.asarray(values, np.float64)
    flat = found.ravel() if found.ndim == 2 and found.shape[1] == 2 else found
    if flat.ndim != 1 or flat.size % 2:
        raise ValueError(f"expected pairs of coordinates, found shape {found.shape}")
    if flat.size < 2 * least:
        kind = "polygon" if least > 2 else "line"
        raise ValueError(f"a {kind} of {flat.size // 2} corners, expected {least} or more")
    if not np.isfinite(flat).all():
        raise ValueError("coordinates that are not finite")
    return flat.reshape(-1, 2)


def size_of(height: str, width: str) -> tuple[int, int] | None:
    """(H, W) of two texts; None where they are no whole numbers from 1 to 999,999,999."""
    if not all(side.isdecimal() and len(side) < 10 and int(side) for side in (height, width)):
        return None
    return int(height), int(width)


def box_of(values: Sequence[Any], *, as_size: bool = False) -> Box:
    """A box XYXY of four numbers, sorted; ``as_size`` takes X Y WIDTH HEIGHT.

    Raises:
        ValueError: They are no four finite numbers.
    """
    if isinstance(values, str) or len(values) != 4:
        raise ValueError(f"expected four numbers of a box, found {str(values)[:60]}")
    x0, y0, x1, y1 = (float(value) for value in values)
    if not all(map(math.isfinite, (x0, y0, x1, y1))):
        raise ValueError("a box that is not finite")
    if as_size:
        x1, y1 = x0 + x1, y0 + y1
    return min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)


def ellipse(centre: Any, radii: Any) -> np.ndarray:
    """Corners (64, 2) XY of an ellipse: its centre (2,), and its radii (2,) along x and y, or one for both."""
    angles = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    return np.asarray(centre + radii * np.stack([np.cos(angles), np.sin(angles)], axis=1))


def turned(corners: np.ndarray, degrees: float, about: Any) -> np.ndarray:
    """Corners (N, 2) XY in pixels, turned about a point (2,), clockwise on the screen."""
    if not degrees:
        return corners
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return np.asarray((corners - about) @ turn + about)


def turned_box(box: Box, degrees: float, about: Any) -> Box:
    """The box around one in pixels that is :func:`turned`.

    Raises:
        ValueError: The angle is not finite.
    """
    x0, y0, x1, y1 = box
    corners = turned(np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]]), degrees, about)
    return box_of([*corners.min(axis=0).tolist(), *corners.max(axis=0).tolist()])
