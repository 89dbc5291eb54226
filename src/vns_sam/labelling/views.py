"""Twelve ways to look at one picture, and the exact way back from each (WS-SAM, multi-augmentation fusion).

A view scales the picture, turns it by quarters and may mirror it. Turning and mirroring move pixels and change none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from vns_sam.types import Prompts

Preset = Literal["none", "flip", "d4", "ws12", "full24"]

MAX_SIDE = 4096
"""Views that would make a picture longer than this are left out; the model scales it down again anyway."""

_SCALES = (1.0, 0.5, 2.0)


@dataclass(frozen=True)
class View:
    """One way to look: scaled, then mirrored, then turned.

    Attributes:
        turns: Quarter turns counter-clockwise, 0 to 3.
        flip: Whether left and right are exchanged before the turn.
        scale: Factor of both sides.
    """

    turns: int = 0
    flip: bool = False
    scale: float = 1.0

    def __str__(self) -> str:
        return f"{'mirrored ' if self.flip else ''}{90 * self.turns} deg x{self.scale:g}"

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of a picture in this view."""
        scaled = max(1, round(height * self.scale)), max(1, round(width * self.scale))
        return scaled if self.turns % 2 == 0 else scaled[::-1]

    def image(self, image: np.ndarray) -> np.ndarray:
        """The picture (H, W, 3) uint8 in this view, smoothed where it is scaled."""
        height, width = replace(self, turns=0).size(*image.shape[:2])
        if (height, width) != image.shape[:2]:
            image = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
        return np.ascontiguousarray(self.turn(image))

    def turn(self, values: np.ndarray) -> np.ndarray:
        """Mirrors and turns (H, W, ...) without scaling."""
        return np.rot90(values[:, ::-1] if self.flip else values, self.turns)

    def turn_back(self, values: np.ndarray) -> np.ndarray:
        """Inverse of :meth:`turn`, bit by bit."""
        back = np.rot90(values, -self.turns)
        return back[:, ::-1] if self.flip else back

    def prompts(self, prompts: Prompts, height: int, width: int) -> Prompts:
        """Prompts of the picture of H x W pixels in this view: points stay on their pixel, boxes on their edges."""
        points, boxes = prompts.points, prompts.boxes
        if points is not None:
            moved = self._move((points + 0.5) * self.scale, height, width) - 0.5
            limit = np.array(self.size(height, width)[::-1]) - 1
            points = moved.clip(0, limit).astype(np.float32)
        if boxes is not None:
            corners = self._move(boxes.reshape(-1, 2, 2) * self.scale, height, width)
            boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1).astype(np.float32)
        return Prompts(boxes=boxes, points=points, labels=prompts.labels)

    def turned_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of a picture that is turned as in this view, but not scaled."""
        return replace(self, scale=1.0).size(height, width)

    def full_size_back(self, values: np.ndarray, height: int, width: int) -> np.ndarray:
        """Brings values (H', W') of this view, at its own size, to the picture (H, W): bilinear, then turned back."""
        turned = self.turned_size(height, width)
        if values.shape != turned:
            fitted = torch.from_numpy(np.ascontiguousarray(values))[None, None]
            values = F.interpolate(fitted, turned, mode="bilinear", align_corners=False)[0, 0].numpy()
        return self.turn_back(values).copy()

    def _move(self, places: np.ndarray, height: int, width: int) -> np.ndarray:
        """Mirrors and turns continuous places (..., 2) XY of the scaled picture; its corner is 0 0."""
        x, y = places[..., 0], places[..., 1]
        across, down = (float(side) for side in replace(self, turns=0).size(height, width)[::-1])
        if self.flip:
            x = across - x
        for _ in range(self.turns):
            x, y = y, across - x
            across, down = down, across
        return np.stack([x, y], axis=-1)


def views(preset: Preset) -> tuple[View, ...]:
    """The views of a preset, all different, the picture as it is first.

    ``none`` 1; ``flip`` 2; ``d4`` 8, all turns with and without mirror; ``ws12`` 12, the paper's number: four turns at
    scales 1, 0.5 and 2, every other one mirrored; ``full24`` all turns and mirrors at all scales.
    """
    if preset == "none":
        return (View(),)
    if preset == "flip":
        return (View(), View(flip=True))
    if preset == "d4":
        return tuple(View(turns, flip) for flip in (False, True) for turns in range(4))
    if preset == "ws12":
        return tuple(View(r, (r + s) % 2 == 1, scale) for s, scale in enumerate(_SCALES) for r in range(4))
    return tuple(View(turns, flip, scale) for scale in _SCALES for flip in (False, True) for turns in range(4))


def usable(some: Sequence[View], height: int, width: int, limit: int = MAX_SIDE) -> tuple[View, ...]:
    """The views that do not enlarge a picture of H x W pixels beyond ``limit``; those that do not enlarge stay."""
    return tuple(view for view in some if view.scale <= 1 or max(view.size(height, width)) <= limit)
