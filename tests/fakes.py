"""A promptable model without weights: it marks the box, the first click's surroundings, or the coarse mask."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from vns_sam.images.geometry import fit
from vns_sam.sam.answers import MapAnswers
from vns_sam.sam.preprocessing import Preprocessing
from vns_sam.sam.prompt_rows import row_geometry
from vns_sam.sam.promptable import batch_prompts
from vns_sam.types import ImageFeatures, ModelInfo, Prompts

SIDE = 64


class FakeModel:
    """Answers a box with the box, clicks with a square around the first one, a mask with itself."""

    def __init__(self, *, edges: bool = False) -> None:
        self.edges = edges
        self.encoded: list[tuple[int, ...]] = []

    @property
    def info(self) -> ModelInfo:
        """It says nothing of its input's side, so that nothing is looked at again by default."""
        return ModelInfo("fake", f"fake-{self.edges}", edges=self.edges)

    def encode(self, images: Sequence[np.ndarray]) -> ImageFeatures:
        """Remembers the shapes."""
        self.encoded += [image.shape for image in images]
        geometry = tuple(fit(*image.shape[:2], SIDE) for image in images)
        return ImageFeatures(torch.zeros(len(images), 1, 4, 4), (), geometry, owner=self.info)

    def decode(
        self, features: ImageFeatures, prompts: Sequence[Prompts], image_index: Sequence[int], **_: bool
    ) -> MapAnswers:
        """Full-resolution logits, +5 inside and -5 outside."""
        maps: dict[int, torch.Tensor] = {}
        for rows, batch in batch_prompts(prompts, image_index, features.geometry, Preprocessing(SIDE, stride=4)):
            for k, row in enumerate(rows):
                maps[row] = torch.full((SIDE, SIDE), -5.0)
                if batch.boxes is not None:
                    x0, y0, x1, y1 = batch.boxes[k].round().int().tolist()
                    maps[row][y0:y1, x0:x1] = 5
                elif batch.points is not None:
                    x, y = batch.points[k, 0].int().tolist()
                    maps[row][max(0, y - 4) : y + 5, max(0, x - 4) : x + 5] = 5
                elif batch.masks is not None:
                    maps[row][batch.masks[k, 0] > 0.5] = 5
        logits = torch.stack([maps[row] for row in sorted(maps)])[:, None]
        scores = np.linspace(0.9, 0.8, len(logits), dtype=np.float32)
        geometry = row_geometry(features, prompts, image_index)
        return MapAnswers(logits, scores, geometry, logits.clone() if self.edges else None)
