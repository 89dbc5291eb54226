"""What a run optimises. A task is a module whose forward maps a collated batch to named losses, so that it can be
wrapped for several processes as it is.
"""

from __future__ import annotations

from vns_sam.training.recipe import Recipe
from vns_sam.training.tasks.base import Task
from vns_sam.training.tasks.dis import DisTask, GtEncoderTask
from vns_sam.training.tasks.frozen import HqTask, VnsTask
from vns_sam.training.tasks.scratch import SamTask
from vns_sam.training.tasks.tune import SamTuneTask
from vns_sam.training.tasks.ws import WsTask

__all__ = ["Task", "build_task"]

_TASKS: dict[str, type[Task]] = {
    "sam": SamTask,
    "vns-sam": VnsTask,
    "hq-sam": HqTask,
    "sam-tune": SamTuneTask,
    "gt-encoder": GtEncoderTask,
    "dis-sam": DisTask,
    "ws-sam": WsTask,
}


def build_task(recipe: Recipe) -> Task:
    """The task of a recipe, in training mode.

    Raises:
        UsageError: ``init`` names no model, or one that the task cannot start from.
        CheckpointError: The weights to start from cannot be read.
    """
    return _TASKS[recipe.task](recipe)
