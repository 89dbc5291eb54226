"""Files of one JSON object a line, which a run extends as it goes and reads again when it goes on."""

from __future__ import annotations

import errno
import json
import logging
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from vns_sam.errors import DataError, OutputError
from vns_sam.images.write import unwritable, write_text

logger = logging.getLogger(__name__)

EVERY = 1.0
"""Seconds after which lines are forced to the disk; a kill loses none, a power cut those of this time."""


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects in a file, none where there is no file.

    A last line that was cut off by a kill is passed over; any other that is no JSON object is named and passed over.

    Raises:
        DataError: The file cannot be read.
    """
    if not path.is_file():
        return
    try:
        texts = path.read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from None
    for number, text in enumerate(texts, start=1):
        if not text.strip():
            continue
        try:
            line = json.loads(text)
        except (ValueError, RecursionError):
            line = None
        if isinstance(line, dict):
            yield line
        elif not text.startswith("{"):  # a cut line begins as a whole one does
            logger.warning("%s, line %d: expected a JSON object, passed over", path, number)


def write_lines(path: Path, lines: Iterable[Mapping[str, Any]], *, allow_nan: bool = True) -> None:
    """Writes such a file anew, whole or not at all.

    Raises:
        OutputError: It cannot be written.
    """
    write_text(path, "".join(json.dumps(line, allow_nan=allow_nan) + "\n" for line in lines))


class LineFile:
    """Extends such a file; a line is handed to the system as soon as it is added. A context manager.

    Args:
        path: The file; it and its folder are made where they are missing.
        allow_nan: Whether numbers may be no JSON; else adding them raises ValueError.

    Attributes:
        is_new: Whether the file was empty.

    Raises:
        OutputError: It cannot be written.
    """

    def __init__(self, path: Path, *, allow_nan: bool = True) -> None:
        self._path, self._allow_nan = path, allow_nan
        if path.exists() and not path.is_file() and not path.is_symlink():
            raise OutputError(f"cannot write {path}: it is not a regular file", hint="choose another place with --out")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a+b", buffering=0)  # no buffer whose rest would fail once more when it is closed
        except OSError as error:
            raise unwritable(path, error) from None
        self._synced = time.monotonic()
        end = self._file.tell()
        self.is_new = end == 0
        if not self.is_new and os.pread(self._file.fileno(), 1, end - 1) != b"\n":
            self._write("\n")  # a killed run has left half a line

    def __enter__(self) -> LineFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, line: Mapping[str, Any], *, sync: bool = False) -> None:
        """Adds an object; ``sync`` waits until it is on the disk.

        Raises:
            OutputError: The file cannot be written, the disk is full, or the file has been removed meanwhile.
        """
        self._write(json.dumps(line, allow_nan=self._allow_nan) + "\n")
        now = time.monotonic()
        if not sync and now - self._synced < EVERY:
            return
        self._synced = now
        try:
            os.fsync(self._file.fileno())
        except OSError:
            return  # a pipe or a device, which holds nothing

    def check_there(self) -> None:
        """Checks that the file still has its name.

        Raises:
            OutputError: It was removed or replaced since it was opened.
        """
        try:
            there = os.path.samestat(os.fstat(self._file.fileno()), os.stat(self._path))
        except OSError:
            there = False
        if not there:
            raise OutputError(
                f"expected {self._path} to stay while the run goes on, found it removed or replaced",
                hint="start it again: what is gone is done anew",
            )

    def _write(self, text: str) -> None:
        """Hands all of a text to the system, which may take a part at a time: on a disk that fills the first part."""
        rest = memoryview(text.encode())
        try:
            while rest:
                taken = self._file.write(rest)
                if not taken:
                    raise OSError(errno.EIO, os.strerror(errno.EIO))
                rest = rest[taken:]
        except OSError as error:
            raise unwritable(self._path, error) from None
