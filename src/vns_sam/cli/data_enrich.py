"""Gives each large part of a mask as a training sample of its own, as DIS-SAM is trained.

  vns-sam data enrich DIS5K/DIS-TR --out DIS5K/DIS-TR-enriched
  vns-sam data enrich frogs/ --split train --out frogs_enriched/

SRC holds images/ and masks/ (or im/ and gt/). OUT/masks/NAME_comp_1.png, _comp_2, ... are the 8-connected parts of
at least 0.4 % of the picture, _comp_0 is the whole mask where there are several; pictures without such a part are
dropped. Pictures are hard links. A run that was stopped goes on. Enrich training sets only.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from vns_sam.cli.numbers import at_least
from vns_sam.errors import DataError

SHOWN = 20
MAX_WORKERS = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the action."""
    parser.add_argument("source", type=Path, metavar="SRC", help="a set")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new folder")
    parser.add_argument("--split", metavar="NAME", help="follow SRC/NAME.txt instead of taking every picture")
    parser.add_argument("--strict", action="store_true", help="stop at the first bad pair")
    workers = min(MAX_WORKERS, os.cpu_count() or 1)
    parser.add_argument("--workers", type=at_least(0), default=workers, help="processes (%(default)s); 0 uses this one")


def run(args: argparse.Namespace) -> int:
    """Runs the action."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from vns_sam.data.enrich import enrich_set

    samples = pictures = before = 0
    dropped, broken = [], []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=args.quiet) as bar:
        task = bar.add_task("enrich", total=None)
        work = enrich_set(args.source, args.out, split=args.split, strict=args.strict, workers=args.workers)
        for outcome, total in work:
            bar.update(task, advance=1, total=total)
            if outcome.error:
                broken.append(f"{outcome.stem}: {outcome.error}")
            elif not outcome.components:
                dropped.append(outcome.stem)
            pictures += 1
            samples += len(outcome.components)
            before += outcome.skipped
    _tell("skipped", broken)
    _tell("dropped, no part of 0.4 %", dropped)
    if not samples:
        raise DataError(f"{args.source}: expected masks with parts of 0.4 % of the picture, found none")
    print(
        f"{args.out}: {samples} samples of {pictures} pictures; {len(dropped)} dropped, {len(broken)} skipped, "
        f"{before} done before"
    )
    return 0


def _tell(what: str, lines: list[str]) -> None:
    for line in lines[:SHOWN]:
        print(f"{what}: {line}", file=sys.stderr)
    if len(lines) > SHOWN:
        print(f"{what}: and {len(lines) - SHOWN} more", file=sys.stderr)
