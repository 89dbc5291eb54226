"""What a run will do, judged before any work: which files it writes, keeps and replaces."""

from __future__ import annotations

import json
import os
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic

from vns_sam.errors import DataError, UsageError
from vns_sam.images.write import check_writable
from vns_sam.runs.job import Item, Job
from vns_sam.runs.manifest import Entry, Manifest, digest, is_inside, read_manifest, size_of

READERS = 4
"""Threads that look whether the files of finished items are still the same."""

WHOLE = "the run as a whole"
"""What messages call the owner of the files that tell of all items."""

FORCE = "--force replaces what is there; or choose another --out"


@dataclass(frozen=True)
class Plan(Generic[Item]):
    """A run that may begin.

    Attributes:
        job: What is done.
        earlier: What earlier runs left.
        todo: The items to do, in order.
        kept: Items that are done, with their lines.
        failed: Items that cannot be done, with one line each.
        replaced: Items of ``todo`` whose results are there and were made otherwise.
        force: Whether results may be replaced.
        retry_failed: Whether only what failed before is done.
    """

    job: Job[Item]
    earlier: Manifest
    todo: tuple[Item, ...] = ()
    kept: tuple[Entry, ...] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    replaced: frozenset[str] = frozenset()
    force: bool = False
    retry_failed: bool = False

    @property
    def total(self) -> int:
        """Items of all kinds."""
        return len(self.todo) + len(self.kept) + len(self.failed)

    def asking(self, asked: Mapping[str, Any]) -> Plan[Item]:
        """The same when all that is asked of every item is known, models included.

        Raises:
            UsageError: Results are there that other models made, and may not be replaced.
        """
        identity = digest(asked)
        begun = [self.earlier.entries.get(self.job.name(item)) for item in self.todo]
        left = [entry for entry in begun if entry and not entry.error and _has_files(self.job, entry)]
        strangers = {entry.name for entry in (*self.kept, *left) if entry.asked != identity}
        if not strangers:
            return self
        if not self.force:
            how = _difference(self.earlier.asked, asked) or "otherwise"
            raise UsageError(_by_another(self.job, len(strangers), how), hint=FORCE)
        names = {self.job.name(item) for item in self.todo} | strangers
        return replace(
            self,
            todo=tuple(item for item in self.job.items if self.job.name(item) in names),
            kept=tuple(entry for entry in self.kept if entry.name not in strangers),
            replaced=self.replaced | strangers,
        )


def prepare(job: Job[Item], *, force: bool = False, retry_failed: bool = False) -> Plan[Item]:
    """Judges a run; nothing is written and no model is loaded.

    Args:
        job: What is to be done.
        force: Whether results of another question, and files that are of no run, may be replaced.
        retry_failed: Whether only what failed before is done.

    Raises:
        UsageError: Two items would become one file, a file would leave the output or replace an input; results of
            another question or somebody's file would be replaced without ``force``; the folder is another verb's.
        OutputError: The output cannot be written.
        DataError: The output holds something else.
    """
    path = job.out / job.manifest
    check_writable(path)
    earlier = read_manifest(path, job.verb, job.item_field)
    _check_folder(job, force=force, foreign=earlier.foreign)
    _check_outputs(job)
    _check_closing(job, earlier, force=force)
    _check_question(job, earlier, force=force)
    plan = Plan(job, earlier, failed=job.refused, force=force, retry_failed=retry_failed)
    return _sorted(plan)


def _check_folder(job: Job[Any], *, force: bool, foreign: bool) -> None:
    if foreign and not force:
        raise UsageError(
            f"expected a manifest of this version in {job.out}, found one of an earlier version", hint=FORCE
        )
    if job.shares_folder or not job.out.is_dir() or (job.out / job.manifest).is_file():
        return
    if any(not path.name.startswith(".") for path in job.out.iterdir()):
        raise DataError(f"expected a new folder at {job.out}, found other files", hint="choose another with --out")


def _check_question(job: Job[Any], earlier: Manifest, *, force: bool) -> None:
    if force or not any(not entry.error for entry in earlier.entries.values()):
        return
    if how := _difference(earlier.asked, job.asked()):
        raise UsageError(_by_another(job, len(earlier.entries), how), hint=FORCE)


def _difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """In words, the first thing that is asked otherwise than before."""
    for name, value in json.loads(json.dumps(dict(now))).items():
        if before.get(name) != value:
            return f"with {name.replace('_', ' ')} {_shown(before.get(name))} instead of {_shown(value)}"
    return ""


def _by_another(job: Job[Any], count: int, how: str) -> str:
    return f"expected results of the same question in {job.out}, found {count} made {how}"


def _shown(value: Any) -> str:
    return f"'{value}'" if isinstance(value, str) else str(value)


def _check_outputs(job: Job[Any]) -> None:
    """Each file is inside of the output, has one owner, and is no input."""
    owners: dict[str, str] = {}
    inputs = {_real(path) for item in job.items for path in job.inputs(item)}
    names: set[str] = set()
    for item in job.items:
        name = job.name(item)
        if name in names:
            raise UsageError(f"expected each item once, found {name} twice")
        names.add(name)
    outputs = [(job.name(item), output) for item in job.items for output in job.outputs(item)]
    for name, output in (*outputs, *((WHOLE, output) for output in job.closing())):
        first = owners.setdefault(_folded(output), name)
        if first != name:
            raise UsageError(f"expected a file of its own for each, found {output} for both {first} and {name}")
        if not is_inside(output):
            raise UsageError(f"expected all results inside of {job.out}, found {output} for {name}")
        if _real(job.out / output) in inputs:
            hint = "choose another --out"
            raise UsageError(f"expected to replace no input, found {job.out / output} for {name}", hint=hint)


def _check_closing(job: Job[Any], earlier: Manifest, *, force: bool) -> None:
    """What a run writes at its end is in nobody's way; where an earlier run of the verb was, it is taken for its."""
    if force or earlier.id:
        return
    if there := next((name for name in job.closing() if os.path.lexists(job.out / name)), ""):
        raise _in_the_way(job.out / there)


def _sorted(plan: Plan[Item]) -> Plan[Item]:
    """Sorts the items into what is to do and what is done."""
    job, entries = plan.job, plan.earlier.entries
    items = list(job.items)
    with ThreadPoolExecutor(READERS) as pool:
        states = list(pool.map(lambda item: _state(plan, item), items))
    todo = [item for item, state in zip(items, states, strict=True) if state != "kept"]
    clashes = [job.name(item) for item, state in zip(items, states, strict=True) if state in ("other", "foreign")]
    if clashes and not plan.force:
        raise _would_replace(plan, clashes)
    if plan.retry_failed:
        todo = [item for item in todo if (entry := entries.get(job.name(item))) and entry.error]
    kept = [entries[job.name(item)] for item, state in zip(items, states, strict=True) if state == "kept"]
    corrected = [job.name(item) for item, state in zip(items, states, strict=True) if state == "corrected"]
    return replace(plan, todo=tuple(todo), kept=tuple(kept), replaced=frozenset(clashes + corrected))


def _state(plan: Plan[Item], item: Item) -> str:
    """``kept``, ``new``, ``corrected`` (what was made of the same input, asked otherwise, is there as it was left),
    ``other`` (results of another question are there) or ``foreign`` (somebody's files are).
    """
    job, earlier = plan.job, plan.earlier
    entry = earlier.entries.get(job.name(item))
    if entry is None or entry.error:
        owned = entry.files if entry else {}
        there = [name for name in job.outputs(item) if name not in owned and name not in earlier.claimed]
        return "foreign" if any(os.path.lexists(job.out / name) for name in there) else "new"
    if plan.retry_failed:
        return "kept"
    try:
        same = entry.asked == earlier.id and entry.key == job.key(item)
        corrected = not same and entry.asked == earlier.id and job.corrects(item, entry.line)
    except DataError:
        same = corrected = False  # told with the refusal, or when it is tried
    if not same:
        if not _has_files(job, entry):
            return "new"
        return "corrected" if corrected and _may_go(plan, item, entry) else "other"
    if entry.is_there(job.out):
        return "kept"
    return "new" if entry.is_untouched(job.out) else "other"


def _has_files(job: Job[Any], entry: Entry) -> bool:
    return any(size_of(job.out / name) > 0 for name in entry.files)


def _may_go(plan: Plan[Item], item: Item, entry: Entry) -> bool:
    """Whether an item's files are as they were written, and those that it becomes now are in nobody's way."""
    others = [name for name in plan.job.outputs(item) if name not in {*entry.files, *plan.earlier.claimed}]
    return entry.is_untouched(plan.job.out) and not any(os.path.lexists(plan.job.out / name) for name in others)


def _would_replace(plan: Plan[Any], clashes: list[str]) -> UsageError:
    entry = plan.earlier.entries.get(clashes[0])
    found = f"{len(clashes)} of {len(plan.job.items)}" if len(clashes) > 1 else "one"
    if entry is None or entry.error:
        names = next(plan.job.outputs(item) for item in plan.job.items if plan.job.name(item) == clashes[0])
        there = next(name for name in names if os.path.lexists(plan.job.out / name))
        return _in_the_way(plan.job.out / there)
    why = _unusable(plan.job, clashes[0])
    return UsageError(
        f"expected to replace no result in {plan.job.out}, found {found} made from another input or question: "
        f"{clashes[0]}{f' ({why})' if why else ''}",
        hint=FORCE,
    )


def _unusable(job: Job[Any], name: str) -> str:
    """Why an item cannot be used as it is now, "" if it can."""
    try:
        job.key(next(item for item in job.items if job.name(item) == name))
    except DataError as error:
        return error.message
    return ""


def _in_the_way(path: Path) -> UsageError:
    return UsageError(f"expected no file of others in the way, found {path}", hint=FORCE)


def check_outside(source: Path, out: Path, ending: str) -> None:
    """Checks that the output is neither the source nor in it; ``ending`` makes a better name from the source's.

    Raises:
        UsageError: It is.
    """
    if source.resolve() in (out.resolve(), *out.resolve().parents):
        raise UsageError(f"expected --out outside of {source}, found {out}", hint=f"--out {source.resolve()}_{ending}")


def distinct_stems(names: Iterator[str] | tuple[str, ...]) -> dict[str, str]:
    """For each relative path a stem that no other has, also where case and accents are not told apart.

    It is the path without its ending; those that would share it keep the ending: ``a.jpg`` and ``a.png`` become
    ``a_jpg`` and ``a_png``. So does a path whose stem such a name has: ``a_jpg.tif`` beside them becomes ``a_jpg_tif``.
    What still is the same, as ``b.jpg`` and ``B.jpg``, is numbered: ``b_jpg`` and ``B_jpg_2``.
    """
    endings = {name: os.path.splitext(name)[1] for name in names}
    stems = {name: name.removesuffix(ending) for name, ending in endings.items()}
    short = set(stems)
    while True:
        count = Counter(map(_folded, stems.values()))
        shared = {name for name in short if count[_folded(stems[name])] > 1}
        if not shared:
            return _numbered(stems)
        short -= shared
        stems |= {name: f"{stems[name]}_{endings[name][1:]}" for name in shared}


def _numbered(stems: dict[str, str]) -> dict[str, str]:
    """Stems by name, those that another has already with a number that makes them new."""
    taken, seen = set(map(_folded, stems.values())), set[str]()
    for name, stem in stems.items():
        number = 2
        while _folded(stems[name]) in seen:
            if _folded(numbered := f"{stem}_{number}") not in taken:
                stems[name] = numbered
            number += 1
        seen.add(_folded(stems[name]))
        taken.add(_folded(stems[name]))
    return stems


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _real(path: Path) -> str:
    return os.path.join(os.path.realpath(path.parent), path.name)
