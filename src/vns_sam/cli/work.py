"""What all commands that work through a folder share: their options, their messages, and what their exit codes mean."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vns_sam.cli.lines import print_json
from vns_sam.cli.numbers import at_least, number
from vns_sam.errors import DataError, UsageError, printable

if TYPE_CHECKING:
    from vns_sam.runs.engine import Outcome
    from vns_sam.runs.job import Job, Mapper
    from vns_sam.runs.memory import Ceiling
    from vns_sam.runs.plan import Plan

MEANING = """
What fails is told and left out; started again, the same command goes on and tries it once more. Exit code 0: all there
is, or all but what was told; 3: nothing could be done, or with --strict anything failed; 130, 143: stopped.
"""

MOST_GIB = 1_000_000
"""Of memory."""
MOST_SHARE = 10_000
"""Processors or GPUs of one worker."""
SHOWN = 20
"""Items that a dry run names."""


def add_run_arguments(parser: argparse.ArgumentParser, *, workers: int = 0) -> None:
    """Options of every command that works through a folder; ``workers`` as many processes where none are told."""
    group = parser.add_argument_group("the run", MEANING)
    group.add_argument("--force", action="store_true", help="replace results that were made otherwise, and files there")
    group.add_argument("--retry-failed", action="store_true", help="do only what failed before")
    group.add_argument("--strict", action="store_true", help="stop at the first failure, with exit code 3")
    group.add_argument("--dry-run", action="store_true", help="only say what would be done")
    add_worker_arguments(group, workers=workers)


def add_worker_arguments(group: argparse.ArgumentParser | argparse._ArgumentGroup, *, workers: int = 0) -> None:
    """Options that say who does the work; ``workers`` as many processes where none are told."""
    group.add_argument("--workers", type=at_least(0), metavar="N", help=f"processes; 0 works in this one ({workers})")
    group.set_defaults(usual_workers=workers)
    group.add_argument(
        "--memory",
        type=number(0, MOST_GIB, above=True),
        metavar="GIB",
        help="what pictures at work may take together: fewer at a time, larger ones refused (half of the machine's)",
    )
    group.add_argument(
        "--cluster", nargs="?", const="", metavar="ADDRESS", help="use Ray: this machine, RAY_ADDRESS, or ADDRESS"
    )
    group.add_argument(
        "--actors", type=at_least(0), default=0, metavar="N", help="with --cluster: workers (as many as fit)"
    )
    group.add_argument(
        "--actor-cpus", type=number(0, MOST_SHARE), default=0, metavar="N", help="for each (2; 1 beside a GPU)"
    )
    group.add_argument(
        "--actor-gpus", type=number(0, MOST_SHARE), metavar="N", help="for each (1 where there are any, else 0)"
    )


def choose_mapper(args: argparse.Namespace) -> Mapper:
    """Who does the work: this process, several, or a cluster.

    Raises:
        UsageError: The options do not go together.
        MissingExtraError: Ray is wanted and not installed.
    """
    workers = args.usual_workers if args.workers is None and args.cluster is None else args.workers
    if args.cluster is not None:
        if workers:
            raise UsageError(
                "expected --workers or --cluster, found both", hint="--actors N says how many on a cluster"
            )
        if args.memory is not None:
            raise UsageError("expected --memory or --cluster, found both", hint="--actors N says how many at a time")
        from vns_sam.distributed.mapper import RayMapper

        return RayMapper(args.cluster, args.actors, args.actor_cpus, args.actor_gpus)
    if args.actors or args.actor_cpus or args.actor_gpus is not None:
        raise UsageError("expected --cluster beside --actors, --actor-cpus and --actor-gpus, found none")
    if workers:
        from vns_sam.runs.processes import Processes

        return Processes(workers, ceiling_from(args))
    from vns_sam.runs.threads import Overlapped

    return Overlapped(ceiling_from(args))


def ceiling_from(args: argparse.Namespace) -> Ceiling:
    """What pictures at work may take together."""
    from vns_sam.runs.memory import GIB, Ceiling

    if args.memory is None:
        return Ceiling()
    return Ceiling(round(args.memory * GIB), firm=True)


@dataclass
class Tally:
    """What became of a run.

    Attributes:
        outcomes: Of each item, in the order in which they came.
    """

    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def failed(self) -> int:
        """Items that failed."""
        return sum(bool(outcome.error) for outcome in self.outcomes)

    @property
    def earlier(self) -> int:
        """Items that an earlier run did."""
        return sum(outcome.skipped for outcome in self.outcomes)

    @property
    def done(self) -> int:
        """Items that this run did."""
        return len(self.outcomes) - self.failed - self.earlier

    @property
    def replaced(self) -> int:
        """Items of these for which something had to go."""
        return sum(outcome.replaced and not outcome.error for outcome in self.outcomes)

    def told(self) -> str:
        """The counts, in words."""
        replaced = f", {self.replaced} replaced" if self.replaced else ""
        return f"{self.done} done, {self.earlier} done before, {self.failed} failed{replaced}"

    def as_dict(self) -> dict[str, int]:
        """The counts."""
        return {"done": self.done, "earlier": self.earlier, "failed": self.failed, "replaced": self.replaced}


def drive(job: Job[Any], args: argparse.Namespace, what: str) -> Tally | None:
    """Plans and runs a job with a bar on stderr, telling failures as they come.

    Args:
        job: What is done.
        args: The options of :func:`add_run_arguments`.
        what: What is done, for the bar: "segmenting".

    Returns:
        What became of it, or None after a dry run.

    Raises:
        DataError: Nothing could be done, or ``--strict`` and something failed.
        UsageError: See :func:`vns_sam.runs.plan.prepare`.
    """
    from vns_sam.runs.engine import run, stopped_at
    from vns_sam.runs.plan import prepare

    mapper = choose_mapper(args)
    plan = prepare(job, force=args.force, retry_failed=args.retry_failed)
    if job.left_out and not args.quiet:
        print(f"left out: {printable(job.left_out)}", file=sys.stderr)
    if args.dry_run:
        _tell_plan(plan, args)
        return None
    tally = Tally()
    try:
        for outcome in _shown(run(plan, mapper, strict=args.strict), plan.total, args, what, job.item_field):
            tally.outcomes.append(outcome)
    except KeyboardInterrupt:
        print(printable(stopped_at(job)), file=sys.stderr)
        raise
    return _some_done(tally, f" in {job.out}")


def drive_unwritten(job: Job[Any], args: argparse.Namespace, what: str) -> Tally:
    """Like :func:`drive` for a job whose lines say all, where nothing is to be written.

    Raises:
        DataError: Nothing could be done, or ``--strict`` and something failed.
    """
    from vns_sam.runs.engine import try_all

    if args.dry_run or args.force or args.retry_failed:
        raise UsageError("expected --out beside --dry-run, --force and --retry-failed, found none", hint="--out DIR")
    outcomes = try_all(job, choose_mapper(args), strict=args.strict)
    total = len(job.items) + len(job.refused)
    return _some_done(Tally(list(_shown(outcomes, total, args, what, job.item_field))), "")


def _some_done(tally: Tally, where: str) -> Tally:
    if tally.failed and tally.failed == len(tally.outcomes):
        raise DataError(f"none of {tally.failed} could be done{where}", hint="see the lines above")
    return tally


def finish(tally: Tally, args: argparse.Namespace, out: object, **more: Any) -> None:
    """Prints the counts."""
    if args.json:
        print_json({"out": str(out), **tally.as_dict(), **more})
    else:
        print(f"{out}: {tally.told()}")


def _shown(
    steps: Iterator[Outcome], total: int, args: argparse.Namespace, what: str, item_field: str
) -> Iterator[Outcome]:
    from vns_sam.cli.progress import track

    for outcome in track(steps, what, total, quiet=args.quiet):
        if outcome.error and not args.strict:
            print(f"failed: {printable(outcome.error)}", file=sys.stderr)
        if args.json:
            state = "failed" if outcome.error else "earlier" if outcome.skipped else "done"
            shown = {item_field: outcome.name, "state": state, "files": list(outcome.files)}
            hidden = {*shown, "key", "asked", "error"}
            fields = {name: value for name, value in outcome.line.items() if name not in hidden}
            print_json({**shown, **fields, **({"error": outcome.error} if outcome.error else {})})
        yield outcome


def _tell_plan(plan: Plan[Any], args: argparse.Namespace) -> None:
    job = plan.job
    rows = [(job.name(item), "replace" if job.name(item) in plan.replaced else "do") for item in plan.todo]
    rows += [(entry.name, "keep") for entry in plan.kept] + [(name, "fail") for name in plan.failed]
    outputs = {job.name(item): list(job.outputs(item)) for item in job.items}
    if args.json:
        print_json(*({job.item_field: name, "state": state, "files": outputs.get(name, [])} for name, state in rows))
        return
    for name, state in rows[:SHOWN]:
        files = ", ".join(outputs.get(name, []))
        print(f"{state}: {printable(name)}{f' -> {files}' if files else ''}")
    if len(rows) > SHOWN:
        print(f"and {len(rows) - SHOWN} more")
    for name, reason in plan.failed.items():
        print(f"cannot: {printable(reason if name in reason else f'{name}: {reason}')}")
    counts = {state: sum(state == one for _, one in rows) for state in ("do", "replace", "keep", "fail")}
    told = ", ".join(f"{count} to {state}" for state, count in counts.items() if count)
    print(f"{job.out}: {told or '0 to do'}")
