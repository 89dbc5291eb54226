"""The containers that travel between the rooms of the package.

Shape letters: I images, P prompts, N points of one prompt, C channels, H x W pixels of the original picture,
g embedding grid (stride 16 of the model's square input).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from vns_sam.errors import PromptError

if TYPE_CHECKING:
    import torch

PADDING_LABEL = -1
"""Label of a point that is not there: it fills rows of ragged point prompts and is dropped before encoding."""


@dataclass(frozen=True)
class Geometry:
    """How one picture was fitted into the model's square input: scaled with its aspect kept, then padded
    at the right and the bottom.

    Attributes:
        height, width: Size of the original picture in pixels.
        fitted_height, fitted_width: Size after scaling; the rest of the square is padding.
        side: Side of the square input in pixels.
    """

    height: int
    width: int
    fitted_height: int
    fitted_width: int
    side: int

    @property
    def scale_xy(self) -> tuple[float, float]:
        """Factors from original to model pixels, (x, y)."""
        return self.fitted_width / self.width, self.fitted_height / self.height


@dataclass(frozen=True)
class Prompts:
    """What a user gives for one picture, in its original pixels: P prompts, one object each.

    A prompt may combine a box, points and a mask. Every field that is given has P rows.

    Attributes:
        boxes: (P, 4) XYXY or None.
        points: (P, N, 2) XY or None.
        labels: (P, N) 1 object, 0 background, -1 no point; required with points.
        masks: (P, H, W) in [0, 1] (a coarse mask) or None.

    Raises:
        PromptError: Nothing is given, or the shapes do not belong together.
    """

    boxes: np.ndarray | None = None
    points: np.ndarray | None = None
    labels: np.ndarray | None = None
    masks: np.ndarray | None = None

    def __post_init__(self) -> None:
        given = {k: v for k, v in vars(self).items() if v is not None and k != "labels"}
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


@dataclass(frozen=True)
class ImageFeatures:
    """What an encoder makes of I pictures; prompts are decoded from it any number of times.

    Attributes:
        embedding: (I, C, g, g).
        levels: Four maps (I, g, g, C_k), shallow to deep.
        geometry: One entry for each picture.
        mined: Maps that a method derives from the levels once for each picture, VNS-SAM's mask feature
            (I, 32, 4g, 4g) and edge feature (I, 256, g, g); empty elsewhere.
        pictures: The pictures themselves, each (H, W, 3) uint8 RGB, where a model looks at them again for each
            prompt (DIS-SAM); empty elsewhere.
    """

    embedding: torch.Tensor
    levels: tuple[torch.Tensor, ...]
    geometry: tuple[Geometry, ...]
    mined: tuple[torch.Tensor, ...] = ()
    pictures: tuple[np.ndarray, ...] = ()


@dataclass(frozen=True)
class Matte:
    """A dense answer to one prompt, at the size of its picture.

    Attributes:
        alpha: (H, W) float32 in [0, 1].
        threshold: A pixel is object where its alpha is above this.
    """

    alpha: np.ndarray
    threshold: float = 0.5

    @property
    def logits(self) -> np.ndarray:
        """(H, W) float32, object where > 0; within 14 of 0."""
        clipped = self.alpha.clip(1e-6, 1 - 1e-6)
        odds = np.divide(clipped, 1 - clipped, out=clipped)
        odds *= np.float32((1 - self.threshold) / self.threshold)
        return np.log(odds, out=odds)


@dataclass(frozen=True)
class DecoderOutput:
    """Raw maps for P prompts, a quarter of the model's input in size.

    Attributes:
        mask_logits: (P, 1, 4g, 4g), object where > 0.
        scores: (P,) predicted IoU, 0 to 1 on a calibrated model.
        edge_logits: (P, 1, 4g, 4g) or None where the model has no edge head.
        mattes: P answers at the size of their pictures, finer than ``mask_logits``, or None where the model has none.
    """

    mask_logits: torch.Tensor
    scores: torch.Tensor
    edge_logits: torch.Tensor | None = None
    mattes: tuple[Matte, ...] | None = None


@dataclass
class Prediction:
    """Masks of one picture at its original size.

    Attributes:
        masks: (P, H, W) bool.
        logits: (P, H, W) float32, object where > 0.
        scores: (P,) float32 predicted IoU.
        edges: (P, H, W) float32 edge probability, or None.
        boxes: (P, 4) XYXY around each mask (exclusive right and bottom), zeros where a mask is empty.
        alpha: (P, H, W) float32 in [0, 1], how much of a pixel is object, or None where the model has no such map.
    """

    masks: np.ndarray
    logits: np.ndarray
    scores: np.ndarray
    edges: np.ndarray | None
    boxes: np.ndarray
    alpha: np.ndarray | None = None


@runtime_checkable
class PromptableModel(Protocol):
    """Encode pictures once, decode prompts many times. The predictor, the labeller, the refiner and the
    evaluation know models only by this.
    """

    name: str

    def encode(self, images: Sequence[np.ndarray]) -> ImageFeatures:
        """Encodes pictures, each (H, W, 3) uint8 RGB."""
        ...

    def decode(self, features: ImageFeatures, prompts: Sequence[Prompts], image_index: Sequence[int]) -> DecoderOutput:
        """Decodes ``prompts[k]`` on image ``image_index[k]``; rows come out in the order given."""
        ...
