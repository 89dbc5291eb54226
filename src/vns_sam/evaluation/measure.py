"""How models are measured: the same settings for the command, for studies, for the papers' tables and stored rows."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass

from vns_sam.evaluation.frames import Resize
from vns_sam.evaluation.settings import Choice, Settings
from vns_sam.metrics.scoring import parse_metrics
from vns_sam.types import SECOND_LOOK, SecondLook

PRECISION = "ap"
"""The metric that is taken of all objects of a set together."""


def read_look(value: Any) -> Any:
    """YAML reads on and off as true and false."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else value


Look = Annotated[SecondLook, BeforeValidator(read_look)]
"""A second look as files say it."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Measure:
    """Prompts, metrics, and everything else that numbers depend on beside models and sets.

    Attributes:
        prompts: See :func:`vns_sam.evaluation.protocol.parse_protocols`.
        metrics: See ``vns_sam.metrics.scoring.METRICS``; "ap" adds average precision.
        resize: "fit" keeps the aspect, "square" squashes to 1024 x 1024 as the authors do.
        instances: Whether each object is asked for by itself, of all sets or of those of these names.
        second_look: Whether small and thin objects are asked about once more in cut-outs; decided for each model.
        seed: Of the prompts.
        limit: Pictures of each set at most.
        groups: Means over some sets, by name.
        by_metric: Whether the table has a column for each metric and lines for sets, instead of columns for sets.
    """

    prompts: tuple[str, ...] = ("box",)
    metrics: tuple[str, ...] = ("iou", "biou")
    resize: Resize = "fit"
    instances: bool | tuple[str, ...] = False
    second_look: Look = SECOND_LOOK
    seed: Annotated[int, Field(ge=0)] = 0
    limit: Annotated[int, Field(gt=0)] | None = None
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    by_metric: bool = False

    def settings(self) -> Settings:
        """What is scored of each object.

        Raises:
            UsageError: A metric is unknown.
        """
        scored = parse_metrics(name for name in self.metrics if name != PRECISION)
        return Settings(scored, self.resize, self.instances, self.second_look, precision=PRECISION in self.metrics)

    def identity(self, digest: str, *, looks_again: bool, choice: Choice = "own") -> dict[str, Any]:
        """What stored rows depend on beside object and prompt.

        Args:
            digest: Of the model.
            looks_again: Whether it looks a second time.
            choice: Which of its masks is scored.
        """
        settings = self.settings()
        return {
            "model": digest,
            "metrics": list(settings.metrics),
            "resize": self.resize,
            "seed": self.seed,
            "instances": self.instances if isinstance(self.instances, bool) else list(self.instances),
            "second_look": looks_again,
            "precision": settings.precision,
            **({} if choice == "own" else {"choice": choice}),
        }
