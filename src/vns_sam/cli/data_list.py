"""The sets that the field trains and measures on.

vns-sam data list                     one line for each set
vns-sam data list kvasir_seg          all that is known of one: folders, licence, how to get it
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vns_sam.cli.lines import print_json

if TYPE_CHECKING:
    from vns_sam.data.sets.catalog import SetFacts


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the action."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="tell all about this set")


def run(args: argparse.Namespace) -> int:
    """Runs the action."""
    if args.json:
        from vns_sam.data.sets.catalog import catalog, find_set

        print_json(*map(_facts, catalog().values() if args.name is None else [find_set(args.name)]))
        return 0
    return _list() if args.name is None else _tell(args.name)


def _facts(facts: SetFacts) -> dict[str, Any]:
    names = ("name", "title", "domain", "counts", "role", "licence", "home", "get", "notes", "layouts")
    return {name: getattr(facts, name) for name in names}


def _list() -> int:
    from vns_sam.data.sets.catalog import catalog

    rows = [("name", "domain", "pictures", "role", "licence", "home")]
    for facts in catalog().values():
        rows.append((facts.name, facts.domain, _counts(facts.counts), facts.role, facts.licence, facts.home))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
    return 0


def _tell(name: str) -> int:
    from vns_sam.data.sets.catalog import find_set

    facts = find_set(name)
    print(f"{facts.name}: {facts.title}")
    for label, value in (
        ("domain", facts.domain),
        ("pictures", _counts(facts.counts)),
        ("role", facts.role),
        ("licence", facts.licence),
        ("home", facts.home),
        ("get", facts.get),
        ("notes", facts.notes),
    ):
        if value:
            print(f"{label:<9} {value}")
    print("folders")
    for layout in facts.layouts:
        print(f"  {layout}")
    return 0


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{split} {count}" for split, count in counts.items())
