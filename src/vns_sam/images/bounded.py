"""Reading text that a user may have written by hand: never more than it can reasonably be, never from a device."""

from __future__ import annotations

import os
import stat
from pathlib import Path

MOST = 4 * 2**20
"""Bytes of a file that describes something."""


def read_bounded(path: str | Path, most: int = MOST) -> str:
    """Reads UTF-8 text of a regular file.

    Args:
        path: The file. A pipe or a device is not waited for.
        most: Bytes that it may have.

    Raises:
        OSError: It cannot be read, or is no regular file.
        ValueError: It is larger, or no UTF-8 (``UnicodeDecodeError``).
    """
    place = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    with open(place, "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(f"{path} is no regular file")
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"larger than {most / 2**20:g} MiB")
    return content.decode("utf-8")
