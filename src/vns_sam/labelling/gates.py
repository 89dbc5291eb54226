"""Which views to believe: an answer must agree with what the annotator said and have a possible size."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from vns_sam.data.sparse import SparseLabel, inside_boxes
from vns_sam.errors import UsageError
from vns_sam.images.windows import extent
from vns_sam.prompts.codes import BACKGROUND, OBJECT


@dataclass(frozen=True)
class Agreement:
    """How one answer agrees with the label.

    Attributes:
        recall: Share of marked object pixels that are found; 1 where none is marked.
        violation: Share of marked background pixels that are taken for object; 0 where none is marked.
        area: Share of the picture that is found.
        gap: The largest distance between a side of a box and the answer in it, in parts of the box; 0 without boxes.
        span: Share of the picture that the marks on the object span: the box around them, or the boxes.
        beside: Share of the picture that is marked as background.
    """

    recall: float
    violation: float
    area: float
    gap: float
    span: float = 0.0
    beside: float = 0.0


STROKED = 0.002
"""Where so much of what an answer leaves out is marked as background, by a stroke or outside of boxes, one that is not
the object is told by what it takes of that, however large it may be."""
LEFT_OUT = 0.1
"""What an answer leaves out counts as at least this share of the picture: a hole around each click is no background."""
HALF, ROOM = 0.5, 1.5
"""Elsewhere an answer may cover half of the picture, or this much more than what the marks span."""


@dataclass(frozen=True)
class Gates:
    """Limits that a view's answer must keep; one that does not is left out of the fusion.

    Attributes:
        recall: At least this share of the marked object.
        violation: At most this share of the marked background.
        area_min: At least this share of the picture.
        area_max: At most this share of the picture. None goes by the marks: where strokes mark the background, or boxes
            leave it out, there is no limit; elsewhere half of the picture, or 1.5 times what the marks on the object
            span.
        gap: The answer must come this near to all four sides of each box.

    Raises:
        UsageError: A limit is outside [0, 1].
    """

    recall: float = 0.8
    violation: float = 0.1
    area_min: float = 0.001
    area_max: float | None = None
    gap: float = 0.1

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is not None and not 0 <= value <= 1:
                raise UsageError(f"expected the gate '{name}' from 0 to 1, found {value:g}")

    def passes(self, found: Agreement) -> bool:
        """Whether an answer is believed; a value on a limit passes."""
        return not self.refusal(found)

    def largest(self, found: Agreement) -> float:
        """The largest share of the picture that this answer may cover, by the marks."""
        if self.area_max is not None:
            return self.area_max
        if found.beside >= STROKED * max(LEFT_OUT, 1 - found.area):
            return 1.0
        return max(HALF, min(1.0, ROOM * found.span))

    def refusal(self, found: Agreement) -> str:
        """Why an answer is not believed, in a few words; "" if it is."""
        largest = self.largest(found)
        if found.recall < self.recall:
            return f"finds {found.recall:.0%} of the marked object, not {self.recall:.0%}"
        if found.violation > self.violation:
            return f"takes {found.violation:.0%} of the marked background for object, more than {self.violation:.0%}"
        if found.area < self.area_min:
            return f"covers {found.area:.2%} of the picture, less than {self.area_min:.2%}"
        if found.area > largest:
            return f"covers {found.area:.0%} of the picture, more than {largest:.0%}"
        if found.gap > self.gap:
            return f"stays {found.gap:.0%} away from a side of a box, more than {self.gap:.0%}"
        return ""


def marked_parts(mask: np.ndarray, label: SparseLabel) -> np.ndarray:
    """The 8-connected parts of an answer (H, W) bool that the label asks for: those that hold a mark on the object, and
    those in a box that holds no such mark, an object that the box alone tells of. All where nothing is marked.
    """
    marked = label.codes == OBJECT
    if not marked.any():
        return mask
    asked = marked.copy()
    for box in label.boxes:
        inside = inside_boxes(box[None], mask.shape)
        if not (marked & inside).any():
            asked |= inside
    parts = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[1]
    kept: np.ndarray = mask & np.isin(parts, np.unique(parts[asked & mask]))
    return kept


def agreement(mask: np.ndarray, label: SparseLabel) -> Agreement:
    """Compares an answer (H, W) bool with the label of its picture."""
    marked, outside = label.codes == OBJECT, label.codes == BACKGROUND
    return Agreement(
        recall=float(mask[marked].mean()) if marked.any() else 1.0,
        violation=float(mask[outside].mean()) if outside.any() else 0.0,
        area=float(mask.mean()),
        gap=max((_gap(mask, box) for box in label.boxes), default=0.0),
        span=_span(label),
        beside=float(outside.mean()),
    )


def _span(label: SparseLabel) -> float:
    """Share of the picture that the marks on the object span."""
    box = extent(label.codes == OBJECT)
    marked = 0.0 if box is None else float((box[2] - box[0]) * (box[3] - box[1])) / label.codes.size
    boxed = float(inside_boxes(label.boxes, label.codes.shape).mean()) if len(label.boxes) else 0.0
    return max(marked, boxed)


def _gap(mask: np.ndarray, box: np.ndarray) -> float:
    """How far the part of a mask in a box (4,) XYXY stays away from the box's sides; 1 where there is no such part."""
    part = mask & inside_boxes(box[None], mask.shape)
    if not part.any():
        return 1.0
    xs, ys = np.flatnonzero(part.any(axis=0)), np.flatnonzero(part.any(axis=1))
    x0, y0, x1, y1 = (float(side) for side in box)
    gaps = ((xs[0] - x0) / (x1 - x0), (x1 - xs[-1] - 1) / (x1 - x0), (ys[0] - y0) / (y1 - y0))
    return float(max(0.0, *gaps, (y1 - ys[-1] - 1) / (y1 - y0)))
