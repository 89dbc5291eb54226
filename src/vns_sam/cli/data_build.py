"""Assembles a benchmark from archives and folders as downloaded.

vns-sam data build vns-seg --raw downloads --out data/vns-seg

The raw folder may hold .zip and .tar archives and folders, nested and named in any way; the output gets a
folder for each set, with lists of its splits, and manifest.json. A build that was stopped goes on.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from vns_sam.cli.lines import print_json, tell
from vns_sam.cli.progress import progress_bar
from vns_sam.cli.work import add_worker_arguments, choose_mapper
from vns_sam.errors import DataError, UsageError

if TYPE_CHECKING:
    from vns_sam.data.sets.build import BuildReport
    from vns_sam.data.sets.catalog import Benchmark

MAX_WORKERS = 4
_note = partial(tell, most=5, tail=", see manifest.json")
"""Lines of one kind that are printed; the manifest has all."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the action."""
    parser.add_argument("benchmark", metavar="NAME", help="what to build: vns-seg or hqseg-44k")
    parser.add_argument("--raw", type=Path, nargs="+", required=True, metavar="DIR", help="what was downloaded")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the sets go")
    parser.add_argument("--strict", action="store_true", help="fail when anything is missing or broken")
    add_worker_arguments(parser.add_argument_group("the run"), workers=min(MAX_WORKERS, os.cpu_count() or 1))


def run(args: argparse.Namespace) -> int:
    """Runs the action."""
    from vns_sam.data.sets.catalog import find_benchmark

    benchmark = find_benchmark(args.benchmark)
    if any(args.out.resolve() == raw.resolve() for raw in args.raw):
        raise UsageError(f"expected --out beside the raw folder, found {args.out} for both", hint="--out data/vns-seg")
    report = _build(benchmark, args)
    if args.json:
        print_json(*map(asdict, report.splits), {"out": args.out, "found": report.found, "expected": report.expected})
    _print(report, args.out, table=not args.json)
    broken = sum(len(split.broken) for split in report.splits)
    if args.strict and (broken or not report.complete):
        raise DataError(
            f"{args.out}: expected all of {report.benchmark}, found {report.found} of {report.expected} pairs, "
            f"{broken} broken",
            hint="get what is missing, or build without --strict",
        )
    return 0


def _build(benchmark: Benchmark, args: argparse.Namespace) -> BuildReport:
    from vns_sam.data.sets.build import build_benchmark

    mapper = choose_mapper(args)
    with progress_bar("looking", quiet=args.quiet) as show:
        return build_benchmark(
            benchmark,
            args.raw,
            args.out,
            mapper=mapper,
            progress=lambda done, total, name: show(name, done, total),
        )


def _print(report: BuildReport, out: Path, *, table: bool) -> None:
    """The table on stdout, what to mend on stderr."""
    if table:
        _print_table(report)
    _print_problems(report)
    if table:
        state = "complete" if report.complete else "partial"
        print(f"{out}: {state}, {report.found} of {report.expected} pairs")


def _print_table(report: BuildReport) -> None:
    rows = [("set", "split", "found", "expected", "from")]
    for split in report.splits:
        source = ", ".join(split.sources) or "missing"
        rows.append((split.dataset, split.split, str(split.found), str(split.expected or "?"), source))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for *cells, source in rows:
        name, kind, found, expected = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        print(name, kind, found, expected, source, sep="  ")


def _print_problems(report: BuildReport) -> None:
    from vns_sam.data.sets.catalog import catalog

    for split in report.splits:
        place = f"{split.dataset} {split.split}"
        _note(f"{place}: skipped", split.broken)
        _note(place, split.notes)
    for name in dict.fromkeys(split.dataset for split in report.splits if not split.complete):
        short = [split for split in report.splits if split.dataset == name and not split.complete]
        counts = " and ".join(f"{split.enough - split.found} of {split.split}" for split in short)
        print(f"{name}: missing {counts}. {catalog()[name].get}", file=sys.stderr)
    _note("not used", report.problems)
    _note("not recognised", report.strangers)
    if report.also_found:
        print(f"also found, no part of {report.benchmark}: {', '.join(report.also_found)}", file=sys.stderr)
