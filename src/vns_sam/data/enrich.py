"""Ground-truth enrichment (DIS-SAM, section III-B): each large part of a mask becomes a training sample of its own.

A picture whose mask falls into several parts is given once for each of them and once as a whole, so that a box tells
which part is meant. Follows the released code: ids are those of all parts, dropped ones included.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np
from scipy import ndimage

from vns_sam.data.pairs import Pair, check_same_size, find_pairs, read_mask
from vns_sam.errors import DataError, UsageError
from vns_sam.images.lines import read_lines
from vns_sam.images.read import read_image
from vns_sam.images.write import check_writable, link_or_copy, write_mask, write_text
from vns_sam.metrics.workers import process_pool, worker_died

logger = logging.getLogger(__name__)

LEAST_SHARE = Fraction(4, 1000)
"""Parts smaller than this share of the picture are dropped; exact, so that equality is kept."""
WHOLE = 0
"""Id of the untouched mask."""
MANIFEST = "manifest.jsonl"


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

    Every finished picture is a line in ``out/manifest.jsonl``. Started again, pictures whose mask is the same and
    whose samples are there are passed over. Ids of single objects (``masks_instance/``) are not taken along.

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
    _check_places(source, out)
    broken: dict[str, str] = {}
    pairs = find_pairs(source, split, broken=None if strict else broken)
    manifest = out / MANIFEST
    out.mkdir(parents=True, exist_ok=True)
    earlier = _read_manifest(manifest)
    outcomes = [Outcome(stem, error=reason) for stem, reason in broken.items()]
    total = len(pairs) + len(outcomes)
    yield from ((outcome, total) for outcome in outcomes)
    with manifest.open("a", encoding="utf-8") as lines:
        if lines.tell():
            lines.write("\n")  # a killed run may have left half a line
        for outcome in _work(out, pairs, earlier, workers):
            if strict and outcome.error:
                raise DataError(outcome.error)
            if not outcome.error and not outcome.skipped:
                lines.write(_line(outcome))
                lines.flush()
            outcomes.append(outcome)
            yield outcome, total
    write_text(manifest, "".join(_line(outcome) for outcome in outcomes if not outcome.error))
    if split is not None:
        write_text(out / f"{split}.txt", "".join(f"{name}\n" for outcome in outcomes for name in outcome.samples))


def _check_places(source: Path, out: Path) -> None:
    if source.resolve() in (out.resolve(), *out.resolve().parents):
        raise UsageError(f"expected --out outside of {source}, found {out}", hint=f"--out {source.resolve()}_enriched")
    check_writable(out / MANIFEST)
    if out.is_dir() and any(out.iterdir()) and not (out / MANIFEST).is_file():
        raise DataError(f"expected a new folder at {out}, found other files", hint="choose another with --out")


def _work(out: Path, pairs: Sequence[Pair], earlier: Mapping[str, Outcome], workers: int) -> Iterator[Outcome]:
    enrich = partial(_enrich, out)
    before = [earlier.get(pair.stem) for pair in pairs]
    if workers == 0:
        yield from map(enrich, pairs, before)
        return
    pool = process_pool(workers)
    try:
        yield from pool.map(enrich, pairs, before)
    except BrokenProcessPool:
        raise worker_died() from None
    finally:
        pool.shutdown(cancel_futures=True)


def _enrich(out: Path, pair: Pair, before: Outcome | None) -> Outcome:
    """Writes the samples of one picture, unless they are there or cannot be made."""
    try:
        key = hashlib.blake2b(pair.mask.read_bytes(), digest_size=16).hexdigest()
        if before and before.key == key and all(path.is_file() for path in _files(out, before)):
            return replace(before, skipped=True)
        mask = read_mask(pair.mask)
        check_same_size(pair, read_image(pair.image), mask)
        found = split_mask(mask)
        outcome = Outcome(pair.stem, key, pair.image.suffix, tuple(component for component, _ in found))
        for path in set(_files(out, before)) - set(_files(out, outcome)) if before else ():
            path.unlink(missing_ok=True)
        for name, (_, part) in zip(outcome.samples, found, strict=True):
            write_mask(out / "masks" / f"{name}.png", part)
            link_or_copy(pair.image, out / "images" / f"{name}{pair.image.suffix}")
            if pair.ignore:
                link_or_copy(pair.ignore, out / "masks_ignore" / f"{name}{pair.ignore.suffix}")
    except (DataError, OSError) as error:
        logger.info("%s failed: %s", pair.stem, error)
        return Outcome(pair.stem, error=str(error))
    return outcome


def _files(out: Path, outcome: Outcome) -> list[Path]:
    masks = [out / "masks" / f"{name}.png" for name in outcome.samples]
    return [*masks, *(out / "images" / f"{name}{outcome.suffix}" for name in outcome.samples)]


def _line(outcome: Outcome) -> str:
    kept = {name: value for name, value in asdict(outcome).items() if name not in ("error", "skipped")}
    return json.dumps(kept) + "\n"


def _read_manifest(path: Path) -> dict[str, Outcome]:
    """Pictures done by earlier runs; a line that was cut off is passed over."""
    done = {}
    for values in read_lines(path):
        try:
            components = tuple(Component(c["id"], c["area"], tuple(c["box"])) for c in values.pop("components"))
            outcome = Outcome(**values, components=components)
        except (ValueError, TypeError, KeyError):
            continue
        done[outcome.stem] = outcome
    return done


def _box(place: tuple[slice, ...]) -> tuple[int, int, int, int]:
    rows, columns = place
    return columns.start, rows.start, columns.stop - 1, rows.stop - 1
