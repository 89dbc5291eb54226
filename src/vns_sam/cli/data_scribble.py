"""Simulates what a person in a hurry would draw instead of a mask: strokes, clicks or boxes.

vns-sam data scribble data/frogs --out labels/frogs                    strokes: a label map for each picture
vns-sam data scribble data/frogs --out labels/points --kind point      points.csv: a click on each object, one beside it
vns-sam data scribble data/frogs --out labels/boxes --kind box         boxes.csv

SRC has images/ and masks/. In a label map 0 is unlabelled, 1 object, 2 background. Draws are seeded by set and stem.
Started again, a stopped run goes on. Masks that cannot be used are told and left out. See docs/ws-sam-labels.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from vns_sam.cli.numbers import at_least
from vns_sam.cli.work import add_run_arguments, drive, finish


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the action."""
    parser.add_argument("source", type=Path, metavar="SRC", help="a set with images/ and masks/")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new folder, or one to go on with")
    parser.add_argument("--kind", choices=("scribble", "point", "box"), default="scribble", help="what (scribble)")
    parser.add_argument("--split", metavar="NAME", help="only the pictures in SRC/NAME.txt")
    parser.add_argument(
        "--overshoot", type=float, default=0.0, metavar="SHARE", help="strokes that run over the object's border (0)"
    )
    parser.add_argument("--seed", type=at_least(0), default=0, help="of the draws (0)")
    add_run_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Runs the action."""
    from vns_sam.data.scribble_set import ScribbleJob, plan_run

    planned = plan_run(args.source, args.out, args.kind, args.seed, args.split, args.overshoot)
    job = ScribbleJob(planned)
    tally = drive(job, args, "drawing")
    if tally is not None:
        finish(tally, args, args.out)
    return 0
