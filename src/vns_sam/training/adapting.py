"""The recipe that adapts a trained model to one set, and how many of its steps fit into a time."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from time import perf_counter
from typing import Any

from vns_sam.errors import UsageError
from vns_sam.training.loop import train
from vns_sam.training.recipe import Recipe, parse_recipe

TASKS = {"vns-sam": "vns-sam", "hq-sam": "hq-sam", "sam": "sam-tune"}
"""The task that trains a kind of model further: a method's own modules, a plain SAM's mask decoder. The image encoder
stays frozen, so that what the model knew is not lost to a few pictures."""
RATES = {"vns-sam": 4e-4, "hq-sam": 4e-4, "sam-tune": 1e-4}
"""Peak learning rates: below those that the models were trained with."""
EXAMPLES = {"vns-sam": "vns_sam_tiny", "hq-sam": "hq_sam_tiny", "sam-tune": "ft_decoder_tiny"}
"""A recipe of each of these tasks that comes with vns-sam, whose help tells the fields."""
NAMED = {"vns-sam": "vns", "hq-sam": "hq"}
"""The field of a recipe that holds the model's name."""

FEWEST_STEPS, MOST_STEPS = 24, 4000
ENOUGH_STEPS = 150
"""Steps below which smaller views are worth more than fewer of them."""
VALIDATIONS = 10
PATIENCE = 5
"""Validations in a row that end a run: of a few pictures they are noisy, and the rate falls until the end."""
TIMED = 4
"""Steps that are timed, after one that is not."""


@dataclass(frozen=True)
class Views:
    """Sides of the square views, and how many make a step."""

    sizes: tuple[int, ...]
    batch: int


def views_for(side: int | None) -> tuple[Views, ...]:
    """What to try for a model whose input has this side, the first choice first."""
    if side is None or side <= 512:
        return Views((320, 384), 4), Views((256, 320), 4), Views((224, 256), 4)
    return Views((side,), 2), Views((side,), 1)


def adapting_values(kind: str, *, start: str, name: str, root: Path, dataset: str, out: Path) -> dict[str, Any]:
    """Fields of the recipe that adapts a model, all but size, batch and steps.

    Args:
        kind: The model's ``model_type``.
        start: What ``load_model`` takes.
        name: What the adapted model is called.
        root: Folder of the set.
        dataset: Name of the set; its lists ``train`` and ``val`` are followed.
        out: Folder of the run.

    Raises:
        UsageError: There is nothing in such a model that a few pictures could train.
    """
    if kind not in TASKS:
        raise UsageError(
            f"expected a SAM, an HQ-SAM or a VNS-SAM to adapt, '{start}' is a {kind}",
            hint="vns-sam train --list names recipes of the other kinds",
        )
    task = TASKS[kind]
    return {
        "task": task,
        "out": str(out),
        "init": start,
        **({NAMED[task]: {"name": name}} if task in NAMED else {}),
        "data": {
            "root": str(root),
            "sets": {dataset: 1},
            "mix": {"composite": 0.1},
            "prompts": 1,
            "corrections": 0.1,
        },
        "ema": 0.97,
        "optim": {"lr": RATES[task], "weight_decay": 0.01, "schedule": "cosine", "clip": 1.0},
        "log_every": 5,
        "checkpoint_every": 20,
    }


def timed_recipe(values: Mapping[str, Any], views: Views, steps: int, source: str) -> Recipe:
    """A recipe of so many steps of such views; what the values say already is kept. Warm-up and validations follow the
    steps of the recipe, whoever chose them.

    Raises:
        UsageError: See ``parse_recipe``.
    """
    given = {"batch_size": views.batch, "steps": steps, **values}
    given["data"] = {"sizes": list(views.sizes), **given["data"]}
    example = EXAMPLES.get(str(given["task"]), EXAMPLES["vns-sam"])
    asked = parse_recipe(given, source, file=example)
    assert isinstance(asked, Recipe)
    given["optim"] = {"warmup": min(20, asked.steps // 8), **given["optim"]}
    every = max(1, -(-asked.steps // VALIDATIONS))
    given["validation"] = {"every": every, "patience": PATIENCE, **given.get("validation", {})}
    recipe = parse_recipe(given, source, file=example)
    assert isinstance(recipe, Recipe)
    return recipe


def plan_steps(
    values: Mapping[str, Any], choices: tuple[Views, ...], seconds: Callable[[], float], source: str
) -> tuple[Recipe, float]:
    """The recipe whose steps fill a time on this machine, by timing some of them.

    Args:
        values: Of :func:`adapting_values`, with what a user changes.
        choices: Views to try; a later one is taken where too few steps of an earlier one fit.
        seconds: Time that is left, asked for after each try.
        source: What an error calls the values.

    Returns:
        The recipe, and the seconds that a step took.
    """
    recipe, pace = timed_recipe(values, choices[0], 1, source), 0.0
    for views in _distinct(values, choices, source):
        pace = time_steps(timed_recipe(values, views, MOST_STEPS, source))
        fitting = int(seconds() / pace)
        recipe = timed_recipe(values, views, min(MOST_STEPS, max(FEWEST_STEPS, fitting)), source)
        if fitting >= ENOUGH_STEPS:
            break
    return recipe, pace


def time_steps(recipe: Recipe) -> float:
    """Seconds of one optimiser step, from some steps of a run that leaves nothing behind, however short the recipe's
    own is.
    """
    stamps: list[float] = []

    def tell(done: int, total: int, values: dict[str, float]) -> None:
        stamps.append(perf_counter())
        if len(stamps) > TIMED:
            raise _Enough

    folder = recipe.out.with_name(f".{recipe.out.name}-timed")
    quiet = replace(recipe.validation, every=MOST_STEPS, limit=1)
    try:
        train(replace(recipe, out=folder, steps=MOST_STEPS, checkpoint_every=MOST_STEPS, validation=quiet), tell)
    except _Enough:
        pass
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return fmean(later - earlier for earlier, later in pairwise(stamps))


class _Enough(Exception):
    """Enough steps were timed."""


def _distinct(values: Mapping[str, Any], choices: tuple[Views, ...], source: str) -> Iterator[Views]:
    """The choices that differ once what the values say is put over them."""
    seen = set()
    for views in choices:
        recipe = timed_recipe(values, views, 1, source)
        key = (recipe.data.sizes, recipe.batch_size)
        if key not in seen:
            seen.add(key)
            yield views
