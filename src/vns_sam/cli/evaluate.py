"""Measures models on sets of pictures with masks, with prompts drawn from the true masks.

vns-sam evaluate vns-sam-tiny --data data/camo data/kvasir_seg
vns-sam evaluate sam-tiny vns-sam-tiny --data data --prompt box noise-box points --out report --figures 8
vns-sam evaluate dis-sam-tiny --suite dis5k --data DIS5K --out report
vns-sam evaluate ws-sam-tiny --data data/camo      a WS-SAM, which takes no prompt
vns-sam evaluate vns-sam-tiny --data data --ablate nsfm.low nsfm.high     what parts of a trained model are worth
vns-sam evaluate --compare report/report.json:sam-tiny report/report.json:vns-sam-tiny

Started again with the same --out it goes on where it stopped. --workers 4 shares the pictures between processes of this
machine, --cluster between those of Ray, torchrun -m vns_sam.cli.main evaluate ... --out report between its own.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vns_sam.cli.given import refuse_others
from vns_sam.cli.lines import print_json
from vns_sam.cli.numbers import at_least
from vns_sam.cli.predictor import add_backend, add_second_look, second_look
from vns_sam.cli.progress import track
from vns_sam.cli.saving import add_save, mean_lines, save_results
from vns_sam.cli.work import add_worker_arguments, choose_mapper
from vns_sam.errors import UsageError, printable, without_key

if TYPE_CHECKING:
    from vns_sam.cli.processes import Processes
    from vns_sam.evaluation.ablate import Ablation
    from vns_sam.evaluation.measure import Measure
    from vns_sam.evaluation.report import Report
    from vns_sam.evaluation.results import ResultRow
    from vns_sam.evaluation.suite import Run, Suite
    from vns_sam.runs.job import Mapper

UNPROMPTED = ("image",)
UNPROMPTED_METRICS = ("mae", "max_f", "mean_f", "adaptive_f", "weighted_f", "mean_e", "s", "iou")
"""Columns of the tables of camouflaged object detection, and IoU."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("models", nargs="*", metavar="MODEL", help="names, folders or hub ids")
    parser.add_argument(
        "--data",
        nargs="+",
        default=[],
        metavar="DIR",
        help="sets (folders of images/ and masks/; test.txt is followed, SET@LIST follows another), or folders of sets",
    )
    parser.add_argument(
        "--suite",
        metavar="NAME",
        help="sets, prompts, metrics and table of a paper: dis5k, zero-shot, vns-seg, ws-sam; --data tells where",
    )
    parser.add_argument(
        "--prompt",
        nargs="+",
        help="any of box (default), noise-box, points (ten), points:N, points:1-10, mask, image, clicks (20), clicks:N",
    )
    parser.add_argument("--metrics", nargs="+", metavar="NAME", help="iou biou (default); see docs/metrics.md")
    parser.add_argument(
        "--resize",
        choices=("fit", "square"),
        help="keep the aspect (default), or squash to 1024 x 1024 as the authors do",
    )
    parser.add_argument("--instances", action="store_true", help="ask for each object by itself, see docs/data.md")
    parser.add_argument(
        "--multimask",
        action="store_true",
        help="also score, of the masks offered to choose from, the likeliest and the best",
    )
    add_second_look(parser)
    parser.add_argument("--seed", type=at_least(0), default=0, help="of the drawn prompts (0)")
    parser.add_argument("--limit", type=at_least(1), help="pictures of each set at most")
    parser.add_argument("--group", action="append", default=[], metavar="NAME=SET,SET", help="a mean over some sets")
    parser.add_argument("--device", default="cpu")
    add_backend(parser)
    _add_run_arguments(parser)


def _add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of how it is run and of what is written, and those of comparisons."""
    group = parser.add_argument_group("the run")
    add_worker_arguments(group)
    group.add_argument("--retry-failed", action="store_true", help="measure only pictures that failed before")
    parser.add_argument("--strict", action="store_true", help="a broken pair ends the run instead of being skipped")
    parser.add_argument("--out", type=Path, metavar="DIR", help="report.md, .csv, .json, rows as they come, figures")
    add_save(parser)
    parser.add_argument(
        "--save-maps", type=Path, metavar="DIR", help="8-bit maps as they are scored: DIR/MODEL/PROMPT/SET/NAME.png"
    )
    parser.add_argument(
        "--ablate", nargs="+", default=[], metavar="MODULE", help="what parts are worth, such as nsfm.low: without each"
    )
    parser.add_argument(
        "--ablate-by",
        nargs="+",
        default=["mean"],
        metavar="WAY",
        help="what stands for their output: mean (default), zero, shuffle",
    )
    parser.add_argument(
        "--figures", type=at_least(0), default=0, metavar="N", help="draw the N worst and N typical pictures"
    )
    parser.add_argument(
        "--compare", nargs=2, metavar="REPORT[:MODEL]", help="differences of two reports with 95 %% intervals"
    )


def run(args: argparse.Namespace) -> int:
    """Runs the verb."""
    if args.compare:
        from vns_sam.cli.differences import compare_reports

        refuse_others(add_arguments, args, "--compare", ("--metrics", "--seed"))
        return compare_reports(args)
    if not args.models or not args.data:
        raise UsageError("expected a MODEL and --data DIR", hint="vns-sam evaluate --help")
    if args.figures and not args.out:
        raise UsageError("--figures needs a folder to write to", hint="--out report")
    if args.multimask and args.ablate:
        raise UsageError("expected --multimask or --ablate, found both", hint="measure one after the other")
    from vns_sam.cli.processes import Processes
    from vns_sam.evaluation.ablate import parse_ablations
    from vns_sam.evaluation.report import check_labels
    from vns_sam.evaluation.saved_maps import check_folders
    from vns_sam.images.write import check_writable
    from vns_sam.inference.load import check_model_name
    from vns_sam.runs.lock import locked, remove_parts_below

    if args.save:
        check_writable(args.save)
    ablations = parse_ablations(args.ablate, args.ablate_by)
    labels = _labels(args, ablations)
    check_labels(labels)
    if args.save_maps:
        check_folders(args.save_maps, labels)
    for name in args.models:
        check_model_name(name)
    suite = _suite(args)
    for name, reason in suite.broken.items():
        print(f"skipped: {name}: {reason}", file=sys.stderr)
    if args.multimask and any(protocol.kind == "clicks" for protocol in suite.protocols):
        raise UsageError(
            "clicks follow a model's own mask, expected none beside --multimask", hint="--prompt points:1-10"
        )
    processes = Processes.of_this_run()
    if processes.count > 1 and not args.out:
        raise UsageError("several processes need a folder to meet in", hint="--out report")
    mapper = choose_mapper(args)
    if ablations:
        _check_parts(args, ablations)
    with ExitStack() as held:
        for folder in _folders(args) if processes.is_first else ():
            held.enter_context(locked(folder, "evaluate"))
            if processes.count == 1:
                remove_parts_below(folder)
        results = [
            run
            for name in args.models
            for part in (None, *ablations)
            for run in _measure(name, suite, args, mapper, processes, part)
        ]
    if processes.wait_for_all():
        _report(results, suite, args)
    return 0


def _labels(args: argparse.Namespace, ablations: Sequence[Ablation]) -> list[str]:
    """What the lines of the report may be called."""
    from vns_sam.evaluation.report import CHOICES, label_of

    choices = [*CHOICES] if args.multimask else [*CHOICES][:1]
    return [label_of(name, part, choice) for name in args.models for part in (None, *ablations) for choice in choices]


def _check_parts(args: argparse.Namespace, ablations: Sequence[Ablation]) -> None:
    """Judges all parts of all models before anything is measured."""
    from vns_sam.evaluation.ablate import check_runs
    from vns_sam.inference.load import load_model

    for name in args.models:
        check_runs(load_model(name, args.device, backend="torch"), ablations)


def _folders(args: argparse.Namespace) -> list[Path]:
    """The folders that it writes to, each once."""
    return list({folder.resolve(): folder for folder in (args.out, args.save_maps) if folder}.values())


def _suite(args: argparse.Namespace) -> Suite:
    """What is measured: the sets given, or those of a named suite; options go before what the suite has."""
    from dataclasses import replace

    from vns_sam.evaluation.measure import Measure
    from vns_sam.evaluation.papers import find_table, locate
    from vns_sam.evaluation.suite import make_suite

    folders = args.data
    groups: dict[str, Sequence[str]] = dict(_group(text) for text in args.group)
    unprompted = _unprompted(args)
    measure = Measure(metrics=UNPROMPTED_METRICS, by_metric=True) if unprompted else Measure()
    if args.suite:
        table = find_table(args.suite)
        measure = table.measure
        located = locate(table, args.data, strict=args.strict)
        folders, groups = located.folders, {**located.groups, **groups}
        _refuse_objects(args, measure, folders)
        for name, get in located.missing.items():
            print(f"not found: {name}. {get}", file=sys.stderr)
    metrics = tuple(args.metrics or measure.metrics)
    if args.figures and "iou" not in metrics:
        raise UsageError("figures are sorted by IoU, which is not measured", hint=f"--metrics iou {' '.join(metrics)}")
    chosen = replace(
        measure,
        prompts=UNPROMPTED if unprompted else tuple(args.prompt or measure.prompts),
        metrics=metrics,
        resize=args.resize or measure.resize,
        instances=args.instances or measure.instances,
        second_look=second_look(args),
        seed=args.seed,
        limit=args.limit,
        groups={name: tuple(sets) for name, sets in groups.items()},
    )
    return make_suite(folders, chosen, strict=args.strict)


def _unprompted(args: argparse.Namespace) -> bool:
    """Whether no model takes a prompt; then the whole picture is the only question.

    Raises:
        UsageError: None does, and one is asked for; or objects are asked for.
    """
    without = _without_prompt(args)
    if not without:
        return False
    if args.instances or args.second_look == "on":
        raise UsageError(f"'{without[0]}' cannot be asked about one object", hint="leave the option out")
    alone = len(without) == len(args.models)
    if alone and args.prompt not in (None, [*UNPROMPTED]):
        raise UsageError(f"'{without[0]}' takes no prompt", hint="leave --prompt out")
    if not alone and args.prompt != [*UNPROMPTED] and not args.quiet:
        print(f"{', '.join(without)}: takes no prompt; its answer for the picture stands beside each", file=sys.stderr)
    return alone or args.prompt == [*UNPROMPTED]


def _without_prompt(args: argparse.Namespace) -> list[str]:
    """Models that take no prompt."""
    from vns_sam.inference.load import takes_prompts

    return [without_key(name) for name in args.models if not takes_prompts(name)]


def _refuse_objects(args: argparse.Namespace, measure: Measure, sets: Iterable[str]) -> None:
    """Refuses a model that takes no prompt where a suite asks about single objects of a set that is there."""
    asked = [name for name in sets if measure.settings().by_object(name)]
    without = _without_prompt(args) if asked else []
    if without:
        raise UsageError(
            f"'{without[0]}' cannot be asked about one object, as suite '{args.suite}' asks of {asked[0]}",
            hint="leave the model out, or measure the other sets without --suite",
        )


def _measure(
    name: str,
    suite: Suite,
    args: argparse.Namespace,
    mapper: Mapper,
    processes: Processes,
    part: Ablation | None = None,
) -> Iterator[Run]:
    """Measures one model, whole or less a part, and with --multimask its masks to choose from; bars on stderr."""
    from vns_sam.evaluation.report import CHOICES, label_of
    from vns_sam.inference.load import load_model

    taken_apart = args.ablate or args.figures  # the whole model, too: a graph rounds otherwise
    model = load_model(name, args.device, backend="torch" if taken_apart else args.backend)
    several = args.multimask and model.info.candidates > 1
    if args.multimask and not several:
        print(f"{without_key(name)} offers one mask for a prompt", file=sys.stderr)
    for choice in CHOICES if several else [*CHOICES][:1]:
        run = suite.run(
            model,
            label_of(name, part, choice),
            args.out,
            mapper=mapper,
            strict=args.strict,
            retry_failed=args.retry_failed,
            shard=processes.shard,
            maps=args.save_maps,
            choice=choice,
            part=part,
        )
        for outcome in track(run, run.label, len(run), quiet=args.quiet or not processes.is_first):
            if outcome.error and not args.quiet:
                print(f"skipped: {printable(outcome.error)}", file=sys.stderr)
        yield run


def _report(runs: Any, suite: Suite, args: argparse.Namespace) -> None:
    from vns_sam.evaluation.suite import write_report

    report = suite.report(runs)
    _print_report(report, json=args.json)
    more: Iterable[ResultRow] = ()
    if args.ablate:
        from vns_sam.cli.differences import print_worth, worth_of_parts

        print_worth(report.models, len(args.models), json=args.json)
        more = worth_of_parts(report.models, args)
    if args.save:
        save_results(report, args, more)
    paths = write_report(report, args.out) if args.out else []
    if args.out and args.figures:
        from vns_sam.evaluation.gallery import write_figures

        paths += write_figures(args.out, runs, report.models, suite, count=args.figures)
    for path in paths:
        print_json({"file": path}) if args.json else print(path)


def _print_report(report: Report, *, json: bool) -> None:
    if json:
        print_json(*mean_lines(report))
        for result in report.models:
            print_json({"model": result.label, "scores": len(result.rows), "skipped": dict(result.skipped)})
        return
    print(report.to_markdown(), end="")
    for result in report.models:
        times = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in result.seconds.items())
        print(f"\n{result.label}: {len(result.rows)} scores, {len(result.skipped)} pictures skipped; {times}")


def _group(text: str) -> tuple[str, list[str]]:
    name, mark, sets = text.partition("=")
    if not mark or not name or not sets:
        raise UsageError(f"--group expects NAME=SET,SET, got '{text}'", hint="--group unseen=nc4k,etis")
    return name, sets.split(",")
