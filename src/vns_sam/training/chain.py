"""One recipe, all of its runs: a DIS-SAM needs a trained ground-truth encoder before it can be trained itself."""

from __future__ import annotations

from dataclasses import fields, replace

from vns_sam.training.loop import Progress, train
from vns_sam.training.settings import Recipe
from vns_sam.training.tasks.dis import DisRecipe, GtEncoderRecipe, cache_folder, judge

ENCODER = "gt_encoder"
"""Folder of the encoder's run inside the folder of the run."""


def train_all(recipe: Recipe, progress: Progress = lambda done, total, values: None) -> dict[str, float]:
    """Runs or continues a recipe and what it stands on, see :func:`vns_sam.training.loop.train`.

    Returns:
        Validation scores of the recipe's own last step.
    """
    own = own_recipe(recipe)
    if isinstance(own, DisRecipe) and own != recipe:
        judge(own)
        train(encoder_recipe(own), progress)
    return train(own, progress)


def own_recipe(recipe: Recipe) -> Recipe:
    """A recipe as its own run sees it: what is trained before it is named."""
    if not isinstance(recipe, DisRecipe) or recipe.dis.encoder is not None:
        return recipe
    dis = replace(recipe.dis, cache=cache_folder(recipe), encoder=recipe.out / ENCODER / "model")
    return replace(recipe, dis=dis)


def encoder_recipe(recipe: DisRecipe) -> GtEncoderRecipe:
    """The recipe that trains the ground-truth encoder of a recipe of the task "dis-sam", on the same masks."""
    dis = recipe.dis
    shared = {entry.name: getattr(recipe, entry.name) for entry in fields(recipe)}
    own = {
        "task": "gt-encoder",
        "out": recipe.out / ENCODER,
        "init": None,
        "steps": dis.encoder_steps,
        "optim": replace(recipe.optim, lr=dis.encoder_lr, warmup=min(recipe.optim.warmup, dis.encoder_steps // 10)),
        "ema": 0.0,
        "dis": replace(dis, encoder=None),
    }
    return GtEncoderRecipe(**{**shared, **own})
