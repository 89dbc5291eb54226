"""What several views say together, how sure they are, and which pictures to keep (WS-SAM).

A fused map M (H, W) is in [0, 1]: the share of views that see the object at a pixel, or their mean probability.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from vns_sam.errors import UsageError

Fuse = Literal["vote", "prob"]
Denominator = Literal["object", "all"]

HIGH = 0.9
"""A pixel is uncertain where its entropy is above this."""

_TINY = 1e-10


@dataclass(frozen=True)
class Uncertainty:
    """How uncertain a fused map is.

    Attributes:
        absolute: Share of uncertain pixels in the picture, U_a.
        relative: Uncertain pixels for each certain object pixel, U_r; infinite where there is none.
        relative_to_all: Uncertain pixels for each certain pixel, the denominator that SEE's release has.
    """

    absolute: float
    relative: float
    relative_to_all: float


@dataclass(frozen=True)
class Selection:
    """Which pictures are kept.

    Attributes:
        absolute: U_a must be below this.
        relative: U_r must be below this; an infinite limit judges nothing.
        denominator: "object" counts certain object pixels, "all" every certain pixel. With "all", U_a below 0.1 means
            U_r below 0.112, so a limit of 0.5 never acts; "object" is the reading in which small objects are judged.
        views: At least this share of the views must have passed the gates.

    Raises:
        UsageError: A limit is out of range.
    """

    absolute: float = 0.1
    relative: float = 0.5
    denominator: Denominator = "object"
    views: float = 0.5

    def __post_init__(self) -> None:
        for name, value, most in (("absolute", self.absolute, 1.0), ("views", self.views, 1.0)):
            if not 0 <= value <= most:
                raise UsageError(f"expected a limit '{name}' from 0 to {most:g}, found {value:g}")
        if not self.relative >= 0:
            raise UsageError(f"expected a limit 'relative' of 0 or more, found {self.relative:g}")

    def keeps(self, uncertainty: Uncertainty, views: float = 1.0) -> bool:
        """Whether a picture is kept.

        Args:
            uncertainty: Of its fused map.
            views: Share of its views that passed the gates.
        """
        relative = uncertainty.relative if self.denominator == "object" else uncertainty.relative_to_all
        small_enough = relative < self.relative or self.relative == float("inf")
        return uncertainty.absolute < self.absolute and small_enough and views >= self.views


def fuse(logits: Sequence[np.ndarray], how: Fuse = "vote") -> np.ndarray:
    """Joins the answers of K views.

    Args:
        logits: K maps (H, W), object where > 0.
        how: "vote" gives j / K, "prob" the mean probability.

    Returns:
        (H, W) float32 in [0, 1].
    """
    total = np.zeros(logits[0].shape, np.float64)
    for one in logits:
        total += (one > 0) if how == "vote" else 1 / (1 + np.exp(-one.astype(np.float64).clip(-60, 60)))
    return (total / len(logits)).astype(np.float32)


def entropy(fused: np.ndarray) -> np.ndarray:
    """E = -M log2 M - (1 - M) log2 (1 - M) of each pixel, float32 in [0, 1]."""
    share = np.asarray(fused, np.float64)
    bits = -share * np.log2(share + _TINY) - (1 - share) * np.log2(1 - share + _TINY)
    return bits.clip(0, 1).astype(np.float32)


def pixel_weights(fused: np.ndarray) -> np.ndarray:
    """W = 1 - E of each pixel, float32 in [0, 1]: 1 where all views agree, 0 where they are split in halves."""
    return 1 - entropy(fused)


def measure(fused: np.ndarray, high: float = HIGH) -> Uncertainty:
    """Measures a fused map (H, W); an entropy above ``high`` is uncertain."""
    uncertain = entropy(fused) > high
    count = int(uncertain.sum())
    certain = uncertain.size - count
    objects = int((~uncertain & (np.asarray(fused) >= 0.5)).sum())
    return Uncertainty(count / uncertain.size, _ratio(count, objects), _ratio(count, certain))


def _ratio(count: int, base: int) -> float:
    return count / base if base else float("inf")
