"""Pictures that belong together because they are copies of each other, or nearly: what a split must not tear apart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from vns_sam.data.doctor.check import Progress
from vns_sam.data.doctor.hashing import MIN_CORRELATION, candidates, correlation, hashes, oriented, thumbnail
from vns_sam.images.read import file_digest, read_image


def alike(paths: Sequence[Path], progress: Progress | None = None) -> list[list[int]]:
    """Groups of pictures that are the same or nearly so, as they are or turned or mirrored.

    Two pictures are in one group if a chain of pictures leads from one to the other of which each is like the next.

    Args:
        paths: Picture files.
        progress: Told after each picture.

    Returns:
        The positions of each group, sorted; every picture is in one group, most of them alone.

    Raises:
        DataError: A picture cannot be read.
    """
    digests: list[str] = []
    small: list[np.ndarray] = []
    known: list[int] = []
    table: list[np.ndarray] = []
    for position, path in enumerate(paths):
        gray = cv2.cvtColor(read_image(path), cv2.COLOR_RGB2GRAY)
        digests.append(file_digest(path))
        small.append(thumbnail(gray))
        if (found := hashes(gray)) is not None:
            known.append(position)
            table.append(found)
        if progress:
            progress("compare", position + 1, len(paths))
    owner = list(range(len(paths)))
    first_of: dict[str, int] = {}
    for position, digest in enumerate(digests):
        _join(owner, first_of.setdefault(digest, position), position)
    for first, second, way in candidates(np.stack(table), flips=True) if table else ():
        here, there = known[first], known[second]
        if correlation(oriented(small[here], way), small[there]) >= MIN_CORRELATION:
            _join(owner, here, there)
    groups: dict[int, list[int]] = {}
    for position in range(len(paths)):
        groups.setdefault(_root(owner, position), []).append(position)
    return list(groups.values())


def _root(owner: list[int], position: int) -> int:
    while owner[position] != position:
        owner[position] = owner[owner[position]]
        position = owner[position]
    return position


def _join(owner: list[int], first: int, second: int) -> None:
    low, high = sorted((_root(owner, first), _root(owner, second)))
    owner[high] = low
