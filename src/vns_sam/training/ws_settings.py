"""What recipes of WS-SAM's segmenter have of their own."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from vns_sam.labelling.fusion import Selection
from vns_sam.training.settings import fields_of
from vns_sam.ws.config import WsSamConfig


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))  # a limit of the selection may be infinite
class Ws:
    """What the task "ws-sam" has of its own."""

    model: fields_of(WsSamConfig) = field(default_factory=dict)  # type: ignore[valid-type]
    """Fields of ``WsSamConfig``; the rest has its defaults, or follows the model that the run continues."""
    supervision: Literal["full", "sparse", "pseudo"] = "pseudo"
    """Learns from the true masks, from sparse labels alone, or from pseudo-labels and sparse labels."""
    labels: str | None = None
    """Sparse labels of each set, a folder or a table; ``{set}`` stands for its name."""
    pseudo: str | tuple[str, ...] | None = None
    """Store of each set's pseudo-labels, or several of different rounds; ``{set}`` stands for its name. A folder of
    pseudo-masks that somebody else made is one, too."""
    pool: Annotated[int, Field(gt=0, le=1024)] = 3
    """Of the kept labels of a picture in several stores, so many of the least uncertain are learnt from in turn."""
    selection: Selection = field(default_factory=Selection)
    """Whose pseudo-labels count; the sparse label of a picture counts always."""
    entropy: bool = True
    """Whether pixels count by how sure their pseudo-label is, 1 - E; else all alike."""
    preset: Literal["default", "paper", "released"] = "default"
    """Which loss, see ``vns_sam.ws.losses``."""
    frozen: Annotated[int, Field(ge=0, le=7)] = 0
    """First stages of an EfficientNet-Lite, with what is before them, that stay as they are."""

    def __post_init__(self) -> None:
        WsSamConfig.make(**self.model)  # as in recipes of DIS-SAM
