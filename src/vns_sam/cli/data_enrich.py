"""Gives each large part of a mask as a training sample of its own, as DIS-SAM is trained.

  vns-sam data enrich DIS5K/DIS-TR --out DIS5K/DIS-TR-enriched
  vns-sam data enrich frogs/ --split train --out frogs_enriched/

SRC holds images/ and masks/ (or im/ and gt/). OUT/masks/NAME_comp_1.png, _comp_2, ... are the 8-connected parts of
at least 0.4 % of the picture, _comp_0 is the whole mask where there are several; pictures without such a part are
dropped. Pictures are hard links, lists come along. A run that was stopped goes on. Enrich training sets only.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from vns_sam.cli.lines import tell
from vns_sam.cli.work import add_run_arguments, drive, finish
from vns_sam.errors import DataError

MAX_WORKERS = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the action."""
    parser.add_argument("source", type=Path, metavar="SRC", help="a set")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new folder")
    parser.add_argument("--split", metavar="NAME", help="follow SRC/NAME.txt instead of taking every picture")
    add_run_arguments(parser, workers=min(MAX_WORKERS, os.cpu_count() or 1))


def run(args: argparse.Namespace) -> int:
    """Runs the action."""
    from vns_sam.data.enrich import plan_enrich, samples_of

    tally = drive(plan_enrich(args.source, args.out, split=args.split, strict=args.strict), args, "enriching")
    if tally is None:
        return 0
    good = [outcome for outcome in tally.outcomes if not outcome.error]
    samples = sum(len(samples_of(outcome.line)) for outcome in good)
    dropped = [outcome.name for outcome in good if not samples_of(outcome.line)]
    tell("dropped, no part of 0.4 %", dropped)
    if not samples:
        raise DataError(f"{args.source}: expected masks with parts of 0.4 % of the picture, found none")
    if args.json:
        finish(tally, args, args.out, samples=samples, dropped=len(dropped))
    else:
        print(f"{args.out}: {samples} samples, {len(dropped)} pictures dropped; {tally.told()}")
    return 0
