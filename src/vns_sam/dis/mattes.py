"""From IS-Net's answer in its square to an alpha map and a mask at the picture's size, and to answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np

from vns_sam.images.geometry import resize_maps
from vns_sam.types import Answers, Size

if TYPE_CHECKING:
    from vns_sam.types.features import Map

Cut = Literal["half", "otsu"]


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
class MatteAnswers(Answers):
    """Refined answers, at the size of their pictures.

    Attributes:
        mattes: One for each row.
        scores: (P,) float32, the first stage's.
        coarse: The first stage's answers, where all of their candidates are to choose from.
        refine: Refines candidate ``number`` of row ``row`` when it is asked for.
    """

    mattes: tuple[Matte, ...]
    scores: np.ndarray
    coarse: Answers | None = None
    refine: Callable[[int, int], Matte] | None = None

    def logits(self, row: int, size: Size | None = None, *, direct: bool = False) -> np.ndarray:
        """See :meth:`vns_sam.types.Answers.logits`."""
        return _resized(self.mattes[row].logits, size)

    def alpha(self, row: int, size: Size | None = None) -> np.ndarray:
        """See :meth:`vns_sam.types.Answers.alpha`."""
        return _resized(self.mattes[row].alpha, size)

    def candidate_scores(self, row: int) -> np.ndarray:
        """See :meth:`vns_sam.types.Answers.candidate_scores`."""
        return super().candidate_scores(row) if self.coarse is None else self.coarse.candidate_scores(row)

    def candidate(self, row: int, number: int, size: Size | None = None) -> np.ndarray:
        """See :meth:`vns_sam.types.Answers.candidate`."""
        if self.refine is None:
            return super().candidate(row, number, size)
        return _resized(self.refine(row, number).logits, size)


def _resized(values: np.ndarray, size: Size | None) -> np.ndarray:
    """Values (H, W) at another size, bilinear."""
    if size is None or values.shape == size:
        return values
    return to_picture(values[None, None], *size)


def to_picture(probability: Map, height: int, width: int) -> np.ndarray:
    """Brings probabilities (1, 1, s, s) of a square to (H, W) float32 numpy, bilinear."""
    wide = probability if isinstance(probability, np.ndarray) else probability.float()
    enlarged = resize_maps(wide, (height, width))[0, 0]
    return enlarged if isinstance(enlarged, np.ndarray) else enlarged.cpu().numpy()


def stretch(alpha: np.ndarray) -> np.ndarray:
    """Stretches (H, W) in place so that the least value is 0 and the greatest 1, as the release does before it scores.

    A constant map stays as it is; the release divides by zero there.
    """
    low, high = float(alpha.min()), float(alpha.max())
    if high > low:
        alpha -= low
        alpha /= high - low
    return alpha


def to_bytes(alpha: np.ndarray) -> np.ndarray:
    """Alpha (H, W) in [0, 1] as the grey values (H, W) uint8 that the metrics read; truncated, as the release does."""
    return (alpha * 255).astype(np.uint8)


def threshold(alpha: np.ndarray, cut: Cut) -> float:
    """The alpha above which a pixel is object: 0.5, or Otsu's between the two groups of grey values."""
    if cut == "half":
        return 0.5
    level, _ = cv2.threshold(to_bytes(alpha), 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    return (float(level) + 1) / 255 - 1e-6
