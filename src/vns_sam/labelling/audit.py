"""How good pseudo-labels are: what is kept, how uncertain the maps are and, with true masks, whether that tells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from vns_sam.data.pairs import is_set, read_mask, set_folders
from vns_sam.errors import DataError
from vns_sam.images.read import EXTENSIONS
from vns_sam.labelling.fusion import Selection
from vns_sam.labelling.records import Record
from vns_sam.labelling.store import LabelStore
from vns_sam.metrics.iou import iou

Order = Literal["absolute", "relative", "relative to all", "model's score"]
ORDERS: tuple[Order, ...] = ("absolute", "relative", "relative to all", "model's score")
"""What pictures can be ordered by, the surest first."""


@dataclass(frozen=True)
class Audited:
    """One picture of an audit.

    Attributes:
        record: Its line in the store.
        kept: Whether the selection keeps it.
        iou: Of its map at 0.5 with the true mask; None without one.
    """

    record: Record
    kept: bool
    iou: float | None = None


@dataclass(frozen=True)
class Audit:
    """What an audit found.

    Attributes:
        rows: One for each picture in the store.
        problems: Maps or true masks that could not be used, one line each.
    """

    rows: tuple[Audited, ...]
    problems: tuple[str, ...] = ()

    @property
    def kept(self) -> tuple[Audited, ...]:
        """The pictures that are kept."""
        return tuple(row for row in self.rows if row.kept)

    @property
    def kept_ratio(self) -> float:
        """Share of the pictures that are kept; 0 for an empty store."""
        return len(self.kept) / len(self.rows) if self.rows else 0.0

    @property
    def scored(self) -> tuple[Audited, ...]:
        """The pictures with a true mask."""
        return tuple(row for row in self.rows if row.iou is not None)


def audit(store: LabelStore, selection: Selection, truth: Path | None = None) -> Audit:
    """Looks at a store; no model is needed.

    Args:
        store: The pseudo-labels.
        selection: Which pictures are kept.
        truth: A set, or a folder of masks with the stems of the pictures.

    Raises:
        DataError: There is no mask at ``truth`` at all.
    """
    masks = None if truth is None else _masks_by_stem(truth)
    rows, problems = [], []
    for record in store.records.values():
        score = None
        if masks is not None:
            try:
                score = _score(store, record, masks)
            except DataError as error:
                problems.append(error.message)
        rows.append(Audited(record, record.is_kept(selection), score))
    return Audit(tuple(rows), tuple(problems))


def mean_iou(rows: Sequence[Audited]) -> float | None:
    """Mean IoU of the rows that have one; None where there is none."""
    scores = [row.iou for row in rows if row.iou is not None]
    return float(np.mean(scores)) if scores else None


def risk_coverage(rows: Sequence[Audited], order: Order) -> list[tuple[float, float]]:
    """Risk, 1 - mean IoU, of the surest pictures for each share of pictures covered.

    Pictures that are equally sure are taken together, at the mean of their risks.

    Returns:
        (coverage, risk), one for each picture with a true mask.
    """
    scored = [row for row in rows if row.iou is not None]
    doubt = np.array([_doubt(row.record, order) for row in scored])
    risk = np.array([1 - (row.iou or 0.0) for row in scored])
    for value in np.unique(doubt):
        same = doubt == value
        risk[same] = risk[same].mean()
    sums = np.cumsum(risk[np.argsort(doubt, kind="stable")])
    return [((k + 1) / len(sums), float(total / (k + 1))) for k, total in enumerate(sums)]


def area_under(points: Sequence[tuple[float, float]]) -> float:
    """Area under a risk-coverage curve: its mean risk, 0 best."""
    return float(np.mean([risk for _, risk in points]))


def _doubt(record: Record, order: Order) -> float:
    if order == "absolute":
        return record.uncertainty.absolute
    if order == "relative":
        return record.uncertainty.relative
    return record.uncertainty.relative_to_all if order == "relative to all" else -record.score


def _masks_by_stem(truth: Path) -> dict[str, Path]:
    folder = set_folders(truth)[1] if is_set(truth) else truth
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    masks = {path.stem: path for path in files if path.suffix.lower() in EXTENSIONS}
    if not masks:
        raise DataError(f"expected true masks at {truth}, found none", hint="a set, or a folder of masks")
    return masks


def _score(store: LabelStore, record: Record, masks: Mapping[str, Path]) -> float:
    path = masks.get(Path(record.image).stem)
    if path is None:
        raise DataError(f"{record.image}: expected a true mask, found none")
    truth, found = read_mask(path), store.fused(record) >= 0.5
    if truth.shape != found.shape:
        sizes = [f"{shape[1]} x {shape[0]}" for shape in (found.shape, truth.shape)]
        raise DataError(f"expected a mask of {sizes[0]} pixels at {path}, found {sizes[1]}")
    return iou(found, truth)
