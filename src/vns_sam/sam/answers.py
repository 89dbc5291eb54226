"""From a decoder's maps to masks at full size: the one way, whoever asks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from vns_sam.images.enlarge import enlarge_found
from vns_sam.images.geometry import maps_to_original, resize_maps
from vns_sam.types import Answers, Geometry, Size
from vns_sam.types.features import crop_map, largest_input

if TYPE_CHECKING:
    from vns_sam.types.features import Map


def probability(logits: Map) -> Map:
    """How probable logits of any shape say that something is, in [0, 1]."""
    return 1 / (1 + np.exp(-logits)) if isinstance(logits, np.ndarray) else logits.sigmoid()


@dataclass(frozen=True)
class MapAnswers(Answers):
    """Answers as maps over the model's padded input, tensors or numpy arrays, until they are asked for.

    Attributes:
        mask_logits: (P, 1, h, h'), object where > 0; it and the other maps may be joined, see
            :func:`vns_sam.types.features.join_maps`.
        scores: (P,) float32 predicted IoU.
        geometry: How the picture of each row was fitted into the input.
        edge_logits: (P, 1, h, h') or None.
        candidate_logits: (P, M, h, h'), the masks to choose from, or None.
        candidate_iou: (P, M) float32, their predicted IoU, or None.
    """

    mask_logits: Map
    scores: np.ndarray
    geometry: tuple[Geometry, ...]
    edge_logits: Map | None = None
    candidate_logits: Map | None = None
    candidate_iou: np.ndarray | None = None

    def logits(self, row: int, size: Size | None = None, *, direct: bool = False) -> np.ndarray:
        """See :meth:`vns_sam.types.Answers.logits`."""
        one = self._row(self.mask_logits, row)
        if direct:
            geometry = self.geometry[row]
            return _numpy(resize_maps(one, size or (geometry.height, geometry.width))[0, 0])
        return _numpy(maps_to_original(one, self.geometry[row], size)[0])

    def found(self, row: int, size: Size) -> tuple[tuple[slice, slice], np.ndarray]:
        """See :meth:`vns_sam.types.Answers.found`."""
        part, logits = enlarge_found(_numpy(self._row(self.mask_logits, row))[0, 0], self.geometry[row], size)
        return part, logits > 0

    def edges(self, row: int, size: Size | None = None) -> np.ndarray | None:
        """See :meth:`vns_sam.types.Answers.edges`."""
        if self.edge_logits is None:
            return None
        logits = maps_to_original(self._row(self.edge_logits, row), self.geometry[row], size)[0]
        return _numpy(probability(logits))

    def candidate_scores(self, row: int) -> np.ndarray:
        """See :meth:`vns_sam.types.Answers.candidate_scores`."""
        return super().candidate_scores(row) if self.candidate_iou is None else self.candidate_iou[row]

    def candidate(self, row: int, number: int, size: Size | None = None) -> np.ndarray:
        """See :meth:`vns_sam.types.Answers.candidate`."""
        if self.candidate_logits is None:
            return super().candidate(row, number, size)
        one = self._row(self.candidate_logits, row)[:, number : number + 1]
        return _numpy(maps_to_original(one, self.geometry[row], size)[0])

    def _row(self, maps: Map, row: int) -> Map:
        """The maps of one row over its own input, (1, C, h, h') float32."""
        one = crop_map(maps[row : row + 1], self._stored, self.geometry[row].input)
        return one.astype(np.float32) if isinstance(one, np.ndarray) else one.float()

    @cached_property
    def _stored(self) -> Size:
        return largest_input(self.geometry)


@dataclass(frozen=True)
class ChosenAnswers(Answers):
    """One of the candidates of each prompt in place of the model's own answer.

    Attributes:
        answers: The model's, with candidates.
        numbers: (P,) which candidate is taken, by its place in the model's order; -1 is the model's own answer.
        scores: (P,) float32 predicted IoU of what is taken.
    """

    answers: Answers
    numbers: tuple[int, ...]
    scores: np.ndarray

    def logits(self, row: int, size: Size | None = None, *, direct: bool = False) -> np.ndarray:
        """See :meth:`vns_sam.types.Answers.logits`."""
        number = self.numbers[row]
        return self.answers.logits(row, size) if number < 0 else self.answers.candidate(row, number, size)


def _numpy(values: Map) -> np.ndarray:
    return values if isinstance(values, np.ndarray) else values.cpu().numpy()
