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
    from vns_sam.cli import segment
    from vns_sam.cli.single import run_single
    from vns_sam.inference.load import takes_prompts

    parser = argparse.ArgumentParser()
    segment.add_arguments(parser)
    image = ASSETS / "demo.jpg"
    asked = parser.parse_args([str(image), "--overlay", "--force"])  # it may replace: its files' names are its own
    for name, value in vars(args).items():
        setattr(asked, name, value)
    asked.image = image
    given = json.loads((ASSETS / "demo.json").read_text(encoding="utf-8")) if takes_prompts(args.model) else {}
    return run_single(asked, given)
