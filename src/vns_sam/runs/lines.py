"""Files of one JSON object a line, which a run extends as it goes and reads again when it goes on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from vns_sam.images.write import unwritable, write_text


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects in a file, none where there is no file; a line that was cut off by a kill is passed over."""
    for text in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        yield line


def write_lines(path: Path, lines: Iterable[Mapping[str, Any]], *, allow_nan: bool = True) -> None:
    """Writes such a file anew, whole or not at all.

    Raises:
        DataError: It cannot be written.
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
        DataError: It cannot be written.
    """

    def __init__(self, path: Path, *, allow_nan: bool = True) -> None:
        self._path, self._allow_nan = path, allow_nan
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab", buffering=0)  # no buffer whose rest would fail once more when it is closed
        except OSError as error:
            raise unwritable(path, error) from None
        self.is_new = self._file.tell() == 0
        if not self.is_new:
            self._write("\n")  # a killed run may have left half a line

    def __enter__(self) -> LineFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, line: Mapping[str, Any]) -> None:
        """Adds an object.

        Raises:
            DataError: The file cannot be written, the disk is full.
        """
        self._write(json.dumps(line, allow_nan=self._allow_nan) + "\n")

    def _write(self, text: str) -> None:
        try:
            self._file.write(text.encode())
        except OSError as error:
            raise unwritable(self._path, error) from None
