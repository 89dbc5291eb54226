"""What two evaluations of the same objects differ by, as ``vns-sam evaluate`` shows it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from vns_sam.cli.lines import print_json

if TYPE_CHECKING:
    from vns_sam.evaluation.compare import Difference
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


def compare_reports(args: argparse.Namespace) -> int:
    """``--compare``: two reports, object by object."""
    from vns_sam.evaluation.compare import compare, compare_means, read_report

    (first, before, first_means), (second, after, second_means) = map(read_report, args.compare)
    differences = compare(before, after, args.metrics, args.seed)
    if args.metrics is None:
        differences += compare_means(first_means, second_means, differences)
    if first == second:
        first, second = args.compare
    print_differences(differences, first, second, json=args.json)
    return 0


def print_differences(differences: Sequence[Difference], first: str, second: str, *, json: bool) -> None:
    """A table of differences, or an object for each."""
    from vns_sam.evaluation.compare import to_markdown

    if json:
        named = {"first_model": first, "second_model": second}
        print_json(*({**named, **asdict(each), "change": each.change, "certain": each.certain} for each in differences))
    else:
        print(to_markdown(differences, first, second), end="")
