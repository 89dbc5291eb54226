"""``--save``: the file of numbers that tables are made from."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vns_sam.evaluation.report import Report


def add_save(parser: argparse.ArgumentParser) -> None:
    """Adds the option to a verb."""
    parser.add_argument(
        "--save", type=Path, metavar="FILE.json", help="means with 95 %% intervals, for tables: see docs/evaluation.md"
    )


def save_results(report: Report, args: argparse.Namespace) -> None:
    """Writes the file of :func:`add_save`, with the command line and the machine."""
    from importlib.metadata import version

    from vns_sam.evaluation.cost import hardware
    from vns_sam.evaluation.results import Origin, gather, write_results
    from vns_sam.inference.load import check_device

    origin = Origin(args.command_line, hardware(check_device(args.device)), version("vns-sam"))
    write_results(args.save, gather(report, origin))
    print(args.save)
