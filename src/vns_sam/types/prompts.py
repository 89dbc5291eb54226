"""What is asked about a picture, by a user and by a decoder, and how the picture was fitted into the model's input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from vns_sam.errors import PromptError, UsageError
from vns_sam.types.info import PromptKind
from vns_sam.types.pieces import Size

if TYPE_CHECKING:
    import torch

PADDING_LABEL = -1
"""Label of a point that is not there: it fills rows of ragged point prompts and is dropped before encoding."""


@dataclass(frozen=True)
class Geometry:
    """How one picture was fitted into the model's input: scaled with its aspect kept, then padded at the right and the
    bottom.

    Attributes:
        height, width: Size of the original picture in pixels.
        fitted_height, fitted_width: Size after scaling; the rest of the input is padding.
        input_height, input_width: Size of the input in pixels.
    """

    height: int
    width: int
    fitted_height: int
    fitted_width: int
    input_height: int
    input_width: int

    @property
    def input(self) -> Size:
        """Height and width of the input."""
        return self.input_height, self.input_width

    @property
    def scale_xy(self) -> tuple[float, float]:
        """Factors from original to model pixels, (x, y)."""
        return self.fitted_width / self.width, self.fitted_height / self.height

    @staticmethod
    def pack(given: Sequence[Geometry]) -> np.ndarray:
        """Several as one array of their numbers, (I, 6) int64."""
        return np.array([astuple(one) for one in given], np.int64).reshape(-1, 6)

    @staticmethod
    def unpack(numbers: np.ndarray) -> tuple[Geometry, ...]:
        """Inverse of :meth:`pack`.

        Raises:
            UsageError: They are not six each, as earlier versions wrote them.
        """
        if numbers.shape[1:] != (6,):
            raise UsageError(
                f"expected six numbers for each picture's place, found an array of {numbers.shape}",
                hint="encode the picture again; use one version on both sides",
            )
        return tuple(Geometry(*(int(value) for value in row)) for row in numbers)


@dataclass(frozen=True)
class Prompts:
    """What a user gives for one picture, in its original pixels: P prompts, one object each.

    A prompt may combine a box, points and a mask. Every field that is given has P rows.

    Attributes:
        boxes: (P, 4) XYXY, right and bottom exclusive, or None.
        points: (P, N, 2) XY or None.
        labels: (P, N) 1 object, 0 background, -1 no point; required with points.
        masks: (P, H, W) in [0, 1] (a coarse mask) or None.
        classes: P names of classes, "" where there is none, or None; no model sees them, results carry them on.

    Raises:
        PromptError: Nothing is given, or the shapes do not belong together.
    """

    boxes: np.ndarray | None = None
    points: np.ndarray | None = None
    labels: np.ndarray | None = None
    masks: np.ndarray | None = None
    classes: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        given = {k: v for k, v in vars(self).items() if v is not None and k not in ("labels", "classes")}
        if not given:
            raise PromptError("no prompt given", hint="give a box, points or a mask")
        if self.boxes is not None and (self.boxes.ndim != 2 or self.boxes.shape[1] != 4):
            raise PromptError(f"boxes must have shape (P, 4) as X0 Y0 X1 Y1, got {self.boxes.shape}")
        if self.points is not None and (self.points.ndim != 3 or self.points.shape[2] != 2):
            raise PromptError(f"points must have shape (P, N, 2), got {self.points.shape}")
        if (self.points is None) != (self.labels is None):
            raise PromptError("points and labels go together, one label for each point")
        if self.points is not None and self.labels is not None and self.labels.shape != self.points.shape[:2]:
            raise PromptError(
                f"labels must have one value for each point, shape {self.points.shape[:2]}, got {self.labels.shape}"
            )
        if self.masks is not None and self.masks.ndim != 3:
            raise PromptError(f"masks must have shape (P, H, W), got {self.masks.shape}")
        if len({len(v) for v in given.values()}) > 1:
            counts = ", ".join(f"{k} {len(v)}" for k, v in given.items())
            raise PromptError(f"all prompts must have the same number of rows, got {counts}")
        if self.classes is not None and len(self.classes) != len(self):
            raise PromptError(f"each object has one class, got {len(self.classes)} for {len(self)} objects")

    def single(self, row: int) -> Prompts:
        """One of the P prompts."""
        one = slice(row, row + 1)
        return Prompts(**{name: None if values is None else values[one] for name, values in vars(self).items()})

    @property
    def kinds(self) -> frozenset[PromptKind]:
        """The kinds that are given."""
        kinds: dict[PromptKind, np.ndarray | None] = {"box": self.boxes, "point": self.points, "mask": self.masks}
        return frozenset(kind for kind, values in kinds.items() if values is not None)

    def __len__(self) -> int:
        """Number of prompts P."""
        return len(next(v for v in (self.boxes, self.points, self.masks) if v is not None))


@dataclass(frozen=True)
class PromptBatch:
    """P prompts of one kind as tensors in the model's square input: what a decoder takes.

    Attributes:
        image_index: (P,) long, the image of each prompt.
        boxes: (P, 4) XYXY in input pixels, or None.
        points, labels: (P, N, 2) in input pixels and (P, N) long in {0, 1}, or None.
        masks: (P, 1, 4g, 4g) in [0, 1], or None.
    """

    image_index: torch.Tensor
    boxes: torch.Tensor | None = None
    points: torch.Tensor | None = None
    labels: torch.Tensor | None = None
    masks: torch.Tensor | None = None

    def __len__(self) -> int:
        """Number of prompts P."""
        return len(self.image_index)

    def to(self, device: torch.device) -> PromptBatch:
        """The same prompts on another device."""
        return replace(self, **{k: v.to(device) for k, v in vars(self).items() if v is not None})
