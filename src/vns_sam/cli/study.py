"""Trains and measures every row of a table. Started again with the same command, it goes on where it was stopped.

vns-sam study recipes/studies/wavelets.yaml
vns-sam study recipes/studies/wavelets.yaml --change.steps 2000 --seeds "[0, 1, 2]"     any field can be set
"""

from __future__ import annotations

import argparse
from pathlib import Path

from vns_sam.cli.lines import print_json
from vns_sam.cli.overrides import apply_overrides
from vns_sam.cli.progress import progress_bar
from vns_sam.cli.saving import add_save, mean_lines, save_results
from vns_sam.cli.work import add_worker_arguments, choose_mapper

TAKES_OVERRIDES = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("study", type=Path, metavar="STUDY.yaml")
    parser.add_argument("--device", default="cpu", help="where models are measured (cpu); training finds a GPU")
    add_save(parser)
    add_worker_arguments(parser.add_argument_group("measuring"))
    parser.add_argument("--plan", action="store_true", help="only list what would be trained and measured")


def run(args: argparse.Namespace) -> int:
    """Runs the verb."""
    from vns_sam.images.write import check_writable
    from vns_sam.runs.lock import locked, remove_parts_below
    from vns_sam.studies.study import TABLE, parse_study, run_study, trials
    from vns_sam.training.fields import read_values

    if args.save:
        check_writable(args.save)
    study = parse_study(apply_overrides(read_values(args.study, "study"), args.overrides), str(args.study))
    if args.plan:
        for trial in trials(study):
            steps = f"{trial.recipe.steps} steps in {trial.recipe.out}" if trial.recipe else trial.model
            print_json({"row": trial.label, "plan": steps}) if args.json else print(f"{trial.label}: {steps}")
        return 0

    mapper = choose_mapper(args)
    with locked(study.out, "study"), progress_bar(args.study.stem, quiet=args.quiet) as show:
        remove_parts_below(study.out)
        report = run_study(study, device=args.device, mapper=mapper, progress=show)
    if args.json:
        print_json(*mean_lines(report), {"table": study.out / TABLE})
    else:
        print(report.to_markdown(), end="")
        print(f"\n{study.out / TABLE}")
    if args.save:
        save_results(report, args)
    return 0
