"""``--json``: results as one object a line on the standard output, for programs; people's words go to stderr then."""

from __future__ import annotations

import argparse
import json
from typing import Any


def add_json(parser: argparse.ArgumentParser) -> None:
    """Adds the option; it may stand before or behind an action, so it has no default of its own."""
    parser.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print one JSON object a line")


def print_json(*objects: Any) -> None:
    """Prints objects, each on a line that is written at once; paths and other things become text."""
    for each in objects:
        print(json.dumps(each, default=str), flush=True)
