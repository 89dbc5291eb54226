"""``--json``: results as one object a line on the standard output, for programs; people's words go to stderr then.

Notes about what was not read go there always.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from vns_sam.errors import printable

SHOWN = 20
"""Things that are told one by one."""


def add_json(parser: argparse.ArgumentParser) -> None:
    """Adds the option; it may stand before or behind an action, so it has no default of its own."""
    parser.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print one JSON object a line")


def print_json(*objects: Any) -> None:
    """Prints objects, each on a line that is written at once; paths and other things become text."""
    for each in objects:
        print(json.dumps(each, default=str), flush=True)


def tell(what: str, lines: Sequence[str], *, most: int = SHOWN, more: str = "and ", tail: str = "") -> None:
    """Tells people something on stderr, a line each, and how many more there are."""
    for line in told(what, lines, most=most, more=more, tail=tail):
        print(line, file=sys.stderr)


def told(what: str, lines: Sequence[str], *, most: int = SHOWN, more: str = "and ", tail: str = "") -> Iterator[str]:
    """The first ``most`` of some lines, and one that says how many more there are."""
    yield from (f"{what}: {printable(line)}" for line in lines[:most])
    if len(lines) > most:
        yield f"{what}: {more}{len(lines) - most} more{tail}"
