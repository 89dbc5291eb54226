"""Bringing a small map to the size of a picture only where something was found: most of a picture is background."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from vns_sam.types import Geometry, Size

Part = tuple[slice, slice]
"""Rows and columns of a picture, as an index of (H, W)."""


def enlarge_found(values: np.ndarray, geometry: Geometry, size: Size) -> tuple[Part, np.ndarray]:
    """The part of a map at full size that holds all that is above 0.

    The two bilinear steps of :func:`vns_sam.images.geometry.maps_to_original` weigh rows and columns apart from each
    other, so that any part of the result is a product of three small matrices.

    Args:
        values: (h, h') float32 over the padded input, object where > 0.
        geometry: How the picture was fitted into the input.
        size: Height and width of the result, of which a part is made.

    Returns:
        Where the part lies, and the part, float32. It is empty where nothing is above 0.
    """
    found = values > 0
    down = _weights(values.shape[0], geometry.input_height, geometry.fitted_height, size[0])
    across = _weights(values.shape[1], geometry.input_width, geometry.fitted_width, size[1])
    rows, columns = (_touched(w, np.asarray(found.any(axis=axis))) for w, axis in ((down, 1), (across, 0)))
    if rows.start == rows.stop or columns.start == columns.stop:
        return (slice(0, 0), slice(0, 0)), np.zeros((0, 0), np.float32)
    from_rows, from_columns = (
        _touched(w[part].T, np.ones(part.stop - part.start, bool)) for w, part in ((down, rows), (across, columns))
    )
    part = down[rows, from_rows] @ values[from_rows, from_columns] @ across[columns, from_columns].T
    return (rows, columns), part


def _touched(weights: np.ndarray, chosen: np.ndarray) -> slice:
    """The range of rows of (n, m) that have weight on any of the chosen columns (m,)."""
    rows = np.flatnonzero(weights[:, chosen].any(axis=1))
    return slice(int(rows[0]), int(rows[-1]) + 1) if len(rows) else slice(0, 0)


@lru_cache(maxsize=8)
def _weights(cells: int, side: int, fitted: int, length: int) -> np.ndarray:
    """What each of ``length`` pixels takes from each of the map's cells along one side, (length, cells) float32."""
    to_square = _bilinear(np.eye(cells, dtype=np.float32), side)
    return _bilinear(to_square[:fitted], length)


def _bilinear(rows: np.ndarray, count: int) -> np.ndarray:
    """Resizes (n, m) to (count, m) along its rows, in the arithmetic of torch."""
    last = len(rows) - 1
    places = np.float32(len(rows) / count) * (np.arange(count, dtype=np.float32) + np.float32(0.5)) - np.float32(0.5)
    places = places.clip(0)
    lower = np.minimum(places.astype(int), last)
    share = (places - lower)[:, None]
    return rows[lower] * (1 - share) + rows[np.minimum(lower + 1, last)] * share
