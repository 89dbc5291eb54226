"""``--save``: the file of numbers that tables are made from."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vns_sam.cli.lines import print_json

if TYPE_CHECKING:
    from vns_sam.evaluation.report import Report
    from vns_sam.evaluation.results import ResultRow


def add_save(parser: argparse.ArgumentParser) -> None:
    """Adds the option to a verb."""
    parser.add_argument(
        "--save", type=Path, metavar="FILE.json", help="means with 95 %% intervals, for tables: see docs/evaluation.md"
    )


def save_results(report: Report, args: argparse.Namespace, more: Iterable[ResultRow] = ()) -> None:
    """Writes the file of :func:`add_save`, with the command line, the machine, and more rows behind the report's."""
    from dataclasses import replace
    from importlib.metadata import version

    from vns_sam.evaluation.cost import hardware
    from vns_sam.evaluation.results import Origin, gather, write_results
    from vns_sam.inference.load import check_device

    origin = Origin(args.command_line, hardware(check_device(args.device)), version("vns-sam"))
    results = gather(report, origin)
    write_results(args.save, replace(results, rows=(*results.rows, *more)))
    print_json({"file": args.save}) if args.json else print(args.save)


def mean_lines(report: Report) -> Iterator[dict[str, Any]]:
    """The means of a report for ``--json``: an object for each model, prompt and set."""
    for result in report.models:
        for prompt, sets in result.means().items():
            for dataset, means in sets.items():
                yield {"model": result.label, "prompt": prompt, "set": dataset, **means}
