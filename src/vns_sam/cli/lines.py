"""``--json``: results as one object a line on the standard output, for programs; people's words go to stderr then.

Notes about what was not read go there always.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from vns_sam.errors import printable

SHOWN = 20
"""Notes that are told one by one."""


def add_json(parser: argparse.ArgumentParser) -> None:
    """Adds the option; it may stand before or behind an action, so it has no default of its own."""
    parser.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print one JSON object a line")


def print_json(*objects: Any) -> None:
    """Prints objects, each on a line that is written at once; paths and other things become text."""
    for each in objects:
        print(json.dumps(each, default=str), flush=True)


def tell_notes(notes: Sequence[str]) -> None:
    """Tells people what could not be used, a line each."""
    for note in notes[:SHOWN]:
        print(f"note: {printable(note)}", file=sys.stderr)
    if len(notes) > SHOWN:
        print(f"note: and {len(notes) - SHOWN} more", file=sys.stderr)
