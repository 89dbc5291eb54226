"""Training runs of every kind, told apart by their recipe."""

from __future__ import annotations

from vns_sam.training.chain import train_all
from vns_sam.training.loop import Progress
from vns_sam.training.settings import Recipe, RunRecipe


def start(recipe: RunRecipe, progress: Progress) -> dict[str, float]:
    """Runs or continues it; see :func:`vns_sam.training.loop.train` and :func:`vns_sam.training.gan.train_gan`."""
    if isinstance(recipe, Recipe):
        return train_all(recipe, progress)
    from vns_sam.training.gan import train_gan
    from vns_sam.training.tasks.cyclegan import GanRecipe

    assert isinstance(recipe, GanRecipe)
    return train_gan(recipe, progress)
