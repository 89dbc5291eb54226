"""What :class:`vns_sam.inference.predictor.Predictor` found: a prediction that knows its picture.

Formats are imported where they are asked for: most predictions are used as arrays, and the first is waited for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from typing_extensions import override

from vns_sam.errors import UsageError
from vns_sam.types import Candidates, Pieces, Prediction, Size, piece_boxes

if TYPE_CHECKING:
    from vns_sam.formats.polygons import Ring


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
        from vns_sam.formats.registry import save

        return save(self, path, kind, name=self.name, pixels=self.image, simplify=simplify)

    def to_coco(self, categories: Mapping[int, str] | None = None) -> dict[str, Any]:
        """COCO instances with compressed run lengths, ready for ``json.dump``."""
        from vns_sam.formats import coco
        from vns_sam.formats.result import Result

        return coco.to_dict(Result(self.name, self, categories or {}))

    def polygons(self, simplify: float = 0.0) -> list[list[list[Ring]]]:
        """For each object its parts, each an outer ring (N, 2) XY and its holes, along pixel edges.

        Args:
            simplify: Rings may leave the pixel edges by so many pixels.
        """
        from vns_sam.formats.result import Result

        return list(Result(self.name, self, simplify=simplify).parts)

    def _repr_png_(self) -> bytes | None:
        """The picture with the masks, as notebooks show it."""
        from vns_sam.images.overlay import draw_overlay
        from vns_sam.images.write import encode_image

        return None if self.image is None else encode_image(draw_overlay(self.image, self.pieces), photo=True)


Maps = tuple[np.ndarray, np.ndarray | None]
"""Logits (P, H, W) and edges, as a prediction has them."""


class LargePrediction(Found):
    """A prediction that holds of each mask what is object, a bit for a pixel; its masks, logits and edges as arrays
    are made when they are first asked for.

    Args:
        pieces: The masks.
        size: Height and width of the picture.
        scores: (P,) float32 predicted IoU.
        maps: Makes the logits and edges of the prediction that it is given.
        candidates: For each prompt the masks to choose from.
    """

    def __init__(
        self,
        pieces: Pieces,
        size: Size,
        scores: np.ndarray,
        maps: Callable[[Found], Maps],
        candidates: tuple[Candidates, ...] | None = None,
    ) -> None:
        self._pieces, self._size, self.scores, self._maps = pieces, size, scores, maps
        self.candidates = candidates
        self.boxes = piece_boxes(pieces)

    @override
    def __repr__(self) -> str:
        """Number, size and scores: what is at hand, without a map being made."""
        height, width = self.size
        return f"{type(self).__name__}({len(self)} masks of {width} x {height} pixels, scores={self.scores})"

    @property
    @override
    def size(self) -> Size:
        return self._size

    @property
    @override
    def pieces(self) -> Pieces:
        return self._pieces

    def __getattr__(self, name: str) -> Any:
        if name == "masks":
            self.masks = np.zeros((len(self), *self.size), bool)
            for mask, piece in zip(self.masks, self.pieces, strict=True):
                mask[piece.index] = piece.mask
        elif name in ("logits", "edges"):
            self.logits, self.edges = self._maps(self)
        else:
            raise AttributeError(name)
        return getattr(self, name)


class MapsAtHand:
    """Makes logits and edges from what is in this process alone. It is pickled without that, and then refuses.

    Args:
        make: Makes them.
    """

    def __init__(self, make: Callable[[], Maps]) -> None:
        self._make = make

    def __call__(self, found: Found) -> Maps:
        """What a prediction asks for."""
        return self._make()

    def __reduce__(self) -> tuple[Any, ...]:
        return MapsAtHand, (_left_behind,)

    def __deepcopy__(self, _: object) -> MapsAtHand:
        return self


def _left_behind() -> Maps:
    raise UsageError(
        "logits and edges of large pictures are made from the model's features, which are not pickled",
        hint="ask for .logits before, or for masks, pieces and scores",
    )
