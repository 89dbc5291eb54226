"""Which weights a bundled model's name stood for: another version of the package may have others under it.

A model that names what it stands on, instead of holding it, would answer with wrong masks on other weights.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from vns_sam.errors import CheckpointError
from vns_sam.sam.folder import WEIGHTS
from vns_sam.sam.registry import bundled, place

_READ = 2**18


def edition(name: str) -> str | None:
    """Tells the weights of a bundled model from those that another version has under its name.

    Of the file only the length, the first 256 KiB (all names and shapes) and the last are looked at: training changes
    every tensor, and whoever opens a model does not wait for all of them.

    Returns:
        Twelve hexadecimal digits; None for any other name.
    """
    if name not in bundled():
        return None
    with (place(name) / WEIGHTS).open("rb") as file:
        length = file.seek(0, os.SEEK_END)
        digest = hashlib.blake2b(str(length).encode(), digest_size=6)
        for start in (0, max(0, length - _READ)):
            file.seek(start)
            digest.update(file.read(_READ))
    return digest.hexdigest()


def check_edition(name: str, known: str | None, origin: str | Path) -> None:
    """Refuses a bundled model that has other weights than those that ``origin`` was made on.

    Args:
        name: Of the model that is stood on.
        known: Its edition when ``origin`` was made; None where that was not written down.
        origin: What the error calls the model that stands on it.

    Raises:
        CheckpointError: The editions differ.
    """
    if known is not None and edition(name) not in (None, known):
        raise CheckpointError(
            f"{origin} stands on the '{name}' of another version of vns-sam: expected {known}, found {edition(name)}",
            hint="use the version that it was made with, or train it again",
        )
