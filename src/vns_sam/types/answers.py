"""What a model answers: the raw maps of a decoder, answers brought to full size when asked for, and predictions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vns_sam.types.pieces import Piece, Size, cut_out

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class DecoderOutput:
    """Raw maps for P prompts, a quarter of the model's input in size; what a network makes and training learns from.

    Attributes:
        mask_logits: (P, 1, 4g, 4g), object where > 0.
        scores: (P,) predicted IoU, 0 to 1 on a calibrated model.
        edge_logits: (P, 1, 4g, 4g) or None where the model has no edge head.
        candidate_logits: (P, M, 4g, 4g), the masks to choose from, where they were asked for.
        candidate_scores: (P, M), their predicted IoU.
    """

    mask_logits: torch.Tensor
    scores: torch.Tensor
    edge_logits: torch.Tensor | None = None
    candidate_logits: torch.Tensor | None = None
    candidate_scores: torch.Tensor | None = None


@dataclass(frozen=True)
class Candidates:
    """The masks that a model offers for one prompt, best first.

    Attributes:
        masks: (M, H, W) bool.
        scores: (M,) float32 predicted IoU, falling.
    """

    masks: np.ndarray
    scores: np.ndarray


class Answers(ABC):
    """A model's answers to P prompts, brought to full size when they are asked for, one at a time.

    Attributes:
        scores: (P,) float32 predicted IoU.
    """

    scores: np.ndarray

    def __len__(self) -> int:
        """Number of prompts P."""
        return len(self.scores)

    @abstractmethod
    def logits(self, row: int, size: Size | None = None, *, direct: bool = False) -> np.ndarray:
        """The mask of one prompt.

        Args:
            row: The prompt.
            size: Height and width of the result; those of the picture when omitted.
            direct: Whether a map is resized in one step, which is right for a picture without padding alone.

        Returns:
            (H, W) float32, object where > 0.
        """

    def found(self, row: int, size: Size) -> tuple[tuple[slice, slice], np.ndarray]:
        """The mask of one prompt, cut out.

        Returns:
            Rows and columns of the picture outside of which the mask is empty, and the mask there, bool.
        """
        return (slice(0, size[0]), slice(0, size[1])), self.logits(row, size) > 0

    def edges(self, row: int, size: Size | None = None) -> np.ndarray | None:
        """Edge probability (H, W) float32 of one prompt; None where the model predicts none."""
        return None

    def alpha(self, row: int, size: Size | None = None) -> np.ndarray | None:
        """How much of each pixel is object, (H, W) float32 in [0, 1]; None where the model does not say."""
        return None

    def candidate_scores(self, row: int) -> np.ndarray:
        """Predicted IoU (M,) of the masks of one prompt, in the model's own order; of its one answer where
        ``decode`` was not asked for candidates.
        """
        return self.scores[row : row + 1]

    def candidate(self, row: int, number: int, size: Size | None = None) -> np.ndarray:
        """Logits (H, W) of one of the masks of one prompt, by its place in :meth:`candidate_scores`."""
        return self.logits(row, size)

    def candidates(self, row: int, size: Size | None = None) -> Candidates:
        """The masks of one prompt, best first."""
        scores = self.candidate_scores(row)
        order = np.argsort(-scores, kind="stable")
        return Candidates(np.stack([self.candidate(row, int(k), size) > 0 for k in order]), scores[order])


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
        candidates: For each prompt the masks to choose from, where they were asked for.
        classes: P names of classes that came with the prompts, "" where there is none, or None.
    """

    masks: np.ndarray
    logits: np.ndarray
    scores: np.ndarray
    edges: np.ndarray | None
    boxes: np.ndarray
    alpha: np.ndarray | None = None
    candidates: tuple[Candidates, ...] | None = None
    classes: tuple[str, ...] | None = None

    def __len__(self) -> int:
        """Number of objects P."""
        return len(self.scores)

    @property
    def size(self) -> Size:
        """Height and width of the picture."""
        height, width = self.masks.shape[1:]
        return height, width

    @property
    def pieces(self) -> Sequence[Piece]:
        """The masks as what they cover, cut as tight as can be."""
        return [cut_out(mask) for mask in self.masks]
