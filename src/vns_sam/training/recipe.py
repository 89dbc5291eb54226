"""Recipes of every task: a union told apart by ``task``, read from YAML, every field overridable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

import yaml
from pydantic import Field, TypeAdapter

from vns_sam.errors import UsageError
from vns_sam.sam.model_config import nearest
from vns_sam.training.fields import check_fields, parts_of, read_values
from vns_sam.training.settings import Optim as Optim
from vns_sam.training.settings import Recipe as Recipe
from vns_sam.training.settings import RunRecipe as RunRecipe
from vns_sam.training.settings import Validation as Validation
from vns_sam.training.tasks import RECIPES

Kind = TypeVar("Kind", bound=RunRecipe)

RESOLVED = "recipe.yaml"
"""In the folder of a training run: its recipe with all fields."""

_UNION: Any = Annotated[reduce(or_, RECIPES.values()), Field(discriminator="task")]
_ADAPTER: TypeAdapter[RunRecipe] = TypeAdapter(_UNION)


def load_recipe(path: str | Path) -> RunRecipe:
    """Reads a recipe.

    Raises:
        UsageError: The file is missing, no YAML mapping, or a field is unknown, missing, of another type or out of
            bounds; each wrong field is named by its path.
    """
    return parse_recipe(read_values(path), str(path))


def parse_recipe(
    values: Mapping[str, Any], source: str, *, resolved: bool = False, file: str | Path | None = None
) -> RunRecipe:
    """Checks a recipe's fields.

    Args:
        values: The fields. One that is null and that the task does not have is as good as not there: so a recipe
            leaves out what its base gives.
        source: Where they come from.
        resolved: Whether a run wrote them. Those of earlier versions name the fields of all tasks; those that their
            own task does not have never had an effect and are left out.
        file: A recipe of the same fields, whose help tells them, "" for none; by default ``source``.

    Raises:
        UsageError: See :func:`load_recipe`.
    """
    task = task_of(values, source)
    kind = RECIPES[task]
    file = source if file is None else file
    hint = f"vns-sam train {file} --help tells all fields" if file else "see docs/training.md"
    own, parts = _own(kind, values, resolved), [*parts_of(kind)]
    return check_fields(_ADAPTER, own, source, parts, hint, f" of the task '{task}'")


def task_of(values: Mapping[str, Any], source: str) -> str:
    """The task that a recipe names.

    Raises:
        UsageError: It names none that there is.
    """
    task = values.get("task")
    if isinstance(task, str) and task in RECIPES:
        return task
    found = "none" if task is None else f"'{task!s:.60}'"
    raise UsageError(f"{source}: expected a 'task', found {found}", hint=nearest(str(task), [*RECIPES]))


def dump_recipe(recipe: RunRecipe) -> str:
    """The resolved recipe as YAML."""
    return yaml.safe_dump(recipe_fields(recipe), sort_keys=False)


def recipe_fields(recipe: RunRecipe) -> dict[str, Any]:
    """The fields of a recipe as plain values."""
    found: dict[str, Any] = TypeAdapter(type(recipe)).dump_python(recipe, mode="json")
    return found


def identity(recipe: RunRecipe) -> str:
    """The part of a recipe that a continued run must share, as YAML."""
    return yaml.safe_dump({k: v for k, v in recipe_fields(recipe).items() if k not in recipe.FREE}, sort_keys=False)


def continues(stopped: Any, recipe: RunRecipe) -> bool:
    """Whether ``stopped``, the identity in a checkpoint, is the recipe's; fields that it lacks have their defaults."""
    try:
        values = yaml.safe_load(stopped) if isinstance(stopped, str) else stopped
        before = parse_recipe({**values, "out": recipe.out}, "the checkpoint", resolved=True)
    except (UsageError, yaml.YAMLError, TypeError):
        return False
    return identity(before) == identity(recipe)


def _own(kind: Any, values: Mapping[str, Any], resolved: bool) -> dict[str, Any]:
    """The fields that a dataclass is to be made of."""
    hints = get_type_hints(kind)
    known = {entry.name for entry in fields(kind)}
    everybody = {entry.name for other in RECIPES.values() for part in parts_of(other) for entry in fields(part)}
    own = {}
    for name, value in values.items():
        if name not in known and (value is None or (resolved and name in everybody)):
            continue
        inside = hints.get(name)
        nested = isinstance(value, Mapping) and is_dataclass(inside)
        own[name] = _own(inside, value, resolved) if nested else value
    return own
