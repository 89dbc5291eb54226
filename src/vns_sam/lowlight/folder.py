"""A set or a folder made dark: masks and lists kept, bad pictures told and passed over, a stopped run goes on."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from vns_sam.data.pairs import picture_folder, set_folders
from vns_sam.errors import DataError
from vns_sam.images.read import file_digest, find_images, one_line, read_image
from vns_sam.images.write import atomic_path, link_or_copy, write_text
from vns_sam.lowlight.darkener import Darkener
from vns_sam.lowlight.luminance import Luminance, measure
from vns_sam.runs.manifest import check_output, check_outside, extended_manifest, read_manifest, write_manifest
from vns_sam.runs.processes import map_in_processes

logger = logging.getLogger(__name__)

MORE_MASKS = ("masks_instance", "masks_ignore")
"""Folders of a set, beside the one of its masks, whose files go with the pictures."""

_MASKS = re.compile(r"gts?|masks?([_-].*)?", re.IGNORECASE)


@dataclass(frozen=True)
class DarkenRun:
    """What to make dark.

    Attributes:
        source: A set, see :mod:`vns_sam.data.pairs`, or a folder of pictures in any order.
        out: Where the result goes, laid out as the source is.
        names: The pictures, relative to ``source``.
    """

    source: Path
    out: Path
    names: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """What became of one picture; one line of the manifest.

    Attributes:
        source: The picture, relative to the source.
        key: Digest of what was asked: when it changes, the picture is done again.
        image: The dark picture, relative to the output.
        identity: What made it: method, strength, and so on.
        parameters: What was drawn for it.
        before, after: Luminance, None for a picture that failed.
        seconds: For reading, darkening and writing.
        error: Why it failed, or "".
        skipped: Whether it was done by an earlier run.
    """

    source: str
    key: str
    image: str = ""
    identity: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, float | int] = field(default_factory=dict)
    before: Luminance | None = None
    after: Luminance | None = None
    seconds: float = 0.0
    error: str = ""
    skipped: bool = False


def plan_run(source: Path, out: Path) -> DarkenRun:
    """Finds the pictures and checks that the output may be written.

    Raises:
        UsageError: The output is the source or lies inside it.
        DataError: There is no picture; the source has masks but not as a set has them, so that they would be made
            dark, too; or the output holds something else than an earlier run of this command.
    """
    if not source.is_dir():
        raise DataError(f"expected a set or a folder of pictures at {source}, found no folder there")
    check_outside(source, out, "dark")
    check_output(out)
    folder = picture_folder(source)
    masks = [path for path in folder.rglob("*") if path.is_dir() and _MASKS.fullmatch(path.name)]
    if masks:
        hint = "a set has its pictures in images/ and its masks in masks/"
        raise DataError(f"expected pictures only in {folder}, found the folder {masks[0]}", hint=hint)
    names = [(folder / name).relative_to(source).as_posix() for name in find_images(folder)]
    return DarkenRun(source, out, tuple(names))


def darken_folder(darkener: Darkener, run: DarkenRun, *, workers: int = 0) -> Iterator[Outcome]:
    """Makes each picture dark, yielding as it goes, in the order of the names.

    Every finished picture is a line in ``out/manifest.jsonl``. Started again, pictures that are there and were made
    in the same way are skipped. When all are done, masks and lists are put beside them; pictures that failed are
    left out of the lists.

    Args:
        darkener: Must be picklable when there are workers.
        run: What to make dark.
        workers: Processes; 0 works in the caller.

    Raises:
        DataError: ``out`` cannot be written; a picture that fails raises nothing.
        VnsSamError: A process has died.
    """
    earlier = {outcome.source: outcome for outcome in read_manifest(run.out, _remembered)}
    plan = list(_plan(darkener, run))
    before = [earlier.get(name) for name in run.names]
    outcomes: list[Outcome] = []
    darken = partial(_darken, darkener, run.source, run.out)
    with extended_manifest(run.out) as add:
        for outcome in map_in_processes(darken, plan, before, workers=workers):
            add(outcome)
            if not outcome.error:
                _remove_other(run, earlier.get(outcome.source), outcome)
            outcomes.append(outcome)
            yield outcome
    write_manifest(run.out, outcomes)
    if picture_folder(run.source) != run.source:
        _copy_rest(run, outcomes)


def _plan(darkener: Darkener, run: DarkenRun) -> Iterator[Outcome]:
    """For each picture what is to be done."""
    taken: dict[str, str] = {}
    for name in run.names:
        image = str(PurePosixPath(name).with_suffix(darkener.suffix))
        first = taken.setdefault(image.casefold(), name)
        if first != name:
            yield Outcome(name, "", error=f"{run.source / name}: a picture of that name was there before, {first}")
        else:
            yield Outcome(name, "", image, darkener.identity)


def _darken(darkener: Darkener, source: Path, out: Path, planned: Outcome, before: Outcome | None) -> Outcome:
    """Reads, darkens and writes one picture, unless an earlier run did or it cannot be."""
    if planned.error:
        return planned
    start = time.perf_counter()
    planned = replace(planned, key=_key(darkener, source / planned.source))
    if before and (before.key, before.image) == (planned.key, planned.image) and (out / planned.image).is_file():
        return replace(before, skipped=True)
    try:
        image = read_image(source / planned.source)
        dark = darkener(image, str(PurePosixPath(planned.source).with_suffix("")))
        content = dark.encode()
    except (DataError, OSError) as error:  # an OSError comes from the encoder: a JPEG has at most 65,500 pixels a side
        logger.info("%s failed: %s", planned.source, error)
        told = error.message if isinstance(error, DataError) else f"{source / planned.source}: {one_line(error)}"
        return replace(planned, error=told)
    with atomic_path(out / planned.image) as part:
        part.write_bytes(content)
    return replace(
        planned,
        parameters=dark.parameters,
        before=measure(image),
        after=measure(dark.image),
        seconds=round(time.perf_counter() - start, 3),
    )


def _key(darkener: Darkener, path: Path) -> str:
    try:
        picture = file_digest(path)
    except DataError:
        picture = ""  # told when it is read
    asked = json.dumps([darkener.identity, picture], sort_keys=True)
    return hashlib.sha256(asked.encode()).hexdigest()[:16]


def _remembered(values: dict[str, Any]) -> Outcome:
    lights = {name: Luminance(**values[name]) for name in ("before", "after")}
    return Outcome(**{**values, **lights})


def _remove_other(run: DarkenRun, before: Outcome | None, now: Outcome) -> None:
    """Removes what an earlier run with another method made of the same picture under another ending."""
    if before and before.image != now.image:
        (run.out / before.image).unlink(missing_ok=True)


def _copy_rest(run: DarkenRun, outcomes: Sequence[Outcome]) -> None:
    """Puts the masks of the finished pictures, and the lists without the failed ones, beside the pictures."""
    done = {Path(outcome.source).stem for outcome in outcomes if not outcome.error}
    failed = {Path(outcome.source).stem for outcome in outcomes if outcome.error} - done
    for folder in (set_folders(run.source)[1].name, *MORE_MASKS):
        for path in sorted((run.source / folder).glob("*")):
            if path.is_file() and path.stem in done:
                link_or_copy(path, run.out / folder / path.name)
    for path in sorted([*run.source.glob("*.txt"), *run.source.glob("list/*.txt")]):
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        kept = [line for line in lines if not {line.strip(), Path(line.strip()).stem} & failed]
        write_text(run.out / path.relative_to(run.source), "".join(f"{line}\n" for line in kept))
