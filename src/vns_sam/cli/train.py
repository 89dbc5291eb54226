"""Trains a model from a recipe. Started again with the same command, it continues where it was stopped.

vns-sam train recipes/vns_sam_tiny.yaml
vns-sam train recipes/vns_sam_tiny.yaml --optim.lr 0.0005 --batch_size 2     any field can be overridden
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from vns_sam.cli.progress import progress_bar
from vns_sam.errors import UsageError

TAKES_OVERRIDES = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("recipe", type=Path, metavar="RECIPE.yaml")


def run(args: argparse.Namespace) -> int:
    """Runs the verb."""
    from vns_sam.runs.lock import locked
    from vns_sam.training.fields import read_values
    from vns_sam.training.gan_recipe import GanRecipe
    from vns_sam.training.runs import parse_any, start

    values = apply_overrides(read_values(args.recipe), args.overrides)
    recipe = parse_any(values, str(args.recipe))
    if isinstance(recipe, GanRecipe) and os.environ.get("WORLD_SIZE", "1") != "1":
        raise UsageError("a CycleGAN trains in one process", hint=f"vns-sam train {args.recipe}")

    first = os.environ.get("RANK", "0") == "0"  # torchrun runs this in every process
    held = locked(recipe.out, "train") if first else nullcontext()
    with held, progress_bar("training", quiet=args.quiet or not first, keep=True) as show:

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
