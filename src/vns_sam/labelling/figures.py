"""Pictures of an audit: how uncertain the maps are, what risk that leaves, and some of the maps themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vns_sam.errors import DataError
from vns_sam.images.charts import curve, histogram
from vns_sam.images.overlay import draw_overlay
from vns_sam.images.read import read_image
from vns_sam.images.tiles import Tile, grid
from vns_sam.images.write import write_image
from vns_sam.labelling.audit import ORDERS, Audit, Audited, risk_coverage
from vns_sam.labelling.fusion import Selection, pixel_weights
from vns_sam.labelling.store import LabelStore
from vns_sam.types import Prompts, cut_out

SHOWN = 8
"""Pictures on the sheet."""

_RELATIVE_END = 2.0
"""The histogram of relative uncertainty ends here; its last bin holds what is above."""


def write_figures(found: Audit, store: LabelStore, selection: Selection, find: Callable[[str], Path]) -> list[Path]:
    """Draws an audit into the folder ``audit`` of the store.

    Args:
        found: The audit, of one picture at least.
        store: Its store.
        selection: Its selection.
        find: Gives the picture of a name.

    Returns:
        The files: two histograms, a sheet of maps and, where there are true masks, the risk-coverage curve.

    Raises:
        DataError: The place cannot be written.
    """
    folder = store.root / "audit"
    charts = {"uncertainty_absolute.png": _absolute(found, selection)}
    charts["uncertainty_relative.png"] = _relative(found, selection)
    if found.scored:
        series = {f"by {order}": _thinned(risk_coverage(found.rows, order)) for order in ORDERS}
        charts["risk_coverage.png"] = curve(series, x="pictures covered", y="risk, 1 - IoU")
    if tiles := [_tiles(row, store, find) for row in chosen(found.rows)]:
        charts["maps.png"] = grid([row for row in tiles if row])
    for name, chart in charts.items():
        write_image(folder / name, chart)
    return [folder / name for name in charts]


def chosen(rows: Sequence[Audited], count: int = SHOWN) -> list[Audited]:
    """Evenly chosen rows from the surest to the least sure picture."""
    ordered = sorted(rows, key=lambda row: (row.record.absolute, row.record.image))
    places = np.linspace(0, len(ordered) - 1, min(count, len(ordered))).round().astype(int)
    return [ordered[place] for place in places]


def _absolute(found: Audit, selection: Selection) -> np.ndarray:
    values = [row.record.absolute for row in found.rows]
    end = max(*values, 2 * selection.absolute, 0.01)
    bins = np.linspace(0, end, 41).tolist()
    return histogram(values, bins=bins, x="absolute uncertainty", threshold=selection.absolute)


def _relative(found: Audit, selection: Selection) -> np.ndarray:
    some = [row.record.uncertainty for row in found.rows]
    values = [one.relative if selection.denominator == "object" else one.relative_to_all for one in some]
    end = max(_RELATIVE_END, 2 * selection.relative) if np.isfinite(selection.relative) else _RELATIVE_END
    bins = np.linspace(0, end, 41).tolist()
    x = f"relative uncertainty ({end:g} holds all from there)"
    return histogram(np.minimum(values, end), bins=bins, x=x, threshold=min(selection.relative, end))


def _thinned(points: list[tuple[float, float]], most: int = 200) -> list[tuple[float, float]]:
    return points if len(points) <= most else [points[k] for k in np.linspace(0, len(points) - 1, most).astype(int)]


def _tiles(row: Audited, store: LabelStore, find: Callable[[str], Path]) -> list[Tile]:
    """The picture with its prompt and map at 0.5, the fused map, and the weights; nothing where one is gone."""
    record = row.record
    try:
        image, fused = read_image(find(record.image)), store.fused(record)
    except DataError:
        return []
    if image.shape[:2] != fused.shape:
        return []
    given: dict[str, Any] = {name: np.array(values) for name, values in record.prompts.items()}
    prompts = Prompts(**given)
    asked = Prompts(points=prompts.points, labels=prompts.labels) if prompts.boxes is None else prompts
    truth = "" if row.iou is None else f", IoU {row.iou:.2f}"
    lines = f"{Path(record.image).name}\n{'kept' if row.kept else 'left out'}, U_a {record.absolute:.3f}{truth}"
    objects = [cut_out(fused >= 0.5)] * len(asked)
    return [
        Tile(draw_overlay(image, objects, asked), lines),
        Tile(_gray(fused), f"{record.believed} of {record.views} views believed"),
        Tile(_gray(pixel_weights(fused)), "weight"),
    ]


def _gray(values: np.ndarray) -> np.ndarray:
    return np.repeat((values * 255).round().astype(np.uint8)[..., None], 3, axis=2)
