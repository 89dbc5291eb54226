"""A run that comes to NaN: it stops, nothing of it is written, and the checkpoint before it stays."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from vns_sam.errors import CheckpointError
from vns_sam.sam.files import check_finite
from vns_sam.training.settings import RunRecipe


class Diverged(Exception):
    """A loss that is no number."""


def diverged(recipe: RunRecipe, step: int, what: str, hint: str) -> CheckpointError:
    """What to raise where a run has come to NaN.

    Args:
        recipe: The run.
        step: Steps done.
        what: What became NaN, and where.
        hint: Fields of this recipe that may keep it from NaN.
    """
    last = step // recipe.checkpoint_every * recipe.checkpoint_every
    kept = f"the checkpoint of step {last} is kept" if last else "no checkpoint was written yet"
    return CheckpointError(f"{recipe.out}: {what}; {kept}", hint=hint)


def check_weights(recipe: RunRecipe, weights: Mapping[str, torch.Tensor], step: int, hint: str) -> None:
    """Judges weights before they are written, measured or shown.

    Args:
        recipe: The run.
        weights: All that training changes.
        step: Steps done, with the one that may have spoilt them.
        hint: See :func:`diverged`.

    Raises:
        CheckpointError: One is NaN or infinite.
    """
    try:
        check_finite(weights, "the weights")
    except CheckpointError as error:
        raise diverged(recipe, step - 1, f"{error.message} after step {step}", hint) from None
