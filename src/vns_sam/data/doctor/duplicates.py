"""Pictures that occur more than once: in a split, in two splits of a set (a leak), or in two sets."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vns_sam.data.doctor.findings import KINDS, Finding
from vns_sam.data.doctor.hashing import MIN_CORRELATION, ORIENTATIONS, candidates, correlation, oriented

_SEVEREST = {code: rank for rank, code in enumerate(KINDS)}


@dataclass(frozen=True)
class Picture:
    """What is known of one readable picture.

    Attributes:
        dataset: Folder of its set.
        path: Its file.
        split: ``train``, ``val`` or ``test``, or "" when it is in no list.
        digest, mask_digest, hashes: As in :class:`vns_sam.data.doctor.examine.Examination`.
    """

    dataset: str
    path: Path
    split: str
    digest: str
    mask_digest: str
    hashes: np.ndarray | None

    @property
    def place(self) -> tuple[str, str]:
        """Where it belongs: set and split."""
        return self.dataset, self.split


def exact_duplicates(pictures: Iterable[Picture]) -> list[Finding]:
    """One finding for each picture whose bytes an earlier one has; the most serious where there are several."""
    groups = defaultdict(list)
    for picture in pictures:
        groups[picture.digest].append(picture)
    found = []
    for group in groups.values():
        first_of: dict[tuple[str, str], Picture] = {}
        for picture in group:
            if first_of:
                found.append(_worst(_describe(picture, other, "the same bytes") for other in first_of.values()))
            first_of.setdefault(picture.place, picture)
    return found


def near_candidates(pictures: Sequence[Picture], *, flips: bool) -> list[tuple[Picture, Picture, int]]:
    """Pairs with different bytes and similar hashes, and the orientation of the first that is like the second."""
    known = [(picture, picture.hashes) for picture in pictures if picture.hashes is not None]
    if not known:
        return []
    table = np.stack([hashes for _, hashes in known])
    found = ((known[i][0], known[j][0], way) for i, j, way in candidates(table, flips=flips))
    return [(first, second, way) for first, second, way in found if first.digest != second.digest]


def near_duplicates(
    pairs: Iterable[tuple[Picture, Picture, int]], thumbnails: Mapping[Path, np.ndarray]
) -> list[Finding]:
    """One finding for each picture that resembles an earlier one: the most serious where there are several.

    Args:
        pairs: Of :func:`near_candidates`.
        thumbnails: (64, 64) uint8 by path, of all pictures in ``pairs``.
    """
    found: dict[Path, list[Finding]] = defaultdict(list)
    for first, second, way in pairs:
        alike = correlation(oriented(thumbnails[first.path], way), thumbnails[second.path])
        if alike >= MIN_CORRELATION:
            how = f"correlation {alike:.3f}" + (f", {ORIENTATIONS[way]}" if way else "")
            found[second.path].append(_describe(second, first, how, near=True))
    return [_worst(findings) for findings in found.values()]


def _worst(findings: Iterable[Finding]) -> Finding:
    return min(findings, key=lambda finding: _SEVEREST[finding.code])


def _describe(picture: Picture, other: Picture, how: str, *, near: bool = False) -> Finding:
    """What it means that ``picture`` is like ``other``."""
    if picture.dataset != other.dataset:
        code = "near-shared" if near else "shared"
    elif picture.split and other.split and picture.split != other.split:
        code = "near-leak" if near else "leak"
    elif near:
        code = "similar"
    else:
        code = "duplicate" if picture.mask_digest == other.mask_digest else "several-masks"
    here = f"{picture.split}: " if picture.split else ""
    there = f"{other.path.parent.parent.name}/{other.path.parent.name}/{other.path.name}"
    text = f"{here}like {there}{f' of {other.split}' if other.split else ''} ({how})"
    return Finding(code, f"{picture.path.parent.name}/{picture.path.name}", text, dataset=picture.dataset)
