"""Ground-truth enrichment (DIS-SAM, section III-B): each large part of a mask becomes a training sample of its own.

A picture whose mask falls into several parts is given once for each of them and once as a whole, so that a box tells
which part is meant. Follows the released code: ids are those of all parts, dropped ones included.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from vns_sam.data.pairs import Pair, check_same_size, find_pairs, read_mask
from vns_sam.errors import DataError
from vns_sam.images.read import file_digest, read_image
from vns_sam.images.write import link_or_copy, write_mask, write_text
from vns_sam.runs.manifest import check_output, check_outside, extended_manifest, read_manifest, write_manifest
from vns_sam.runs.processes import map_in_processes

logger = logging.getLogger(__name__)

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


@dataclass(frozen=True)
class Outcome:
    """What became of one picture; one line of the manifest.

    Attributes:
        stem: Its name.
        key: Digest of its mask: when it changes, the picture is done again.
        suffix: Ending of its picture.
        components: Its samples; none where every part is too small, which drops the picture.
        error: Why it was left out, or "".
        skipped: Whether it was done by an earlier run.
    """

    stem: str
    key: str = ""
    suffix: str = ""
    components: tuple[Component, ...] = ()
    error: str = ""
    skipped: bool = False

    @property
    def samples(self) -> list[str]:
        """Names of the samples."""
        return [f"{self.stem}_comp_{component.id}" for component in self.components]


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


def enrich_set(
    source: Path, out: Path, *, split: str | None = None, strict: bool = False, workers: int = 0
) -> Iterator[tuple[Outcome, int]]:
    """Writes the samples of a set: a hard link to the picture and a mask of 0 and 255 for each.

    Every finished picture is a line in ``out/manifest.jsonl``, those of another split that went there before, too.
    Started again, pictures whose mask is the same and whose samples are there are passed over. Ids of single objects
    (``masks_instance/``) are not taken along.

    Args:
        source: A set in the layout of :mod:`vns_sam.data.pairs`.
        out: Where the new set goes.
        split: The list of the source to follow, which the output gets, too; None takes every picture.
        strict: Raise at the first bad pair instead of yielding it with its error.
        workers: Processes; 0 works in the caller.

    Yields:
        For each picture in order what became of it, and the number of pictures.

    Raises:
        UsageError: The output is the source or lies in it.
        DataError: The source is no set, ``out`` holds something else or cannot be written, or a pair is bad and
            ``strict``.
        VnsSamError: A process has died.
    """
    check_outside(source, out, "enriched")
    check_output(out)
    broken: dict[str, str] = {}
    pairs = find_pairs(source, split, broken=None if strict else broken)
    earlier = {outcome.stem: outcome for outcome in read_manifest(out, _remembered)}
    outcomes = [Outcome(stem, error=reason) for stem, reason in broken.items()]
    total = len(pairs) + len(outcomes)
    yield from ((outcome, total) for outcome in outcomes)
    before = [earlier.get(pair.stem) for pair in pairs]
    with extended_manifest(out) as add:
        for outcome in map_in_processes(partial(_enrich, out), pairs, before, workers=workers):
            if strict and outcome.error:
                raise DataError(outcome.error)
            add(outcome)
            outcomes.append(outcome)
            yield outcome, total
    now = {outcome.stem for outcome in outcomes}
    write_manifest(out, [*(outcome for stem, outcome in earlier.items() if stem not in now), *outcomes])
    if split is not None:
        write_text(out / f"{split}.txt", "".join(f"{name}\n" for outcome in outcomes for name in outcome.samples))


def _enrich(out: Path, pair: Pair, before: Outcome | None) -> Outcome:
    """Writes the samples of one picture, unless they are there or the pair is bad."""
    try:
        key = file_digest(pair.mask)[:32]
        if before and before.key == key and all(path.is_file() for path in _files(out, before)):
            return replace(before, skipped=True)
        mask = read_mask(pair.mask)
        check_same_size(pair, read_image(pair.image), mask)
    except (DataError, OSError) as error:
        logger.info("%s failed: %s", pair.stem, error)
        return Outcome(pair.stem, error=str(error))
    found = split_mask(mask)
    outcome = Outcome(pair.stem, key, pair.image.suffix, tuple(component for component, _ in found))
    for path in set(_files(out, before)) - set(_files(out, outcome)) if before else ():
        path.unlink(missing_ok=True)
    for name, (_, part) in zip(outcome.samples, found, strict=True):
        write_mask(out / "masks" / f"{name}.png", part)
        link_or_copy(pair.image, out / "images" / f"{name}{pair.image.suffix}")
        if pair.ignore:
            link_or_copy(pair.ignore, out / "masks_ignore" / f"{name}{pair.ignore.suffix}")
    return outcome


def _files(out: Path, outcome: Outcome) -> list[Path]:
    masks = [out / "masks" / f"{name}.png" for name in outcome.samples]
    return [*masks, *(out / "images" / f"{name}{outcome.suffix}" for name in outcome.samples)]


def _remembered(values: dict[str, Any]) -> Outcome:
    components = tuple(Component(c["id"], c["area"], tuple(c["box"])) for c in values.pop("components"))
    return Outcome(**values, components=components)


def _box(place: tuple[slice, ...]) -> tuple[int, int, int, int]:
    rows, columns = place
    return columns.start, rows.start, columns.stop - 1, rows.stop - 1
