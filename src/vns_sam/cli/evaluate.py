"""Measures models on sets of pictures with masks: IoU and boundary IoU, with prompts drawn from the true masks.

vns-sam evaluate vns-sam-tiny --data data/camo data/kvasir_seg
vns-sam evaluate sam-tiny vns-sam-tiny --data data/camo --prompt box points:1 --out report.json
"""

from __future__ import annotations

import argparse
from pathlib import Path

ALL = 1 << 30


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("models", nargs="+", metavar="MODEL", help="names, folders or hub ids")
    parser.add_argument(
        "--data", nargs="+", required=True, metavar="DIR", help="folders of images/ and masks/; test.txt is followed"
    )
    parser.add_argument(
        "--prompt", nargs="+", default=["box"], help="any of box (default), noise-box, points (ten), points:N"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the drawn prompts (0)")
    parser.add_argument("--limit", type=int, default=ALL, help="pictures of each set at most")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="every picture's scores")


def run(args: argparse.Namespace) -> int:
    """Runs the verb."""
    from rich.console import Console
    from rich.progress import Progress

    from vns_sam.evaluation.protocol import Row, evaluate, parse_protocol, scored_pairs
    from vns_sam.evaluation.report import to_json, to_markdown
    from vns_sam.images.write import write_json
    from vns_sam.inference.load import check_model_name, load_model

    protocols = list(dict.fromkeys(parse_protocol(text, args.seed) for text in args.prompt))
    for name in args.models:
        check_model_name(name)
    pairs = [pair for folder in args.data for pair in scored_pairs(folder)[: args.limit]]
    results: dict[str, list[Row]] = {}
    with Progress(console=Console(stderr=True), disable=args.quiet) as bar:
        for name in args.models:
            model = load_model(name, args.device)
            pictures = bar.track(evaluate(model, pairs, protocols), total=len(pairs), description=name)
            results[name] = [row for rows in pictures for row in rows]
    print(f"mean IoU / mean boundary IoU at original size, prompts drawn with seed {args.seed}\n")
    print(to_markdown(results), end="")
    if args.out:
        write_json(args.out, to_json(results, args.seed))
        print(f"\n{args.out}")
    return 0
