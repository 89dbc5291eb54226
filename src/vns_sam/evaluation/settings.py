"""What the numbers of an evaluation depend on beside model, picture and prompt; and where its time goes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Literal

from vns_sam.evaluation.frames import Resize
from vns_sam.types import SECOND_LOOK, SecondLook

Choice = Literal["own", "likeliest", "best"]
"""Which of a model's masks is scored: its own answer; of those that it offers to choose from the one that it thinks
best; or the one that is best, which only who knows the truth can tell."""

MASK_METRICS = ("iou", "biou")
"""What the thresholded mask is enough for; the others want a map."""


@dataclass(frozen=True)
class Settings:
    """What the numbers depend on beside model, picture and prompt.

    Attributes:
        metrics: See ``vns_sam.metrics.scoring.METRICS``.
        resize: "fit" keeps the aspect, "square" is the authors' way.
        instances: Whether each object is asked for by itself, where a set tells them apart: of all sets, or of those of
            these names.
        second_look: Whether small and thin objects are asked about once more in cut-outs; not for clicks. A DIS-SAM
            has its first stage do so, or looks again along uncertain boundaries. "auto" is decided for each model.
        choice: Which of the model's masks is scored; one of several is not looked at again.
        precision: Whether masks are kept for average precision, in which objects compete by predicted IoU.
    """

    metrics: tuple[str, ...] = MASK_METRICS
    resize: Resize = "fit"
    instances: bool | tuple[str, ...] = False
    second_look: SecondLook = SECOND_LOOK
    choice: Choice = "own"
    precision: bool = False

    def by_object(self, dataset: str) -> bool:
        """Whether each object of a set is asked for by itself."""
        return self.instances if isinstance(self.instances, bool) else dataset in self.instances

    def keeps_masks(self, dataset: str) -> bool:
        """Whether masks of a set are kept for average precision; where single sets are asked by objects, of those."""
        return self.precision and (isinstance(self.instances, bool) or self.by_object(dataset))


@dataclass
class Clock:
    """Seconds by what they were spent on, wherever that was; ``wait`` is the time in which the caller had to."""

    read: float = 0.0
    encode: float = 0.0
    decode: float = 0.0
    metrics: float = 0.0
    wait: float = 0.0

    def add(self, other: Clock) -> None:
        """Adds the seconds of another."""
        for name, seconds in vars(other).items():
            setattr(self, name, getattr(self, name) + seconds)

    @contextmanager
    def spending(self, what: str) -> Iterator[None]:
        """Adds the seconds that the block lasts."""
        start = perf_counter()
        try:
            yield
        finally:
            setattr(self, what, getattr(self, what) + perf_counter() - start)
