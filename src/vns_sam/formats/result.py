"""What every format is given to write: the masks of one picture, its name, and the classes of its objects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from vns_sam.formats.polygons import Ring, simplify_parts, trace_piece
from vns_sam.formats.rle import fill_polygon
from vns_sam.types import Prediction

Files = dict[str, bytes | Path]
"""What to write by name: bytes, or a file to link or copy."""

OBJECT = "object"
"""The class of objects that were given none."""


def categories_for(classes: Iterable[str], known: Mapping[int, str] | None = None) -> dict[int, str]:
    """Numbers for classes: those of ``known`` keep theirs, new ones follow; :data:`OBJECT` alone is 1.

    >>> categories_for(["owl", ""], {3: "frog"})
    {3: 'frog', 4: 'owl', 5: 'object'}
    """
    found = dict(known or {})
    for name in sorted(set(classes), key=lambda name: (not name, name)):
        if (name or OBJECT) not in found.values():
            found[max(found, default=0) + 1] = name or OBJECT
    return found or {1: OBJECT}


def go_on_with(known: Mapping[int, str], classes: Mapping[int, str]) -> dict[int, str]:
    """Numbers for classes where results are there whose classes are ``known``: these keep theirs, and every other
    number is above them, so that their order stays as well.

    >>> go_on_with({1: "frog", 3: "owl"}, {1: "newt", 2: "frog", 7: "toad"})
    {1: 'frog', 3: 'owl', 4: 'newt', 7: 'toad'}
    """
    if not known:
        return dict(classes)
    found = dict(known)
    for number, name in sorted(classes.items()):
        if name not in found.values():
            found[max(number, max(found) + 1)] = name
    return found


@dataclass(frozen=True)
class Result:
    """What was found in one picture.

    Attributes:
        name: Of the picture, relative to its folder, with ``/``.
        prediction: Its masks.
        categories: Classes by number; those of ``prediction.classes`` that it lacks are added.
        source: The picture's file, where there is one.
        out: Folder that the files go to, where they go to one.
        pixels: (H, W, 3) uint8 RGB, the picture, where a format shows it.
        simplify: Outlines may leave the pixel edges by so many pixels; 0 is exact.
    """

    name: str
    prediction: Prediction
    categories: Mapping[int, str] = field(default_factory=dict)
    source: Path | None = None
    out: Path | None = None
    pixels: np.ndarray | None = None
    simplify: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "categories", categories_for(self.classes, self.categories))

    @property
    def classes(self) -> tuple[str, ...]:
        """The class of each object, "" where it has none."""
        given = self.prediction.classes
        return given if given is not None else ("",) * len(self.prediction)

    @property
    def labels(self) -> tuple[str, ...]:
        """The class of each object, :data:`OBJECT` where it has none."""
        return tuple(name or OBJECT for name in self.classes)

    @property
    def numbers(self) -> tuple[int, ...]:
        """The number of each object's class in ``categories``."""
        by_name = {name: number for number, name in reversed(list(self.categories.items()))}
        return tuple(by_name[label] for label in self.labels)

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the picture."""
        return self.prediction.size

    @property
    def alphas(self) -> np.ndarray | None:
        """(P, H, W) uint8, the share of each pixel that an object covers, in steps of 1/255, rounded; None where the
        model does not tell.
        """
        alpha = self.prediction.alpha
        return None if alpha is None else (np.asarray(alpha) * 255).round().astype(np.uint8)

    @cached_property
    def parts(self) -> tuple[list[list[Ring]], ...]:
        """For each object its parts, each an outer ring and its holes, see :func:`vns_sam.formats.polygons.trace`."""
        traced = (trace_piece(piece) for piece in self.prediction.pieces)
        return tuple(simplify_parts(parts, self.simplify) if self.simplify > 0 else parts for parts in traced)


def candidate_scores(prediction: Prediction) -> list[list[float]]:
    """Predicted IoU of the masks to choose from, for each object, best first."""
    return [[round(float(score), 4) for score in offered.scores] for offered in prediction.candidates or ()]


def outline_ious(result: Result) -> list[float]:
    """For each object the IoU of its outlines, filled, with its mask: 1 where they are exact."""
    found = []
    for piece, parts in zip(result.prediction.pieces, result.parts, strict=True):
        mask = piece.mask
        drawn = np.zeros_like(mask)
        for ring in (ring for part in parts for ring in part):  # its corners are some of the exact one's
            drawn ^= fill_polygon(ring - [piece.left, piece.top], *mask.shape)
        union = int((drawn | mask).sum())
        found.append(int((drawn & mask).sum()) / union if union else 1.0)
    return found


def corner_count(result: Result) -> int:
    """Corners of all outlines."""
    return sum(len(ring) for parts in result.parts for part in parts for ring in part)


def each_object(stem: str, ending: str, objects: int) -> list[str]:
    """A name for each of so many objects: ``_0``, ``_1`` ... before the suffix; a single one has no number.

    >>> each_object("a/frog", "_mask.png", 2)
    ['a/frog_mask_0.png', 'a/frog_mask_1.png']
    """
    if objects == 1:
        return [f"{stem}{ending}"]
    body, dot, suffix = f"{stem}{ending}".rpartition(".")
    return [f"{body}_{index}{dot}{suffix}" for index in range(objects)]
