"""Simulates what a person in a hurry would draw instead of a mask: strokes, clicks or boxes.

vns-sam data scribble data/frogs --out labels/frogs                    strokes: a label map for each picture
vns-sam data scribble data/frogs --out labels/points --kind point      points.csv: a click on each object, one beside it
vns-sam data scribble data/frogs --out labels/boxes --kind box         boxes.csv

SRC has images/ and masks/. In a label map 0 is unlabelled, 1 object, 2 background. Draws are seeded by set and stem.
Started again, a stopped run goes on. Masks that cannot be used are told and left out. See docs/ws-sam-labels.md.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from vns_sam.cli.numbers import at_least
from vns_sam.errors import DataError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the action."""
    parser.add_argument("source", type=Path, metavar="SRC", help="a set with images/ and masks/")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new folder, or one to go on with")
    parser.add_argument("--kind", choices=("scribble", "point", "box"), default="scribble", help="what (scribble)")
    parser.add_argument("--split", metavar="NAME", help="only the pictures in SRC/NAME.txt")
    parser.add_argument("--seed", type=at_least(0), default=0, help="of the draws (0)")


def run(args: argparse.Namespace) -> int:
    """Runs the action."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from vns_sam.data.scribble_set import annotate_set, plan_run

    plan = plan_run(args.source, args.out, args.kind, args.seed, args.split)
    outcomes = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=args.quiet) as bar:
        total = len(plan.pairs) + len(plan.broken)
        for outcome in bar.track(annotate_set(plan), total=total, description="drawing"):
            if outcome.error:
                print(f"failed: {outcome.error}", file=sys.stderr)
            outcomes.append(outcome)
    failed, earlier = sum(bool(o.error) for o in outcomes), sum(o.skipped for o in outcomes)
    if failed == len(outcomes):
        raise DataError(f"none of {failed} masks could be annotated", hint="see the lines above")
    print(f"{args.out}: {len(outcomes) - failed - earlier} done, {earlier} done before, {failed} failed")
    return 0
