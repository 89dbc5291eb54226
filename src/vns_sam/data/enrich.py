"""Ground-truth enrichment (DIS-SAM, section III-B): each large part of a mask becomes a training sample of its own.

A picture whose mask falls into several parts is given once for each of them and once as a whole, so that a box tells
which part is meant. Follows the released code: ids are those of all parts, dropped ones included.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from scipy import ndimage
from typing_extensions import override

from vns_sam.data.pairs import Pair, check_same_size, find_list, find_pairs, part_stem, read_mask
from vns_sam.data.splits import SPLITS, listed_stems
from vns_sam.images.read import file_digest, read_image
from vns_sam.images.write import encode_image, write_text
from vns_sam.runs.job import Job, Result
from vns_sam.runs.plan import check_outside

LEAST_SHARE = Fraction(4, 1000)
"""Parts smaller than this share of the picture are dropped; exact, so that equality is kept."""
WHOLE = 0
"""Id of the untouched mask."""


@dataclass(frozen=True)
class Component:
    """A part of a mask.

    Attributes:
        id: Place among all 8-connected parts by their first pixel in reading order, from 1; 0 is the whole mask.
        area: Pixels.
        box: Left, top, right and bottom column and row, all inside.
    """

    id: int
    area: int
    box: tuple[int, int, int, int]

    def sample(self, stem: str) -> str:
        """Name of the sample of a picture."""
        return part_stem(stem, self.id)

    def as_dict(self) -> dict[str, Any]:
        """As the manifest has it."""
        return {"id": self.id, "area": self.area, "box": list(self.box)}


def split_mask(mask: np.ndarray) -> list[tuple[Component, np.ndarray]]:
    """The samples of one mask: parts of at least 0.4 % of the picture, then, if these are several, the whole.

    Args:
        mask: (H, W) bool.

    Returns:
        Each with its mask (H, W) bool; parts by rising id. A single part that is large enough loses its specks.
    """
    labels, _ = ndimage.label(mask, np.ones((3, 3)))
    areas = np.bincount(labels.ravel())
    found = []
    for number, place in enumerate(ndimage.find_objects(labels), start=1):
        if areas[number] >= LEAST_SHARE * mask.size:
            found.append((Component(number, int(areas[number]), _box(place)), labels == number))
    if len(found) > 1:
        (everything,) = ndimage.find_objects(mask.astype(np.uint8))
        found.append((Component(WHOLE, int(areas[1:].sum()), _box(everything)), mask))
    return found


@dataclass
class EnrichJob(Job[Pair]):
    """The samples of a set: a hard link to the picture and a mask of 0 and 255 for each.

    A line tells the ``components``, see :class:`Component`; it has none where every part is too small, which drops the
    picture. Ids of single objects (``masks_instance/``) are not taken along.

    Attributes:
        target: Where the new set goes.
        pairs: The pairs, in order.
        broken: Stems that lack a picture or a mask, with the reason.
        lists: Stems by list, which the output gets with their samples.
    """

    target: Path
    pairs: Sequence[Pair]
    broken: Mapping[str, str]
    lists: Mapping[str, Sequence[str]] = field(default_factory=dict)

    verb: ClassVar[str] = "data enrich"
    item_field: ClassVar[str] = "stem"

    @property
    @override
    def out(self) -> Path:
        return self.target

    @property
    @override
    def items(self) -> Sequence[Pair]:
        return self.pairs

    @property
    @override
    def refused(self) -> Mapping[str, str]:
        return self.broken

    @override
    def name(self, item: Pair) -> str:
        return item.stem

    @override
    def inputs(self, item: Pair) -> Sequence[Path]:
        return [item.image, item.mask]

    @override
    def key(self, item: Pair) -> str:
        return file_digest(item.mask)[:32]

    @override
    def read(self, item: Pair) -> np.ndarray:
        mask = read_mask(item.mask)
        check_same_size(item, read_image(item.image), mask)
        return mask

    @override
    def work(self, item: Pair, content: np.ndarray) -> list[tuple[Component, np.ndarray]]:
        return split_mask(content)

    @override
    def encode(self, item: Pair, answer: list[tuple[Component, np.ndarray]]) -> Result:
        files: dict[str, bytes | Path] = {}
        for component, part in answer:
            name = component.sample(item.stem)
            files[f"masks/{name}.png"] = encode_image(part.astype(np.uint8) * 255)
            files[f"images/{name}{item.image.suffix}"] = item.image
            if item.ignore:
                files[f"masks_ignore/{name}{item.ignore.suffix}"] = item.ignore
        return Result(files, {"components": [component.as_dict() for component, _ in answer]})

    @override
    def finish(self, done: Sequence[Mapping[str, Any]], failed: Mapping[str, str]) -> None:
        samples = {line["stem"]: samples_of(line) for line in done}
        for split, stems in self.lists.items():
            names = [name for stem in stems for name in samples.get(stem, ())]
            write_text(self.target / f"{split}.txt", "".join(f"{name}\n" for name in names))


def samples_of(line: Mapping[str, Any]) -> list[str]:
    """Names of the samples that a line of the manifest tells of."""
    return [part_stem(line["stem"], component["id"]) for component in line["components"]]


def plan_enrich(source: Path, out: Path, *, split: str | None = None, strict: bool = False) -> EnrichJob:
    """Finds the pairs of a set.

    Args:
        source: A set in the layout of :mod:`vns_sam.data.pairs`.
        out: Where the new set goes.
        split: The list of the source to follow, which the output gets, too; None takes every picture, and the output
            gets the lists of the source that a training goes by: what was held out stays so.
        strict: Raise where a picture or a mask is missing.

    Raises:
        UsageError: The output is the source or lies in it.
        DataError: The source is no set, or a pair is incomplete and ``strict``.
    """
    check_outside(source, out, "enriched")
    broken: dict[str, str] = {}
    pairs = find_pairs(source, split, broken=None if strict else broken)
    stems = [pair.stem for pair in pairs]
    if split is not None:
        return EnrichJob(out, pairs, broken, {split: stems})
    there = set(stems)
    lists = {name: list(listed_stems(source, name, there)) for name in SPLITS if find_list(source, name)}
    return EnrichJob(out, pairs, broken, lists)


def _box(place: tuple[slice, ...]) -> tuple[int, int, int, int]:
    rows, columns = place
    return columns.start, rows.start, columns.stop - 1, rows.stop - 1
