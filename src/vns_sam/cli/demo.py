"""Segments a bundled picture, a moth on leaf litter, with the bundled model. Needs no network.

vns-sam demo                writes demo_mask.png and demo_overlay.png into the working directory
vns-sam demo --out pictures
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from vns_sam.cli.predictor import add_model_arguments

ASSETS = Path(__file__).parents[1] / "assets"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    add_model_arguments(parser)
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: the working directory")


def run(args: argparse.Namespace) -> int:
    """Runs the verb."""
    from vns_sam.cli.single import run_single

    args.names = None
    args.image, args.format, args.overlay = ASSETS / "demo.jpg", ["png"], True
    args.alpha, args.candidates = False, False
    args.names = None
    args.force, args.dry_run, args.json, args.simplify = True, False, False, 0.0  # its names are its own
    args.auto, args.points_per_side, args.least_score, args.rank = False, None, None, None
    return run_single(args, json.loads((ASSETS / "demo.json").read_text(encoding="utf-8")))
