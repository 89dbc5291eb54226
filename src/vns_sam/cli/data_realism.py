"""How much darkened pictures are like real dark ones: luminance and a kernel distance (KID) of features.

vns-sam data realism data/night --synthetic data/leaves_dark data/leaves_gan --source data/leaves
vns-sam data realism data/lowlight --real-below 25 --synthetic data/leaves_dark --source data/leaves --out realism.json

The lower the distance from the real pictures, the better. Features are those of the bundled sam-tiny.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path

from vns_sam.cli.lines import print_json
from vns_sam.cli.numbers import at_least
from vns_sam.cli.progress import progress_bars


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the action."""
    parser.add_argument("real", type=Path, metavar="REAL", help="real dark pictures: a set, or a folder of pictures")
    parser.add_argument("--synthetic", type=Path, nargs="+", required=True, metavar="DIR", help="darkened pictures")
    parser.add_argument("--source", type=Path, metavar="DIR", help="what they were made from, for comparison")
    parser.add_argument("--real-below", type=float, default=256.0, metavar="L", help="take real pictures darker than L")
    parser.add_argument("--limit", type=at_least(1), metavar="N", help="take at most N pictures of each set")
    parser.add_argument("--seed", type=at_least(0), default=0, help="of the random halves (0)")
    parser.add_argument("--device", default="cpu", help="where features are computed (cpu)")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="the report")


def run(args: argparse.Namespace) -> int:
    """Runs the action."""
    from vns_sam.evaluation.realism import compare, gather, to_json, to_markdown
    from vns_sam.images.write import check_writable, write_json
    from vns_sam.inference.load import load_network

    if args.out:
        check_writable(args.out)
    model = load_network("sam-tiny", args.device)
    folders = [*([args.source] if args.source else []), *args.synthetic, args.real]
    sets = []
    with progress_bars(quiet=args.quiet) as show:
        for folder in folders:
            below = args.real_below if folder is args.real else 256.0
            tell = partial(show, str(folder))
            told = gather(str(folder), folder, model, below=below, limit=args.limit, progress=tell)
            sets.append(told)
            for line in told.broken:
                print(f"skipped: {line}", file=sys.stderr)
    rows = compare(sets[-1], sets[:-1], seed=args.seed)
    if args.json:
        print_json(*map(asdict, rows))
    else:
        print(to_markdown(rows), end="")
    if args.out:
        write_json(args.out, to_json(rows))
        print_json({"file": args.out}) if args.json else print(f"\n{args.out}")
    return 0
