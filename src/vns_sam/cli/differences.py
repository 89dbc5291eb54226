"""What two evaluations of the same objects differ by, as ``vns-sam evaluate`` shows it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import chain
from typing import TYPE_CHECKING

from vns_sam.cli.lines import print_json
from vns_sam.errors import DataError, UsageError

if TYPE_CHECKING:
    from vns_sam.evaluation.compare import Difference, Measured
    from vns_sam.evaluation.report import ModelResult
    from vns_sam.evaluation.results import ResultRow


def print_worth(results: Sequence[ModelResult], models: int, *, json: bool) -> None:
    """What each part adds, as tables."""
    from vns_sam.evaluation.ablate import worth

    for whole, without in _taken_apart(results, models):
        if not json:
            print()
        print_differences(worth(whole, without), without.label, whole.label, json=json)


def worth_of_parts(results: Sequence[ModelResult], args: argparse.Namespace) -> Iterator[ResultRow]:
    """What each part adds, for a file of results."""
    from vns_sam.evaluation.ablate import parse_ablations, worth_rows

    parts = parse_ablations(args.ablate, args.ablate_by) * len(args.models)
    for (whole, without), part in zip(_taken_apart(results, len(args.models)), parts, strict=True):
        yield from worth_rows(whole, without, part)


def _taken_apart(results: Sequence[ModelResult], models: int) -> Iterator[tuple[ModelResult, ModelResult]]:
    """Each model as it is, with itself less a part; the results of a model come together, the whole one first."""
    each = len(results) // models
    for start in range(0, len(results), each):
        whole, *others = results[start : start + each]
        yield from ((whole, without) for without in others)


SAME = ("resize", "seed", "instances")
"""Settings without which two reports do not ask the same."""


def compare_reports(args: argparse.Namespace) -> int:
    """``--compare``: two reports, object by object.

    Raises:
        UsageError: A metric is unknown, or the reports do not ask the same.
        DataError: A report cannot be read, or they share no object and metric.
    """
    from vns_sam.evaluation.compare import read_report

    _check_metrics(args.metrics)
    first, second = map(read_report, args.compare)
    _check_same(first, second)
    if first.second_look != second.second_look and not args.quiet:
        looked = ", ".join(f"{each.label}: {_LOOKS[each.second_look]}" for each in (first, second))
        print(f"the second look differs, so that the change is also its own: {looked}", file=sys.stderr)
    differences = _differences(first, second, args)
    labels = (first.label, second.label) if first.label != second.label else args.compare
    print_differences(differences, *labels, json=args.json)
    return 0


_LOOKS = {True: "on", False: "off", None: "not told"}


def _check_metrics(names: Sequence[str] | None) -> None:
    """Judges names of metrics, those that only sets and clicks have among them, before any report is read."""
    from vns_sam.evaluation.report import PAIRED
    from vns_sam.metrics.scoring import parse_metrics

    others = [name for name in names or () if name not in chain.from_iterable(PAIRED)]
    if others:
        parse_metrics(others)


def _check_same(first: Measured, second: Measured) -> None:
    """Refuses reports whose prompts or pictures were made in different ways."""
    for name in SAME:
        found = [each.settings[name] for each in (first, second) if name in each.settings]
        if len(found) > 1 and found[0] != found[1]:
            raise UsageError(
                f"expected two reports with one {name}, found {found[0]} in {first.source} and {found[1]} in "
                f"{second.source}",
                hint=f"measure one of them again with the other's {name}",
            )


def _differences(first: Measured, second: Measured, args: argparse.Namespace) -> list[Difference]:
    """Object by object; behind it the means that only sets have, where both reports hold the same objects of a set."""
    from vns_sam.evaluation.compare import compare, compare_means

    error, differences = None, []
    try:
        differences = compare(first.rows, second.rows, args.metrics, args.seed)
    except DataError as found:  # what is asked for may be of whole sets
        error = found
    alike = [place for place in first.rows if first.rows[place].keys() == second.rows.get(place, {}).keys()]
    whole = [
        each
        for each in compare_means(first.means, second.means, differences)
        if args.metrics is None or each.metric in args.metrics
    ]
    unlike = {each.dataset for each in whole if (each.prompt, each.dataset) not in alike}
    if unlike and not args.quiet:
        names = ", ".join(sorted(unlike))
        print(f"the reports hold other objects, so no means of whole sets: {names}", file=sys.stderr)
    differences += [each for each in whole if (each.prompt, each.dataset) in alike]
    if not differences and error is not None:
        raise error
    return differences


def print_differences(differences: Sequence[Difference], first: str, second: str, *, json: bool) -> None:
    """A table of differences, or an object for each."""
    from vns_sam.evaluation.compare import to_markdown

    if json:
        named = {"first_model": first, "second_model": second}
        print_json(*({**named, **asdict(each), "change": each.change, "certain": each.certain} for each in differences))
    else:
        print(to_markdown(differences, first, second), end="")
