"""``train FOLDER``: a model adapted to one's own pictures, with what came of it on held-out ones."""

from __future__ import annotations

import argparse
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from vns_sam.cli.lines import print_json
from vns_sam.cli.overrides import read_overrides
from vns_sam.cli.predictor import DEFAULT_MODEL
from vns_sam.cli.progress import progress_bars
from vns_sam.errors import UsageError, printable

if TYPE_CHECKING:
    from vns_sam.studies.adapt import Adapted


def run_adapt(args: argparse.Namespace, minutes: float) -> int:
    """Runs ``train`` with a folder, in about so many minutes."""
    from vns_sam.inference.load import check_model_name
    from vns_sam.studies.adapt import Order, adapt, default_out

    if os.environ.get("WORLD_SIZE", "1") != "1":
        raise UsageError("a folder is adapted to in one process", hint=f"vns-sam train {args.recipe}")
    start = args.start or DEFAULT_MODEL
    check_model_name(start)
    source = Path(args.recipe)
    out = Path(args.out) if args.out else default_out(source)
    changes = tuple(read_overrides(args.overrides))
    order = Order(source, out, start, minutes, changes, args.device or "cpu", workers=os.cpu_count() or 1)
    lines = sys.stderr if args.json else sys.stdout

    def say(line: str) -> None:
        if not args.quiet:
            print(printable(line), file=lines, flush=True)

    with progress_bars(quiet=args.quiet) as show:
        done = adapt(order, show, say)
    _add_graphs(done.model)
    _show(done, start, json=args.json)
    return 0


def _add_graphs(model: Path) -> None:
    """Puts graphs beside the weights, so that the model runs without torch, where what makes them is installed and
    they can name all weights.
    """
    if find_spec("onnxscript") is None:
        return
    from vns_sam.export.onnx import sources_of, write_named
    from vns_sam.inference.load import load_network

    network = load_network(model)
    try:
        sources = sources_of(network)
    except UsageError as error:
        print(f"note: no graphs beside the model: {error}", file=sys.stderr)
        return
    write_named(network, model, sources)


def _show(done: Adapted, start: str, *, json: bool) -> None:
    from vns_sam.cli.differences import print_differences

    if not json:
        print()
    print_differences(done.differences, start, "adapted", json=json)
    if json:
        print_json({"model": done.model, "taken": done.taken, "why": done.why, "report": done.report})
        return
    print(f"\n{done.why[:1].upper()}{done.why[1:]}.")
    print(f"model   {done.model}    use it: vns-sam segment PICTURE --box X0 Y0 X1 Y1 --model {done.model}")
    print(f"report  {done.report}")
