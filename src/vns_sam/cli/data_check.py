"""A doctor for sets of pictures with masks.

  vns-sam data check frogs/                            what is wrong with a set
  vns-sam data check train_sets/ test_sets/ --flips    several sets, and what they share, flipped or rotated too
  vns-sam data check frogs/ --fix                      repairs what is safe; originals go to frogs/.doctor/

DIR holds images/ and masks/, or folders that do. Findings are errors (the set cannot be read as it is, or its numbers
are wrong), warnings (look at them) and notes. The exit code is 0, or 3 with --strict when errors are left.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from vns_sam.cli.lines import print_json
from vns_sam.cli.numbers import at_least
from vns_sam.cli.progress import progress_bars
from vns_sam.errors import DataError

if TYPE_CHECKING:
    from vns_sam.data.doctor.check import Report
    from vns_sam.data.doctor.findings import Finding
    from vns_sam.data.doctor.repair import Action

EXAMPLES = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="a set, or a folder of sets")
    parser.add_argument("--fix", action="store_true", help="repair what is safe; nothing is lost, see docs/data.md")
    parser.add_argument("--flips", action="store_true", help="look for flipped and rotated copies of pictures, too")
    parser.add_argument("--report", type=Path, metavar="FILE.json", help="every finding")
    parser.add_argument("--strict", action="store_true", help="exit code 3 when errors are left")
    parser.add_argument("--workers", type=at_least(0), default=os.cpu_count() or 1, help="processes (%(default)s)")


def run(args: argparse.Namespace) -> int:
    """Runs the verb."""
    from vns_sam.data.doctor.check import check, find_sets
    from vns_sam.data.doctor.findings import Severity
    from vns_sam.data.doctor.repair import repair
    from vns_sam.images.write import check_writable, write_json

    if args.report:
        check_writable(args.report)
    sets = [path for folder in args.folders for path in find_sets(folder)]
    start = time.perf_counter()
    with progress_bars(quiet=args.quiet, keep=True) as show:
        report = check(sets, flips=args.flips, workers=args.workers, progress=show)
        actions = repair(report.findings, progress=show) if args.fix else []
    repaired = {action.finding for action in actions if not action.error}
    left = [finding for finding in report.findings if finding not in repaired]
    counts = {str(severity): sum(f.severity is severity for f in left) for severity in Severity}
    if args.json:
        print_json(*({"severity": f.severity, **asdict(f)} for f in left))
        print_json({"pictures": sum(report.sets.values()), "sets": report.sets, **counts, "repaired": len(repaired)})
    else:
        _print_sets(report)
        _print_findings(left, fix=args.fix)
        _print_actions(actions)
        told = ", ".join(_count(count, severity) for severity, count in counts.items())
        print(f"\n{_count(sum(report.sets.values()), 'picture')} in {time.perf_counter() - start:.0f} s: {told}")
    if args.report:
        write_json(args.report, report.to_json() | {"repaired": [action.to_json() for action in actions]})
        print_json({"file": args.report}) if args.json else print(args.report)
    serious = any(finding.severity is Severity.ERROR for finding in left)
    return DataError.exit_code if args.strict and serious else 0


def _print_actions(actions: Sequence[Action]) -> None:
    """What was repaired, and what could not be."""
    for action in actions:
        if action.error:
            print(f"not repaired: {action.finding.dataset}/{action.finding.file}: {action.error}")
    if repaired := sum(not action.error for action in actions):
        print(f"\n{repaired} repaired; originals and a log are in .doctor/ of each set")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _print_sets(report: Report) -> None:
    width = max(len(Path(root).name) for root in report.sets)
    for root, pictures in report.sets.items():
        print(f"{Path(root).name:<{width}}  {_count(pictures, 'picture')}")


def _print_findings(findings: list[Finding], *, fix: bool) -> None:
    """Findings by code, the first few of each by name."""
    from vns_sam.data.doctor.findings import KINDS

    for code, (severity, meaning) in KINDS.items():
        found = [finding for finding in findings if finding.code == code]
        if not found:
            continue
        repairable = sum(finding.repairable for finding in found)
        hint = f" ({repairable} can be repaired with --fix)" if repairable and not fix else ""
        print(f"\n{severity}: {len(found)} x {code}: {meaning}{hint}")
        for finding in found[:EXAMPLES]:
            text = f": {finding.text}" if finding.text else ""
            print(f"  {Path(finding.dataset).name}/{finding.file}{text}")
        if len(found) > EXAMPLES:
            print(f"  and {len(found) - EXAMPLES} more; --report FILE.json names all")
