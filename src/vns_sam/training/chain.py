"""One recipe, all of its runs: a DIS-SAM needs a trained ground-truth encoder before it can be trained itself."""

from __future__ import annotations

from dataclasses import replace

from vns_sam.training.loop import Progress, train
from vns_sam.training.recipe import Dis, Recipe
from vns_sam.training.tasks.dis import cache_folder

ENCODER = "gt_encoder"
"""Folder of the encoder's run inside the folder of the run."""


def train_all(recipe: Recipe, progress: Progress = lambda done, total, values: None) -> dict[str, float]:
    """Runs or continues a recipe and what it stands on, see :func:`vns_sam.training.loop.train`.

    Returns:
        Validation scores of the recipe's own last step.
    """
    if recipe.task == "dis-sam" and (recipe.dis is None or recipe.dis.encoder is None):
        dis = replace(recipe.dis or Dis(), cache=cache_folder(recipe))
        train(encoder_recipe(replace(recipe, dis=dis)), progress)
        recipe = replace(recipe, dis=replace(dis, encoder=recipe.out / ENCODER / "model"))
    return train(recipe, progress)


def encoder_recipe(recipe: Recipe) -> Recipe:
    """The recipe that trains the ground-truth encoder of a recipe of the task "dis-sam", on the same masks."""
    dis = recipe.dis or Dis()
    optim = replace(recipe.optim, lr=dis.encoder_lr, warmup=min(recipe.optim.warmup, dis.encoder_steps // 10))
    return replace(
        recipe, task="gt-encoder", out=recipe.out / ENCODER, init=None, steps=dis.encoder_steps, optim=optim, ema=0.0
    )
