"""The bodies of the REST interface about learning."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, Field

from vns_sam.serving.schemas import Rle, Strict


class LessonObject(Strict):
    """One object of a picture to learn from."""

    mask: Rle


class LessonPicture(Strict):
    """What is on a picture to learn from."""

    objects: Annotated[list[LessonObject], Field(min_length=1, max_length=1000)]


class LessonOrder(Strict):
    """A lesson that is to begin, or to go on.

    Attributes:
        model: What is adapted; the default when left out.
        minutes: How long it may take.
        folder: Key of the server's folder, where it learns from all annotated pictures of that; "" for those that were
            given.
        go_on: Whether the last lesson goes on where it was stopped; the rest is as it was then.
    """

    model: str | None = None
    minutes: Annotated[float, Field(gt=0, le=1440)] = 10
    folder: Annotated[str, Field(max_length=64)] = ""
    go_on: bool = False


class LearnedRow(BaseModel):
    """A measure on held-out pictures, before and after.

    Attributes:
        prompt: How was asked: ``box``, or ``points:1`` for one click.
        metric: ``iou``, or ``biou`` for the boundary's.
        count: Objects.
        before, after: Means.
        low, high: 95 % interval of the change.
        certain: Whether it leaves out 0.
    """

    KEPT: ClassVar = ("prompt", "metric", "count", "low", "high", "certain")

    prompt: str
    metric: str
    count: int
    before: float
    after: float
    low: float
    high: float
    certain: bool


class LearnState(BaseModel):
    """The last lesson of whoever asks.

    Attributes:
        possible: Whether it can be learned here.
        missing: What is missing for that.
        least: Annotated pictures that a lesson needs.
        given: Pictures that were given for the next one.
        busy: Whether a lesson runs, of anybody.
        name: Of the last lesson, which its model has too.
        start: The model that is adapted.
        minutes: What was allowed.
        what, done, total: How far it is.
        said: What was found and decided, in sentences.
        why: Why it ended as it did.
        hint: What to try where it failed.
        taken: Whether the new model is better and on offer.
        rows: Held-out pictures before and after.
    """

    possible: bool
    missing: str = ""
    least: int
    given: int = 0
    busy: bool = False
    state: Literal["none", "running", "stopped", "failed", "done"] = "none"
    name: str = ""
    start: str = ""
    minutes: float = 0
    what: str = ""
    done: int = 0
    total: int = 1
    said: list[str] = []
    why: str = ""
    hint: str = ""
    taken: bool = False
    rows: list[LearnedRow] = []
