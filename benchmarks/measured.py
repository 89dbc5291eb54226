"""Files of numbers that measuring scripts write, for ``make docs``."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import torch

from vns_sam.evaluation.cost import hardware
from vns_sam.evaluation.results import ResultRow, Results, Score, write_results
from vns_sam.evaluation.timing import Times


def score_of(times: Times) -> Score:
    """Median, shortest and longest, to four decimals."""
    return Score(*(round(number, 4) for number in (times.median, *times.spread)))


def save_rows(file: Path, rows: Sequence[ResultRow], title: str) -> None:
    """Writes what the running script has measured, with its command line and the machine."""
    command = shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]])
    write_results(file, Results(command, tuple(rows), version("vns-sam"), hardware(torch.device("cpu")), title=title))
