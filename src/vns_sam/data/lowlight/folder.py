"""A set or a folder made dark: masks and lists kept, bad pictures told and passed over, a stopped run goes on."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from vns_sam.data.lowlight.darkener import Darkener
from vns_sam.data.lowlight.luminance import Luminance, measure
from vns_sam.data.pairs import picture_folder, set_folders
from vns_sam.errors import DataError, UsageError
from vns_sam.images.lines import read_lines
from vns_sam.images.read import find_images, read_image
from vns_sam.images.write import atomic_path, check_writable, link_or_copy, write_text
from vns_sam.metrics.workers import process_pool, worker_died

logger = logging.getLogger(__name__)

MANIFEST = "manifest.jsonl"
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
    if source.resolve() in (out.resolve(), *out.resolve().parents):
        raise UsageError(f"expected --out outside of {source}, found {out}", hint=f"--out {source.resolve()}_dark")
    check_writable(out / MANIFEST)
    if out.is_dir() and any(out.iterdir()) and not (out / MANIFEST).is_file():
        raise DataError(f"expected a new folder at {out}, found other files", hint="choose another with --out")
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
    manifest = run.out / MANIFEST
    run.out.mkdir(parents=True, exist_ok=True)
    earlier = _read_manifest(manifest)
    plan = list(_plan(darkener, run, earlier))
    outcomes: list[Outcome] = []
    with manifest.open("a", encoding="utf-8") as lines:
        if lines.tell():
            lines.write("\n")  # a killed run may have left half a line
        for outcome in _work(darkener, run, plan, workers):
            if not outcome.error and not outcome.skipped:
                lines.write(_line(outcome))
                lines.flush()
                _remove_other(run, earlier.get(outcome.source), outcome)
            outcomes.append(outcome)
            yield outcome
    write_text(manifest, "".join(_line(outcome) for outcome in outcomes if not outcome.error))
    if picture_folder(run.source) != run.source:
        _copy_rest(run, outcomes)


def _plan(darkener: Darkener, run: DarkenRun, earlier: Mapping[str, Outcome]) -> Iterator[Outcome]:
    """For each picture what is to be done, or what is known already."""
    taken: dict[str, str] = {}
    for name in run.names:
        image = str(PurePosixPath(name).with_suffix(darkener.suffix))
        key = _key(darkener, run.source / name)
        first = taken.setdefault(image.casefold(), name)
        done = earlier.get(name)
        if first != name:
            yield Outcome(name, key, error=f"{run.source / name}: a picture of that name was there before, {first}")
        elif done and (done.key, done.image) == (key, image) and (run.out / image).is_file():
            yield replace(done, skipped=True)
        else:
            yield Outcome(name, key, image, darkener.identity)


def _work(darkener: Darkener, run: DarkenRun, plan: Sequence[Outcome], workers: int) -> Iterator[Outcome]:
    """Does what is planned; the order stays."""
    darken = partial(_darken, darkener, run.source, run.out)
    if workers == 0:
        yield from map(darken, plan)
        return
    pool = process_pool(workers)
    try:
        yield from pool.map(darken, plan, chunksize=1)
    except BrokenProcessPool:
        raise worker_died() from None
    finally:
        pool.shutdown(cancel_futures=True)


def _darken(darkener: Darkener, source: Path, out: Path, planned: Outcome) -> Outcome:
    """Reads, darkens and writes one picture, unless it is done or cannot be."""
    if planned.skipped or planned.error:
        return planned
    start = time.perf_counter()
    try:
        image = read_image(source / planned.source)
        dark = darkener(image, str(PurePosixPath(planned.source).with_suffix("")))
        with atomic_path(out / planned.image) as part:
            part.write_bytes(dark.encode())
    except DataError as error:
        logger.info("%s failed: %s", planned.source, error)
        return replace(planned, error=error.message)
    return replace(
        planned,
        parameters=dark.parameters,
        before=measure(image),
        after=measure(dark.image),
        seconds=round(time.perf_counter() - start, 3),
    )


def _key(darkener: Darkener, path: Path) -> str:
    asked = json.dumps([darkener.identity, path.stat().st_size], sort_keys=True)
    return hashlib.sha256(asked.encode()).hexdigest()[:16]


def _line(outcome: Outcome) -> str:
    kept = {name: value for name, value in asdict(outcome).items() if name not in ("error", "skipped")}
    return json.dumps(kept) + "\n"


def _read_manifest(path: Path) -> dict[str, Outcome]:
    """Pictures done by earlier runs; a line that was cut off is passed over."""
    done = {}
    for values in read_lines(path):
        try:
            lights = {name: Luminance(**values[name]) for name in ("before", "after")}
            outcome = Outcome(**{**values, **lights})
        except (ValueError, TypeError, KeyError):
            continue
        done[outcome.source] = outcome
    return done


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
