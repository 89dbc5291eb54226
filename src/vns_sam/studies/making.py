"""Which steps of a pipeline are done, and of what: so that a run that was stopped goes on and nothing is made twice."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from vns_sam.data.pairs import is_set
from vns_sam.errors import DataError, UsageError
from vns_sam.images.write import write_json, write_text
from vns_sam.studies.digests import files_digest, given_files, model_digest, named_strings
from vns_sam.studies.pipeline import SETS, Darken, Pipeline, Train, Work

RECORD = "made.json"
"""In a pipeline's folder: for each step that is done the key of what it was made of."""

State = Literal["done", "stale", "begun", "to do"]
Command = Callable[[Sequence[str]], int]
"""Runs one command line and returns its exit code."""


@dataclass(frozen=True)
class Planned:
    """A step and how far it is.

    Attributes:
        work: What is to be done.
        key: Digest of the step, of the results that it takes, and of the sets, files and models it was given.
        state: "done" has the same key; "stale" was made of something else, or stands on such a step; "begun" was
            stopped.
    """

    work: Work
    key: str
    state: State


def judge(pipeline: Pipeline, works: Sequence[Work]) -> list[Planned]:
    """Says of each step how far it is.

    Raises:
        DataError: A set is missing below the pipeline's root, or its record is damaged.
    """
    record, digests = _read_record(pipeline.out), cache(files_digest)
    keys: dict[str, str] = {}
    planned = []
    for work in works:
        name = work.step.name
        _check_sets(work, pipeline.root)
        keys[name] = _key(work, pipeline, [keys[need] for need in work.needs], digests)
        planned.append(Planned(work, keys[name], _state(work, record.get(name), keys[name], pipeline.out)))
    return planned


def _check_sets(work: Work, root: Path) -> None:
    """Checks that the sets of a step are there, with masks where it reads these."""
    for folder in (root / name for name in work.sets):
        if not (is_set(folder) if work.masks else folder.is_dir()):
            told = f"step '{work.step.name}' reads the set {folder}, where there is none"
            raise DataError(told, hint="--root FOLDER_OF_SETS")


def judge_until(pipeline: Pipeline, works: Sequence[Work], until: str | None) -> list[Planned]:
    """The same of the steps up to ``until``, that one included; None takes all.

    Raises:
        UsageError: There is no such step.
        DataError: See :func:`judge`.
    """
    names = [work.step.name for work in works]
    if until is not None and until not in names:
        raise UsageError(f"no step '{until}'", hint=f"one of {', '.join(names)}")
    return judge(pipeline, works)[: None if until is None else names.index(until) + 1]


def make(
    pipeline: Pipeline, works: Sequence[Work], run: Command, *, redo: bool = False, until: str | None = None
) -> Iterator[tuple[Planned, int]]:
    """Makes what is not done, in order.

    Args:
        pipeline: The pipeline.
        works: All of its steps, see :func:`vns_sam.studies.pipeline.plan`.
        run: Runs a command line.
        redo: Makes stale steps again; their old results are removed.
        until: The last step that is made; None makes all.

    Yields:
        Each step before it is begun with 0, and once more with the exit code of its last command where that is not 0;
        then the run ends.

    Raises:
        UsageError: A step is stale and ``redo`` is not set, or there is no step ``until``.
        DataError: See :func:`judge`.
    """
    planned = judge_until(pipeline, works, until)
    stale = [step.work.step.name for step in planned if step.state == "stale"]
    if stale and not redo:
        raise UsageError(
            f"{pipeline.out} was made of something else in {', '.join(stale)}",
            hint="--redo makes these again, --out DIR makes all of it elsewhere",
        )
    for step in planned:
        yield step, 0
        if step.state == "done":
            continue
        if step.state == "stale":
            _remove(step.work, pipeline.out)
        code = _do(step, pipeline, run)
        if code:
            yield step, code
            return


def _do(step: Planned, pipeline: Pipeline, run: Command) -> int:
    """Makes one step and writes that it is done; the exit code of the command that failed, or 0."""
    work, start = step.work, time.perf_counter()
    for name in work.sets:
        _link(pipeline.root / name, pipeline.out / SETS / name)
    if work.recipe is not None:
        write_text(*work.recipe)
    write_json(pipeline.out / RECORD, {**_read_record(pipeline.out), work.step.name: {"begun": step.key}})
    for command in work.commands:
        code = run(command)
        if code:
            return code
    entry = {"key": step.key, "seconds": round(time.perf_counter() - start, 1), "commands": work.commands}
    write_json(pipeline.out / RECORD, {**_read_record(pipeline.out), work.step.name: entry})
    return 0


def _state(work: Work, entry: Mapping[str, Any] | None, key: str, out: Path) -> State:
    if entry is None:
        return "to do"
    if "begun" in entry:
        return "begun" if entry["begun"] == key else "stale"
    if entry.get("key") != key:
        return "stale"
    return "done" if all(path.exists() for path in _results(work, out)) else "to do"


def _results(work: Work, out: Path) -> list[Path]:
    """Files or folders that are there once a step is done."""
    step = work.step
    if isinstance(step, Darken):
        return [out / SETS / f"{name}{step.suffix}" for name in step.sets]
    return [work.product]


def _remove(work: Work, out: Path) -> None:
    """Removes what a step has made; only below the pipeline's own folder."""
    found = [out / work.step.name] if isinstance(work.step, Train) else _results(work, out)
    for path in found:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)


def _link(source: Path, target: Path) -> None:
    """Lets ``target`` lead to a set."""
    if target.is_symlink() and target.resolve() != source.resolve():
        target.unlink()
    if not target.is_symlink():
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            target.symlink_to(source.resolve(), target_is_directory=True)
        except OSError as error:
            raise DataError(f"cannot link {target} to {source}: {(error.strerror or '').lower()}") from None


def _read_record(out: Path) -> dict[str, Any]:
    path = out / RECORD
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        record = None
    if not isinstance(record, dict) or not all(isinstance(entry, dict) for entry in record.values()):
        raise DataError(f"{path} is damaged", hint="remove it; finished trainings are found by their own folders")
    return record


def _key(work: Work, pipeline: Pipeline, needs: Sequence[str], digests: Callable[[Path], str]) -> str:
    """Does not depend on where the pipeline's folder and the sets lie."""
    text = json.dumps(work.fields, sort_keys=True, default=str)
    sets = [digests(pipeline.root / name) for name in work.sets]
    models = [model_digest(name) for name in sorted({text for _, text in named_strings(work.fields)})]
    given = [digests(path) for path in given_files(work.fields, work.all_sets)]
    return hashlib.sha256(json.dumps([text, *needs, *sets, *filter(None, models), *given]).encode()).hexdigest()[:16]
