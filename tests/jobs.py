"""Jobs done at once: planned and run in one call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import copy
from functools import partial

from vns_sam.labelling.folder import LabelJob, LabelRun, Models
from vns_sam.runs.engine import Outcome, run
from vns_sam.runs.job import Item, Job, Mapper
from vns_sam.runs.plan import prepare
from vns_sam.runs.threads import overlapped
from vns_sam.types import PromptableModel


def do(job: Job[Item], mapper: Mapper = overlapped, *, force: bool = False) -> Iterator[Outcome]:
    """What becomes of each item, as it goes."""
    return run(prepare(job, force=force), mapper)


def label(
    model: PromptableModel, label_run: LabelRun, mapper: Mapper = overlapped, *, force: bool = False
) -> Iterator[Outcome]:
    """Labels each picture by a model that is there."""
    return do(LabelJob(label_run, given(model)), mapper, force=force)


def given(model: PromptableModel) -> Callable[[], Models]:
    """Loads a model that is there; picklable where the model is."""
    return partial(copy, (model, None))
