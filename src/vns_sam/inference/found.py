"""What :class:`vns_sam.inference.predictor.Predictor` found: a prediction that knows its picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vns_sam.formats import coco
from vns_sam.formats.png import encode_image
from vns_sam.formats.polygons import Ring
from vns_sam.formats.registry import save
from vns_sam.formats.result import Result
from vns_sam.images.overlay import draw_overlay
from vns_sam.types import Prediction


class Found(Prediction):
    """Masks of one picture, with the picture. A notebook shows it as an overlay.

    Attributes:
        image: (H, W, 3) uint8 RGB, or None.
        name: Of the picture, as formats name it.
    """

    image: np.ndarray | None = None
    name: str = ""

    def save(self, path: str | Path, kind: str | None = None, *, simplify: float = 0.0) -> list[Path]:
        """Writes the masks, see :func:`vns_sam.formats.registry.save`.

        Args:
            path: The file.
            kind: The format; by the file's suffix when None.
            simplify: Outlines may leave the pixel edges by so many pixels.

        Returns:
            The files that were written.

        Raises:
            UsageError: The format is not known.
            DataError: The place cannot be written.
        """
        return save(self, path, kind, name=self.name, pixels=self.image, simplify=simplify)

    def to_coco(self, categories: Mapping[int, str] | None = None) -> dict[str, Any]:
        """COCO instances with compressed run lengths, ready for ``json.dump``."""
        return coco.to_dict(Result(self.name, self, categories or {}))

    def polygons(self, simplify: float = 0.0) -> list[list[list[Ring]]]:
        """For each object its parts, each an outer ring (N, 2) XY and its holes, along pixel edges.

        Args:
            simplify: Rings may leave the pixel edges by so many pixels.
        """
        return list(Result(self.name, self, simplify=simplify).parts)

    def _repr_png_(self) -> bytes | None:
        """The picture with the masks, as notebooks show it."""
        return None if self.image is None else encode_image(draw_overlay(self.image, self.masks))
