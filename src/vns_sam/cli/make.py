"""Makes a model from its sets: every step of a pipeline in order. Started again, a stopped run goes on.

vns-sam make recipes/bundled/vns-sam-tiny.yaml --root data --dry-run     what would be done, as command lines
vns-sam make vns-sam-tiny --root data             one that comes with vns-sam is found by its name from any folder
vns-sam make recipes/bundled/ws-sam-tiny.yaml --out runs/short --train.change.steps 100      any field can be set

A step is done once for what it is made of: its own fields, the results that it takes, the files of its sets, and the
models it names. See docs/pipelines.md.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vns_sam.cli.lines import print_json
from vns_sam.cli.overrides import read_overrides

if TYPE_CHECKING:
    from vns_sam.studies.making import Planned
    from vns_sam.studies.pipeline import Pipeline, Work

TAKES_OVERRIDES = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("pipeline", type=Path, metavar="PIPELINE.yaml")
    parser.add_argument("--root", type=Path, metavar="DIR", help="folder of the sets (the pipeline's, else data)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where everything goes (the pipeline's)")
    parser.add_argument("--dry-run", action="store_true", help="only list the steps, and which of them are done")
    parser.add_argument("--redo", action="store_true", help="make again what was made of something else")
    parser.add_argument("--until", metavar="STEP", help="end behind this step")


def run(args: argparse.Namespace) -> int:
    """Runs the verb."""
    from vns_sam.runs.lock import locked
    from vns_sam.studies.making import judge_until
    from vns_sam.studies.pipeline import parse_pipeline, plan
    from vns_sam.training.fields import find_recipe, read_values

    args.pipeline = find_recipe(args.pipeline)
    given = {name: str(path) for name, path in (("root", args.root), ("out", args.out)) if path is not None}
    values = {**read_values(args.pipeline, "pipeline"), **given}
    _set_fields(values, read_overrides(args.overrides))
    pipeline = parse_pipeline(values, str(args.pipeline))
    works = plan(pipeline, args.pipeline)
    if args.dry_run:
        for planned in judge_until(pipeline, works, args.until):
            _print_plan(planned, json=args.json)
        return 0
    with locked(pipeline.out, "make"):
        return _make(pipeline, works, args)


def _make(pipeline: Pipeline, works: Sequence[Work], args: argparse.Namespace) -> int:
    """Makes the steps, telling which; the exit code."""
    from vns_sam.cli.main import dispatch
    from vns_sam.studies.making import make

    names = [work.step.name for work in works]
    for planned, code in make(
        pipeline,
        works,
        lambda command: dispatch([*command, "--json"] if args.json else [*command], quiet=args.quiet),
        redo=args.redo,
        until=args.until,
    ):
        name = planned.work.step.name
        if code:
            print(f"step '{name}' ended with exit code {code}", file=sys.stderr)
            return code
        if not args.quiet:
            note = "done before" if planned.state == "done" else planned.work.step.do
            print(f"[{names.index(name) + 1}/{len(names)}] {name}: {note}", file=sys.stderr)
    product = works[-1 if args.until is None else names.index(args.until)].product
    print_json({"product": product}) if args.json else print(product)
    return 0


def _set_fields(values: dict[str, Any], overrides: Sequence[tuple[str, Any]]) -> None:
    """Sets fields of steps, by the step's name, and of the pipeline itself."""
    from vns_sam.training.fields import set_field

    found = values.get("steps")
    steps = {step.get("name"): step for step in found if isinstance(step, dict)} if isinstance(found, list) else {}
    for dotted, value in overrides:
        name, _, inner = dotted.partition(".")
        of_recipe = inner.removeprefix("change.")
        if name not in steps or not inner:
            set_field(values, dotted, value)
        elif of_recipe == inner:
            set_field(steps[name], inner, value)
        else:
            steps[name]["change"] = {**(steps[name].get("change") or {}), of_recipe: value}


def _print_plan(planned: Planned, *, json: bool) -> None:
    """One step as ``--dry-run`` shows it."""
    step = planned.work.step
    if json:
        commands = [f"vns-sam {shlex.join(command)}" for command in planned.work.commands]
        print_json({"step": step.name, "do": step.do, "state": planned.state, "commands": commands})
        return
    print(f"{step.name}: {step.do}, {planned.state}")
    for command in planned.work.commands:
        print(f"  vns-sam {shlex.join(command)}")
