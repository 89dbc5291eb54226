"""What a run trains: for each task its recipe and what runs it."""

from __future__ import annotations

from typing import Any

from vns_sam.training.settings import Recipe, RunRecipe
from vns_sam.training.tasks.base import Task
from vns_sam.training.tasks.cyclegan import GanRecipe
from vns_sam.training.tasks.dis import DisRecipe, DisTask, GtEncoderRecipe, GtEncoderTask
from vns_sam.training.tasks.frozen import HqRecipe, HqTask, VnsRecipe, VnsTask
from vns_sam.training.tasks.scratch import SamRecipe, SamTask
from vns_sam.training.tasks.tune import SamTuneTask, TuneRecipe
from vns_sam.training.tasks.ws import WsRecipe, WsTask

__all__ = ["RECIPES", "Task", "build_task"]

RECIPES: dict[str, type[RunRecipe]] = {
    "sam": SamRecipe,
    "vns-sam": VnsRecipe,
    "hq-sam": HqRecipe,
    "sam-tune": TuneRecipe,
    "gt-encoder": GtEncoderRecipe,
    "dis-sam": DisRecipe,
    "ws-sam": WsRecipe,
    "cyclegan": GanRecipe,
}
"""The recipe of each task."""

_TASKS: dict[type[RunRecipe], Any] = {
    SamRecipe: SamTask,
    VnsRecipe: VnsTask,
    HqRecipe: HqTask,
    TuneRecipe: SamTuneTask,
    GtEncoderRecipe: GtEncoderTask,
    DisRecipe: DisTask,
    WsRecipe: WsTask,
}


def build_task(recipe: Recipe) -> Task:
    """The task of a recipe, in training mode.

    Raises:
        UsageError: ``init`` names no model, or one that the task cannot start from.
        CheckpointError: The weights to start from cannot be read.
    """
    task: Task = _TASKS[type(recipe)](recipe)
    return task
