"""How little objects stand out: the VNS-score of every picture of a set, split into non-salient and salient.

vns-sam data score data/camo
vns-sam data score data/camo data/berkeley --split test --out scores
vns-sam data score data/coco_val2017 --instances --out scores      each object by itself, as COCO-NS is split

In the folder: scores.csv (one line for each picture), summary.json, histogram.png, and the lists ns.txt and s.txt of
non-salient and salient pictures, which can be copied into the set and followed like any other list; with several sets,
each has a folder of its own for the lists. With --instances scores, lines and lists are of objects (stem#2), and
vns-sam evaluate --instances --data SET@ns asks for these alone.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from vns_sam.cli.lines import print_json
from vns_sam.cli.work import add_run_arguments, drive, drive_unwritten, finish
from vns_sam.errors import UsageError
from vns_sam.images.find import folder_name

if TYPE_CHECKING:
    from vns_sam.data.pairs import Pair
    from vns_sam.data.score_set import SetSummary


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the action."""
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="sets: folders of images/ and masks/")
    parser.add_argument("--split", metavar="NAME", help="follow DIR/NAME.txt; without it every picture is scored")
    parser.add_argument("--instances", action="store_true", help="score each object of objects/ or masks_instance/")
    parser.add_argument(
        "--threshold", type=float, default=0.7, help="from this score on non-salient (0.7, the paper's)"
    )
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="table, summary, histogram and lists")
    add_run_arguments(parser, workers=os.cpu_count() or 1)


def run(args: argparse.Namespace) -> int:
    """Runs the action."""
    if not 0 <= args.threshold <= 1:
        raise UsageError(f"expected --threshold between 0 and 1, found {args.threshold}")
    from vns_sam.data.score_set import ScoreJob, scored_rows, summarise_set

    names = _names(args.folders)
    pairs, broken = _find(dict(zip(names, args.folders, strict=True)), args.split, objects=args.instances)
    job = ScoreJob(args.out, names, pairs, broken, args.threshold, args.instances)
    tally = drive(job, args, "scoring") if args.out else drive_unwritten(job, args, "scoring")
    if tally is None:
        return 0
    failed = {outcome.name: outcome.error for outcome in tally.outcomes if outcome.error}
    rows = scored_rows([outcome.line for outcome in tally.outcomes if not outcome.error], failed)
    summaries = [summarise_set(name, rows, args.threshold) for name in names]
    if args.json:
        print_json(*map(asdict, summaries))
    else:
        _print(summaries, args.threshold, "objects" if args.instances else "pictures")
    if args.out:
        print(end="" if args.json else "\n")
        finish(tally, args, args.out)
    return 0


def _names(folders: Sequence[Path]) -> list[str]:
    names = [folder_name(folder) for folder in folders]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"expected sets of different names, found '{name}' twice", hint="rename a folder")
    return names


def _find(folders: Mapping[str, Path], split: str | None, *, objects: bool) -> tuple[list[Pair], dict[str, str]]:
    """The pairs of all sets by name, and the names of those that lack a picture or a mask, with the reason."""
    from vns_sam.data.pairs import find_pairs

    pairs: list[Pair] = []
    broken: dict[str, str] = {}
    for name, folder in folders.items():
        missing: dict[str, str] = {}
        pairs += find_pairs(folder, split, broken=missing, objects=objects)
        broken |= {f"{name}/{stem}": reason for stem, reason in missing.items()}
    return pairs, broken


def _print(summaries: Sequence[SetSummary], threshold: float, what: str) -> None:
    print(f"| set | {what} | broken | mean VNS-score | sd | share >= {threshold:g} |")
    print("|---|--:|--:|--:|--:|--:|")
    for row in summaries:
        scores = ("-" if value is None else f"{value:.3f}" for value in (row.mean, row.sd, row.share))
        print(f"| {row.dataset} | {row.pictures} | {row.broken} | {' | '.join(scores)} |")
