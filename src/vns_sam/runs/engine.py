"""The one run engine: what is to do is done by whoever does the work, and written here as it is found.

Every finished item is a line of the manifest. Started again, a run that was stopped, killed or cut off goes on: items
that are there and were made from the same input by the same question are passed over.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vns_sam.errors import DataError, OutputError, printable
from vns_sam.images.write import link_or_copy, remove_parts, write_bytes
from vns_sam.runs.job import Done, Item, Job, Mapper, Result
from vns_sam.runs.lines import LineFile
from vns_sam.runs.lock import is_held_below, locked
from vns_sam.runs.manifest import Entry, digest, head_line, is_inside, read_manifest, size_of, write_manifest
from vns_sam.runs.plan import Plan, prepare
from vns_sam.runs.threads import overlapped


@dataclass(frozen=True)
class Outcome:
    """What became of one item.

    Attributes:
        name: The item.
        error: Why it failed, or "".
        skipped: Whether it was done by an earlier run.
        replaced: Whether results of another question, or somebody's files, had to go for it.
        line: Its line in the manifest; empty where it has none.
    """

    name: str
    error: str = ""
    skipped: bool = False
    replaced: bool = False
    line: Mapping[str, Any] = field(default_factory=dict)

    @property
    def files(self) -> tuple[str, ...]:
        """Its files, relative to the output."""
        return () if self.error else tuple(self.line.get("files", ()))


def run(plan: Plan[Item], mapper: Mapper = overlapped, *, strict: bool = False) -> Iterator[Outcome]:
    """Does what is planned, yielding as it goes: what is done or cannot be done first, the rest as it is found.

    Args:
        plan: What to do. If another run has been at work since it was made, it is made again.
        mapper: Who does the work.
        strict: Whether the first failure ends the run.

    Raises:
        UsageError: Another run is at work in the output; or results of other models would be replaced.
        OutputError: The output cannot be written, or was removed while the run went on.
        DataError: An item failed and ``strict``.
        VnsSamError: Workers cannot be started.
    """
    job = plan.job
    with locked(job.out, job.verb):
        if read_manifest(job.out / job.manifest, job.verb, job.item_field) != plan.earlier:
            plan = prepare(job, force=plan.force, retry_failed=plan.retry_failed)
        asked = {**job.asked(), **job.identity()}
        plan = plan.asking(asked)
        _clean(plan)
        book = _Book(plan, asked)
        yield from book.known(strict=strict)
        with book.opened() as lines:
            for done in mapper(job, plan.todo) if plan.todo else ():
                outcome = book.write(done, lines)
                yield outcome
                if strict and outcome.error:
                    raise _strict(outcome)
        book.close()


def try_all(job: Job[Item], mapper: Mapper = overlapped, *, strict: bool = False) -> Iterator[Outcome]:
    """Does all items of a job whose lines say all, and writes nothing: the output of the job is not looked at.

    Raises:
        DataError: An item failed and ``strict``.
    """
    for outcome in itertools.chain(_refused(job), (_tried(job, done) for done in mapper(job, job.items))):
        yield outcome
        if strict and outcome.error:
            raise _strict(outcome)


def _refused(job: Job[Any]) -> Iterator[Outcome]:
    return (Outcome(name, printable(reason)) for name, reason in job.refused.items())


def _tried(job: Job[Any], done: Done[Result]) -> Outcome:
    fields = done.result.fields if done.result else {}
    return Outcome(done.name, done.error, line={job.item_field: done.name, **fields})


class _Book:
    """Writes the results of a run and keeps its manifest."""

    def __init__(self, plan: Plan[Any], asked: Mapping[str, Any]) -> None:
        self._plan, self._job = plan, plan.job
        self._id = digest(asked)
        self._noted = self._job.noted()
        self._head = head_line(self._job.verb, {**asked, **self._noted}, self._id)
        self._path = self._job.out / self._job.manifest
        self._now: dict[str, Entry] = {}

    def known(self, *, strict: bool) -> Iterator[Outcome]:
        """What needs no work."""
        for name, reason in self._plan.failed.items():
            outcome = Outcome(name, printable(reason))
            yield outcome
            if strict:
                raise _strict(outcome)
        for entry in self._plan.kept:
            yield Outcome(entry.name, skipped=True, line=entry.line)

    def opened(self) -> LineFile:
        """The manifest, with what is claimed, ready for lines."""
        plan, job = self._plan, self._job
        noted = {name: plan.earlier.asked.get(name) for name in self._noted}
        if plan.earlier.id != self._id or noted != self._noted:
            write_manifest(self._path, self._head, plan.earlier.entries.values())
        lines = LineFile(self._path, allow_nan=False)
        claim = [name for item in plan.todo for name in job.outputs(item)] + list(job.closing())
        if claim:
            lines.add({"claim": [*plan.earlier.claimed, *claim]}, sync=True)
        return lines

    def write(self, done: Done[Result], lines: LineFile) -> Outcome:
        """Writes what an item became, then its line into the manifest."""
        lines.check_there()
        before = self._plan.earlier.entries.get(done.name)
        if done.result is None:
            files = before.files if before else {}
            entry = self._entry(done, files, {"error": done.error})
        else:
            entry = self._entry(done, self._put(done.result, before), done.result.fields)
        self._now[done.name] = entry
        lines.add(entry.line)
        return Outcome(done.name, done.error, replaced=done.name in self._plan.replaced, line=entry.line)

    def close(self) -> None:
        """Writes what tells of all items, and the manifest anew in their order.

        Raises:
            OutputError: Results are gone.
        """
        plan, job = self._plan, self._job
        gone = [name for name, entry in self._now.items() if not entry.error and not entry.is_there(job.out)]
        current = {**{entry.name: entry for entry in plan.kept}, **self._now}
        order = [name for name in map(job.name, job.items) if name in current and name not in gone]
        asked = {*map(job.name, job.items)}
        others = [entry for name, entry in plan.earlier.entries.items() if name not in asked]
        if not gone:
            done = [current[name].line for name in order if not current[name].error]
            errors = {name: current[name].error for name in order if current[name].error}
            job.finish(done, {**plan.failed, **errors})
        write_manifest(self._path, self._head, [*others, *(current[name] for name in order)])
        if gone:
            raise OutputError(
                f"expected what was written to stay in {job.out}, found {len(gone)} of {len(self._now)} results gone, "
                f"first that of {gone[0]}",
                hint="start it again: what is gone is done anew",
            )

    def _put(self, result: Result, before: Entry | None) -> dict[str, int]:
        """Puts files in their places; those that the item had otherwise go first, so that none is ever forgotten."""
        out = self._job.out
        for name in set(before.files if before else ()) - set(result.files):
            with suppress(OSError):
                (out / name).unlink(missing_ok=True)
        for name, content in result.files.items():
            if not is_inside(name):
                raise OutputError(f"expected all results inside of {out}, found {name}")
            if isinstance(content, Path):
                link_or_copy(content, out / name)
            else:
                write_bytes(out / name, content)
        return {name: _size(content, out / name) for name, content in result.files.items()}

    def _entry(self, done: Done[Result], files: Mapping[str, int], fields: Mapping[str, Any]) -> Entry:
        line = {
            self._job.item_field: done.name,
            "key": done.key,
            "asked": self._id,
            "files": dict(files),
            **({"seconds": round(done.seconds, 3)} if self._job.timed else {}),
            **fields,
        }
        return Entry(done.name, done.key, self._id, files, done.error, line)


def _size(content: bytes | Path, path: Path) -> int:
    return max(0, size_of(path)) if isinstance(content, Path) else len(content)


def _clean(plan: Plan[Any]) -> None:
    """Removes what a killed run left half-written, but in folders that another run holds and below these."""
    job = plan.job
    names = {name for entry in plan.earlier.entries.values() for name in entry.files}
    names |= {name for item in plan.todo for name in job.outputs(item)}
    for folder in {job.out, *((job.out / name).parent for name in names)}:
        if not is_held_below(job.out, folder):
            remove_parts(folder)


def _strict(outcome: Outcome) -> DataError:
    return DataError(outcome.error, hint="without --strict it is told and passed over")


def stopped_at(job: Job[Any]) -> str:
    """One line that says what a run that was interrupted has kept."""
    entries = read_manifest(job.out / job.manifest, job.verb, job.item_field).entries.values()
    done = sum(not entry.error for entry in entries)
    return f"stopped: {done} of {len(job.items)} done are kept in {job.out}; the same command goes on"
