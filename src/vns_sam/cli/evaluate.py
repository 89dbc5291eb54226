"""Measures a model on sets of pictures with masks.

vns-sam evaluate vns-sam-tiny --data data/camo data/kvasir_seg --prompt box
"""

from __future__ import annotations

import argparse
from pathlib import Path

from vns_sam.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("--data", type=Path, nargs="+", required=True, metavar="DIR")
    parser.add_argument("--prompt", default="box")


def run(args: argparse.Namespace) -> int:
    """Runs the verb."""
    raise UsageError("evaluate is not there yet")
