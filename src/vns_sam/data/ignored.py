"""Pixels that are neither object nor background, in reports and in the scores that choose a checkpoint alike."""

from __future__ import annotations

import numpy as np

from vns_sam.data.pairs import Pair, read_mask
from vns_sam.errors import DataError


def read_ignored(pair: Pair, shape: tuple[int, ...]) -> np.ndarray | None:
    """Pixels (H, W) bool that are neither object nor background, None where the set names none.

    Args:
        pair: A picture with its mask.
        shape: (H, W) of its mask.

    Raises:
        DataError: The file cannot be read, or has another size than the mask.
    """
    if pair.ignore is None:
        return None
    ignored = read_mask(pair.ignore)
    if ignored.shape != shape:
        raise DataError(f"{pair.ignore}: expected the size of its mask, {shape[1]} x {shape[0]}, found another")
    return ignored
