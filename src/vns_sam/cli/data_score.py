"""How little objects stand out: the VNS-score of every picture of a set, split into non-salient and salient.

vns-sam data score data/camo
vns-sam data score data/camo data/berkeley --split test --out scores

In the folder: scores.csv (one line for each picture), summary.json, histogram.png, and the lists ns.txt and s.txt of
non-salient and salient pictures, which can be copied into the set and followed like any other list; with several sets,
each has a folder of its own for the lists.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vns_sam.cli.numbers import at_least
from vns_sam.cli.progress import track
from vns_sam.errors import DataError, UsageError

if TYPE_CHECKING:
    from vns_sam.data.pairs import Pair
    from vns_sam.data.score_set import ScoredPair, SetSummary


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the action."""
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="sets: folders of images/ and masks/")
    parser.add_argument("--split", metavar="NAME", help="follow DIR/NAME.txt; without it every picture is scored")
    parser.add_argument(
        "--threshold", type=float, default=0.7, help="from this score on non-salient (0.7, the paper's)"
    )
    parser.add_argument(
        "--workers", type=at_least(0), default=os.cpu_count() or 1, help="processes, 0 for none (all cores)"
    )
    parser.add_argument("--strict", action="store_true", help="a broken pair ends the run instead of being skipped")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="table, summary, histogram and lists")


def run(args: argparse.Namespace) -> int:
    """Runs the action."""
    if not 0 <= args.threshold <= 1:
        raise UsageError(f"expected --threshold between 0 and 1, found {args.threshold}")
    from vns_sam.data.score_set import CSV, summarise_set, write_scores
    from vns_sam.images.write import check_writable

    names = _names(args.folders)
    if args.out:
        check_writable(args.out / CSV)
    pairs, rows = _find(args.folders, args.split, strict=args.strict)
    rows += _score(pairs, args)
    for row in rows:
        if row.error and not args.quiet:
            print(f"skipped {row.dataset}/{row.stem}: {row.error}", file=sys.stderr)
    summaries = [summarise_set(name, [row for row in rows if row.dataset == name], args.threshold) for name in names]
    if not any(summary.pictures for summary in summaries):
        raise DataError(f"expected a picture that can be scored, found {len(rows)} broken pairs only")
    _print(summaries, args.threshold)
    if args.out:
        write_scores(args.out, rows, summaries, args.threshold)
        print(f"\n{args.out}")
    return 0


def _names(folders: Sequence[Path]) -> list[str]:
    names = [folder.resolve().name for folder in folders]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"expected sets of different names, found '{name}' twice", hint="rename a folder")
    return names


def _find(folders: Sequence[Path], split: str | None, *, strict: bool) -> tuple[list[Pair], list[ScoredPair]]:
    """The pairs of all sets, and a row for each that lacks a picture or a mask."""
    from vns_sam.data.pairs import find_pairs
    from vns_sam.data.score_set import ScoredPair

    pairs, rows = [], []
    for folder in folders:
        broken: dict[str, str] | None = None if strict else {}
        pairs += find_pairs(folder, split, broken=broken)
        rows += [ScoredPair(folder.resolve().name, stem, None, error) for stem, error in (broken or {}).items()]
    return pairs, rows


def _score(pairs: Sequence[Pair], args: argparse.Namespace) -> list[ScoredPair]:
    """Scores all pairs, with a bar on stderr."""
    from vns_sam.data.score_set import score_pairs

    rows = []
    for row in track(score_pairs(pairs, args.workers), "scoring", len(pairs), quiet=args.quiet):
        if row.error and args.strict:
            raise DataError(row.error, hint="without --strict broken pairs are skipped")
        rows.append(row)
    return rows


def _print(summaries: Sequence[SetSummary], threshold: float) -> None:
    print(f"| set | pictures | broken | mean VNS-score | sd | share >= {threshold:g} |")
    print("|---|--:|--:|--:|--:|--:|")
    for row in summaries:
        scores = ("-" if value is None else f"{value:.3f}" for value in (row.mean, row.sd, row.share))
        print(f"| {row.dataset} | {row.pictures} | {row.broken} | {' | '.join(scores)} |")
