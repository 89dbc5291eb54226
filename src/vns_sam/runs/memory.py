"""How much memory the items that are at work may take together: few large pictures at a time, or many small ones."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from vns_sam.errors import DataError
from vns_sam.images.read import stored_size

BYTES_A_PIXEL = 16
"""What a picture takes from its file to its results, about: decoded, as an array, and drawn over."""
GIB = 2**30


def _half_of_the_machine() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, ValueError, OSError):  # not on Windows
        return 4 * GIB


@dataclass(frozen=True)
class Ceiling:
    """What items at work may take together.

    Attributes:
        bytes: So much; half of the machine's memory unless something else is asked for.
        firm: Whether an item that takes more alone is refused. It is done alone otherwise.
    """

    bytes: int = field(default_factory=_half_of_the_machine)
    firm: bool = False

    def refusal(self, weight: int) -> str:
        """Why an item of so many bytes is not done; "" where it is."""
        if not self.firm or weight <= self.bytes:
            return ""
        found = f"it takes about {weight / GIB:.3g} GiB, --memory allows {self.bytes / GIB:.3g}"
        return f"{found}: scale it down, or allow more"


def held(at_work: Iterable[tuple[int, object]]) -> int:
    """Bytes of all items at work, each with its weight."""
    return sum(weight for weight, _ in at_work)


def weight_of(pictures: Iterable[Path]) -> int:
    """Bytes that the largest of some pictures takes; what is none counts nothing."""
    largest = 0
    for path in pictures:
        with suppress(DataError):
            height, width = stored_size(path)
            largest = max(largest, height * width * BYTES_A_PIXEL)
    return largest
