"""Changes one small thing in a core file, runs the tests that are there for it, and tells which changes were not seen.

python benchmarks/mutants.py                              eight mutants of each file; the table, then who survived
python benchmarks/mutants.py --files second_look --each 40
python benchmarks/mutants.py --seed 3 --json found.json
python benchmarks/mutants.py --again found.json --json found.json   those of an earlier run that no test saw

A mutant is a comparison, an arithmetic sign, an "and", a "not", a number or a switch that is another. What is imported
from elsewhere is imported once; each mutant is a fork that sees the changed file and ends at the first test that fails.
One that survives is either a test that lacks or a change that changes nothing: they are printed as they stand in the
code, to be read.
"""

from __future__ import annotations

import argparse
import ast
import importlib.abc
import importlib.machinery
import importlib.util
import json
import math
import os
import random
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from types import CodeType

import cv2  # noqa: F401 - what every fork would import again
import numpy  # noqa: F401
import PIL.Image  # noqa: F401
import pydantic  # noqa: F401
import pytest
import torch
from hypothesis import settings
from mutants_known import CORE, SAME

ROOT = Path(__file__).parents[1]
MEMORY = 8 * 2**30
"""Bytes that a fork may ask for."""
EXAMPLES = 25
"""Of each property that hypothesis looks at: the same ones for every mutant."""
FLIPS: dict[type[ast.AST], type[ast.AST]] = {
    **{ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq},
    **{ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And},
    **{ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult},
}


@dataclass
class Mutant:
    """One change.

    Attributes:
        file: Below ``src/vns_sam``, without suffix.
        line: Where.
        before, after: What stands there, and what stood there instead.
        killed: Whether a test saw it.
    """

    file: str
    line: int
    before: str
    after: str
    killed: bool = False


def main() -> int:
    """Makes the mutants, prints the table; 1 where fewer were seen than ``--least``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", nargs="+", metavar="PART", help="files whose name holds one of these (all)")
    parser.add_argument("--each", type=int, default=8, help="mutants of a file (%(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2, help="tried at a time (%(default)s)")
    parser.add_argument("--least", type=float, default=0.95, help="share that must be seen (%(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where all that were tried are written")
    parser.add_argument("--again", type=Path, metavar="FILE", help="try those alone that survived there")
    args = parser.parse_args()
    torch.set_num_threads(1)
    settings.register_profile("few", max_examples=EXAMPLES, derandomize=True, deadline=None, database=None)
    settings.load_profile("few")
    found: list[Mutant] = []
    again = None if args.again is None else [Mutant(**one) for one in json.loads(args.again.read_text())]
    print("| file | mutants | seen |\n|---|--:|--:|", flush=True)
    for file, tests in CORE.items():
        if args.files and not any(part in file for part in args.files):
            continue
        mutants = [*draw(file, args.each, args.seed)] if again is None else [*survivors(file, again)]
        if not mutants:
            continue
        attack(file, mutants, [str(ROOT / "tests" / test) for test in tests.split()], args.jobs)
        found += [mutant for mutant, _ in mutants]
        print(f"| {file} | {len(mutants)} | {sum(one.killed for one, _ in mutants)} |", flush=True)
        if args.json:
            args.json.write_text(json.dumps([asdict(one) for one in found], indent=1))
    if not found:
        print("nothing to try")
        return 0
    seen = sum(one.killed for one in found)
    print(f"| all | {len(found)} | {seen} ({seen / len(found):.0%}) |")
    for one in found:
        if not one.killed:
            print(f"{one.file}:{one.line}\n  - {one.before}\n  + {one.after}")
    return 0 if seen >= args.least * len(found) else 1


def draw(file: str, each: int, seed: int) -> Iterator[tuple[Mutant, CodeType]]:
    """At most so many mutants of a file, each with its code, but for those of :data:`SAME`."""
    tree = _parsed(file)
    places = range(len([*changeable(tree)]))
    for place in sorted(random.Random(f"{seed}{file}").sample(places, min(each, len(places)))):
        yield from _made(file, tree, place)


def survivors(file: str, earlier: Sequence[Mutant]) -> Iterator[tuple[Mutant, CodeType]]:
    """The mutants of a file that survived an earlier run; its lines may have moved since."""
    wanted = {(one.before, one.after) for one in earlier if one.file == file and not one.killed}
    return (pair for pair in draw(file, sys.maxsize, 0) if (pair[0].before, pair[0].after) in wanted)


def _parsed(file: str) -> ast.Module:
    return ast.parse((ROOT / "src" / "vns_sam" / f"{file}.py").read_text())


def _made(file: str, tree: ast.Module, place: int) -> Iterator[tuple[Mutant, CodeType]]:
    """The mutant of one place, unless no result can tell it."""
    copy = deepcopy(tree)
    node = [*changeable(copy)][place]
    statement = next(s for s in reversed([*statements(copy)]) if s.lineno <= node.lineno <= (s.end_lineno or 0))
    before = _line(statement, node)
    change(node)
    mutant = Mutant(file, node.lineno, before, _line(statement, node))
    if not any(file == name and old in before and new in mutant.after for name, old, new in SAME):
        yield mutant, compile(ast.fix_missing_locations(copy), file, "exec")


def attack(file: str, mutants: Sequence[tuple[Mutant, CodeType]], tests: list[str], jobs: int) -> None:
    """Tries mutants of a file and writes down which of them were seen."""
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+") as told:
        if os.waitpid(begin(file, compile(_parsed(file), file, "exec"), tests, 600, told.fileno()), 0)[1]:
            told.seek(0)
            raise SystemExit(f"{told.read()[-3000:]}\nerror: the tests of {file} fail without any change")
    limit = 10 + 3 * jobs * (time.perf_counter() - start)
    running: dict[int, Mutant] = {}
    for mutant, code in mutants:
        if len(running) == jobs:
            _settle(running)
        running[begin(file, code, tests, limit)] = mutant
    while running:
        _settle(running)


def _settle(running: dict[int, Mutant]) -> None:
    """Waits for one of the forks and writes down whether its tests saw the change."""
    pid, status = os.wait()
    running.pop(pid).killed = os.waitstatus_to_exitcode(status) != 0


def changeable(tree: ast.AST) -> Iterator[ast.expr]:
    """What can be changed, in order: not in annotations, messages of errors, texts and what types alone need."""
    skipped: set[int] = set()
    for node in ast.walk(tree):
        hidden: list[ast.AST | None] = []
        if isinstance(node, ast.Raise | ast.Assert | ast.JoinedStr | ast.Slice):
            hidden = [node]
        elif isinstance(node, ast.AnnAssign | ast.arg):
            hidden = [node.annotation]
        elif isinstance(node, ast.FunctionDef):
            hidden = [node.returns, *node.decorator_list]
        elif isinstance(node, ast.ClassDef):
            hidden = [*node.decorator_list]
        skipped |= {id(below) for part in hidden if part is not None for below in ast.walk(part)}
    for node in ast.walk(tree):
        if id(node) not in skipped and isinstance(node, ast.expr) and _can_change(node):
            yield node


def _can_change(node: ast.expr) -> bool:
    if isinstance(node, ast.Compare):
        return type(node.ops[0]) in FLIPS
    if isinstance(node, ast.BinOp | ast.BoolOp):
        return type(node.op) in FLIPS
    if isinstance(node, ast.UnaryOp):
        return isinstance(node.op, ast.Not)
    return isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float)


def change(node: ast.expr) -> None:
    """Makes it another in place."""
    if isinstance(node, ast.Compare):
        node.ops[0] = FLIPS[type(node.ops[0])]()  # type: ignore[call-overload]
    elif isinstance(node, ast.BinOp | ast.BoolOp):
        node.op = FLIPS[type(node.op)]()  # type: ignore[assignment]
    elif isinstance(node, ast.UnaryOp):
        node.op = ast.UAdd()
        node.operand = ast.Call(ast.Name("bool", ast.Load()), [node.operand], [])
    elif isinstance(node, ast.Constant):
        node.value = _another(node.value)


def _another(value: object) -> bool | int | float:
    """Another value of the kind."""
    if isinstance(value, bool):
        return not value
    assert isinstance(value, int | float)
    return value + 1 if isinstance(value, int) else 2 * value + 1


def statements(tree: ast.AST) -> Iterator[ast.stmt]:
    """All statements, outer ones first."""
    return (node for node in ast.walk(tree) if isinstance(node, ast.stmt))


def _line(statement: ast.stmt, node: ast.expr) -> str:
    """What is told of a statement: its first line, or where that does not hold the expression, the expression too."""
    first, part = ast.unparse(statement).splitlines()[0], ast.unparse(node)
    return first if part in first else f"{first} ... {part}"


def begin(file: str, code: CodeType, tests: list[str], limit: float, told: int | None = None) -> int:
    """Starts tests in a fork in which a file is another; one that does not end in time has not passed. What it prints
    goes to the open file ``told``, or nowhere.
    """
    pid = os.fork()
    if pid == 0:
        told = os.open(os.devnull, os.O_WRONLY) if told is None else told
        os.dup2(told, 1), os.dup2(told, 2)
        os.chdir(ROOT)
        signal.setitimer(signal.ITIMER_REAL, limit)
        resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(limit), math.ceil(limit) + 1))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))  # a loop without end may fill a list
        sys.meta_path.insert(0, _Finder(f"vns_sam.{file.replace('/', '.')}", code))
        options = ["-x", "-q", "-n", "0", "-p", "no:cacheprovider", "-o", "timeout=0"]  # it would set the timer anew
        os._exit(int(pytest.main([*options, *tests])))
    return pid


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Gives one module another code."""

    def __init__(self, name: str, code: CodeType) -> None:
        self.name, self.code = name, code

    def find_spec(self, name: str, path: object = None, target: object = None) -> importlib.machinery.ModuleSpec | None:
        if name != self.name:
            return None
        place = ROOT / "src" / f"{name.replace('.', '/')}.py"
        spec = importlib.util.spec_from_file_location(name, place)
        assert spec is not None
        spec.loader = self
        return spec

    def get_source(self, fullname: str) -> str | None:
        return None

    def get_code(self, fullname: str) -> CodeType:
        return self.code


if __name__ == "__main__":
    sys.exit(main())
