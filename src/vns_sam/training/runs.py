"""Training runs of every kind, told apart by the task of their recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vns_sam.training.chain import train_all
from vns_sam.training.fields import read_values
from vns_sam.training.gan_recipe import GanRecipe, parse_gan_recipe
from vns_sam.training.loop import Progress
from vns_sam.training.recipe import Recipe, parse_recipe

AnyRecipe = Recipe | GanRecipe


def parse_any(values: dict[str, Any], source: str) -> AnyRecipe:
    """Makes the recipe of its task; see :func:`vns_sam.training.recipe.load_recipe` for what is refused."""
    return parse_gan_recipe(values, source) if values.get("task") == "cyclegan" else parse_recipe(values, source)


def load_any(path: str | Path) -> AnyRecipe:
    """Reads the recipe of any task."""
    return parse_any(read_values(path), str(path))


def start(recipe: AnyRecipe, progress: Progress) -> dict[str, float]:
    """Runs or continues it; see :func:`vns_sam.training.loop.train` and :func:`vns_sam.training.gan.train_gan`."""
    if isinstance(recipe, Recipe):
        return train_all(recipe, progress)
    from vns_sam.training.gan import train_gan

    return train_gan(recipe, progress)
