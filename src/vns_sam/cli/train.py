"""Trains a model from a recipe. Started again with the same command, it continues where it was stopped.

vns-sam train vns_sam_tiny                  a recipe that comes with vns-sam, by name or as recipes/vns_sam_tiny.yaml
vns-sam train mine.yaml --optim.lr 0.0005 --batch_size 2               any field can be overridden
vns-sam train vns_sam_tiny --help           all fields of that recipe's task, with their bounds and defaults
vns-sam train --list                        the recipes that come with vns-sam
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vns_sam.cli.progress import progress_bar
from vns_sam.errors import UsageError

TAKES_OVERRIDES = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("recipe", nargs="?", metavar="RECIPE", help="a path, or the name of one of --list")
    parser.add_argument("--list", action="store_true", help="only list the recipes that come with vns-sam")


def run(args: argparse.Namespace) -> int:
    """Runs the verb."""
    if args.list:
        return _list()
    if args.recipe is None:
        raise UsageError("expected a recipe", hint="vns-sam train --list names those that come with vns-sam")
    from vns_sam.training.fields import read_values
    from vns_sam.training.recipe import RESOLVED, parse_recipe
    from vns_sam.training.runs import start

    values = apply_overrides(read_values(args.recipe), args.overrides)
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
    print(recipe.out / "model")
    for name, score in scores.items():
        print(f"{name}: {score:.4f}")
    return 0


def explain(words: Sequence[str]) -> str | None:
    """All fields of the task of a recipe, for ``train RECIPE --help``; None where no recipe is named.

    Raises:
        UsageError: The recipe is missing or names no task.
    """
    name = next((word for word in words if not word.startswith("-")), None)
    if name is None:
        return None
    from vns_sam.training.describe import help_text
    from vns_sam.training.fields import find_recipe, read_values
    from vns_sam.training.recipe import task_of

    return f"{find_recipe(name)}\n\n{help_text(task_of(read_values(name), name))}"


def _list() -> int:
    from vns_sam.training.fields import shipped

    found = {**shipped(), **shipped("bundled"), **shipped("studies")}
    width = max(map(len, found), default=0)
    for name, path in found.items():
        first = path.read_text(encoding="utf-8").splitlines()[0]
        print(f"{name:<{width}}  {first.removeprefix('#').strip() if first.startswith('#') else ''}".rstrip())
    return 0


def apply_overrides(values: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Sets fields of a recipe from what :func:`read_overrides` reads.

    Raises:
        UsageError: See there; or a field lies inside something that has no fields.
    """
    from vns_sam.training.fields import set_field

    for name, value in read_overrides(overrides):
        set_field(values, name, value)
    return values


def read_overrides(words: Sequence[str]) -> list[tuple[str, Any]]:
    """Fields and values of ``--field.sub value`` and ``--field.sub=value``; values are read as YAML.

    Raises:
        UsageError: A field has no value or one that is no YAML.
    """
    import yaml

    rest = [part for word in words for part in (word.split("=", 1) if word.startswith("--") else [word])]
    found = []
    for name, text in zip(rest[::2], [*rest[1::2], None], strict=False):
        if not name.startswith("--") or text is None:
            raise UsageError(f"expected --field value, found '{name}'", hint="--optim.lr 0.001")
        try:
            found.append((name[2:], yaml.safe_load(text)))
        except yaml.YAMLError:
            raise UsageError(
                f"expected {name} to be YAML, found {text}", hint='quote text with brackets: \'["a/{set}", "b/{set}"]\''
            ) from None
    return found
