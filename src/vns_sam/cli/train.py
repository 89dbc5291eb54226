"""Trains a model: adapts one to a folder of pictures and masks, or follows a recipe.

vns-sam train leaves/                       adapts vns-sam-tiny to leaves/images and leaves/masks, in ten minutes
vns-sam train leaves/ --from sam-tiny --minutes 30 --out runs/leaves-sam           another model, more time
vns-sam train vns_sam_tiny                  a recipe that comes with vns-sam, by name or as recipes/vns_sam_tiny.yaml
vns-sam train mine.yaml --optim.lr 0.0005 --batch_size 2               any field can be overridden, of a folder's too
vns-sam train vns_sam_tiny --help           all fields of that recipe's task, with their bounds and defaults
vns-sam train --list                        the recipes that come with vns-sam

A folder is adapted to: its set is checked (errors stop, see vns-sam data check), a part is held out, train.txt, val.txt
and test.txt are followed where they are there, and what comes of it is measured on the held-out pictures before and
after. A file or a name is a recipe. Started again with the same command, either continues where it was stopped.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from vns_sam.cli.lines import print_json
from vns_sam.cli.overrides import apply_overrides
from vns_sam.cli.predictor import DEFAULT_MODEL
from vns_sam.cli.progress import progress_bar
from vns_sam.errors import UsageError

TAKES_OVERRIDES = True
DEFAULT_MINUTES = 10
MOST_MINUTES = 60 * 24 * 31


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument(
        "recipe", nargs="?", metavar="FOLDER|RECIPE", help="pictures and masks; or a recipe, by path or name of --list"
    )
    parser.add_argument("--list", action="store_true", help="only list the recipes that come with vns-sam")
    parser.add_argument("--out", metavar="DIR", help="where the run goes (runs/FOLDER; of a recipe, what that says)")
    group = parser.add_argument_group("of a folder")
    group.add_argument("--from", dest="start", metavar="MODEL", help=f"what is adapted ({DEFAULT_MODEL})")
    group.add_argument("--minutes", type=_minutes, metavar="M", help=f"time for all of it (about {DEFAULT_MINUTES})")
    group.add_argument("--device", help="where models are measured (cpu); training finds a GPU")


def run(args: argparse.Namespace) -> int:
    """Runs the verb."""
    if args.list:
        return _list(json=args.json)
    if args.recipe is None:
        raise UsageError(
            "expected a folder or a recipe", hint="vns-sam train --list names those that come with vns-sam"
        )
    if Path(args.recipe).is_dir():
        from vns_sam.cli.adapt import run_adapt

        return run_adapt(args, float(args.minutes or DEFAULT_MINUTES))
    _refuse_folders_options(args)
    return _follow(args)


def _follow(args: argparse.Namespace) -> int:
    """Follows a recipe."""
    from vns_sam.training.fields import read_values
    from vns_sam.training.recipe import RESOLVED, parse_recipe
    from vns_sam.training.runs import start

    values = apply_overrides(read_values(args.recipe), args.overrides)
    if args.out:
        values["out"] = args.out
    recipe = parse_recipe(values, str(args.recipe), resolved=Path(args.recipe).name == RESOLVED)
    if recipe.task == "cyclegan" and os.environ.get("WORLD_SIZE", "1") != "1":
        raise UsageError("a CycleGAN trains in one process", hint=f"vns-sam train {args.recipe}")

    first = os.environ.get("RANK", "0") == "0"  # torchrun runs this in every process
    with progress_bar("training", quiet=args.quiet or not first, keep=True) as show:

        def tell(done: int, total: int, latest: dict[str, float]) -> None:
            shown = "  ".join(f"{name} {value:.4g}" for name, value in latest.items())
            show(shown or "training", done, total)

        scores = start(recipe, tell)
    if not first:
        return 0
    if args.json:
        print_json({"model": str(recipe.out / "model"), "scores": scores})
        return 0
    print(recipe.out / "model")
    for name, score in scores.items():
        print(f"{name}: {score:.4f}")
    return 0


def _refuse_folders_options(args: argparse.Namespace) -> None:
    """A recipe says itself what these options would."""
    given = {"--from": args.start, "--minutes": args.minutes, "--device": args.device}
    wrong = next((name for name, value in given.items() if value is not None), None)
    if wrong:
        place = {"--from": "--init MODEL", "--minutes": "--steps N"}.get(wrong, "leave it out")
        raise UsageError(f"{wrong} belongs to a folder of pictures, and '{args.recipe}' is none", hint=place)


def _minutes(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 0 < value <= MOST_MINUTES:
        raise argparse.ArgumentTypeError(f"expected minutes above 0, found '{text.strip()}'")
    return value


def explain(words: Sequence[str]) -> str | None:
    """All fields of the task of a recipe, for ``train RECIPE --help``; None where no recipe is named.

    Raises:
        UsageError: The recipe is missing or names no task.
    """
    name = next((word for word in words if not word.startswith("-")), None)
    if name is None or Path(name).is_dir():
        return None
    from vns_sam.training.describe import help_text
    from vns_sam.training.fields import find_recipe, read_values
    from vns_sam.training.recipe import task_of

    return f"{find_recipe(name)}\n\n{help_text(task_of(read_values(name), name))}"


def _list(*, json: bool) -> int:
    from vns_sam.training.fields import shipped

    found = {**shipped(), **shipped("bundled"), **shipped("studies")}
    width = max(map(len, found), default=0)
    for name, path in found.items():
        first = path.read_text(encoding="utf-8").splitlines()[0]
        about = first.removeprefix("#").strip() if first.startswith("#") else ""
        if json:
            print_json({"recipe": name, "about": about, "path": path})
        else:
            print(f"{name:<{width}}  {about}".rstrip())
    return 0
