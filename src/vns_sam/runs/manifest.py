"""The manifest of a run: first a line that says who made it and what was asked, then a line for each item.

::

    {"run": "segment", "version": 2, "asked": {"format": "png", ...}, "id": "5f0c..."}
    {"claim": ["a_mask.png", ...]}                       what a run is about to write; gone when it has ended
    {"image": "a.jpg", "key": ..., "asked": "5f0c...", "files": {"a_mask.png": 812}, "seconds": 0.2, ...}
    {"image": "b.jpg", "key": ..., "asked": "5f0c...", "files": {}, "error": "b.jpg is truncated or damaged"}

A later line of an item replaces its earlier one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from vns_sam.errors import UsageError
from vns_sam.runs.lines import read_lines, write_lines

VERSION = 2


@dataclass(frozen=True)
class Entry:
    """What a manifest says of an item.

    Attributes:
        name: The item.
        key: Digest of what was asked of it alone.
        asked: Digest of what was asked of all.
        files: Its files relative to the output, with their sizes in bytes.
        error: Why it failed, or "".
        line: All that its line holds.
    """

    name: str
    key: str
    asked: str
    files: Mapping[str, int]
    error: str
    line: Mapping[str, Any]

    def is_there(self, out: Path) -> bool:
        """Whether all its files are, none of them emptied."""
        return all(size_of(out / name) > 0 or size == 0 == size_of(out / name) for name, size in self.files.items())

    def is_untouched(self, out: Path) -> bool:
        """Whether those of its files that are there have the size that they were written with."""
        return all(size_of(out / name) in (-1, 0, size) for name, size in self.files.items())


@dataclass(frozen=True)
class Manifest:
    """What earlier runs left in an output folder.

    Attributes:
        asked: What the last one asked of all items, models included, and what it noted beside.
        id: The digest of what was asked.
        entries: By item, in order.
        claimed: Files that a run which did not end was about to write.
        foreign: Whether it is of an earlier version, whose lines say too little to go on.
    """

    asked: Mapping[str, Any] = field(default_factory=dict)
    id: str = ""
    entries: Mapping[str, Entry] = field(default_factory=dict)
    claimed: frozenset[str] = frozenset()
    foreign: bool = False


def read_manifest(path: Path, verb: str, item_field: str) -> Manifest:
    """Reads a manifest; an empty one where there is none.

    Raises:
        UsageError: It is another verb's, or a later version's.
        DataError: It cannot be read.
    """
    lines = iter(read_lines(path))
    head = next(lines, None)
    if head is None:
        return Manifest()
    if "run" not in head:
        return Manifest(foreign=True)
    if head["run"] != verb:
        raise UsageError(f"expected results of '{verb}' in {path.parent}, found those of '{head['run']}'", hint="--out")
    if head.get("version") != VERSION or not isinstance(head.get("asked"), dict):
        raise UsageError(
            f"expected version {VERSION} of {path}, found {head.get('version')}", hint="choose another --out"
        )
    entries: dict[str, Entry] = {}
    claimed: set[str] = set()
    for line in lines:
        if isinstance(line.get("claim"), list):
            claimed.update(name for name in line["claim"] if isinstance(name, str))
        elif (entry := _entry(line, item_field)) is not None:
            entries.pop(entry.name, None)
            entries[entry.name] = entry
    return Manifest(head["asked"], str(head.get("id", "")), entries, frozenset(claimed))


def head_line(verb: str, asked: Mapping[str, Any], identity: str) -> dict[str, Any]:
    """The first line."""
    return {"run": verb, "version": VERSION, "asked": dict(asked), "id": identity}


def write_manifest(path: Path, head: Mapping[str, Any], entries: Iterable[Entry]) -> None:
    """Writes a manifest anew.

    Raises:
        OutputError: It cannot be written.
    """
    write_lines(path, [head, *(entry.line for entry in entries)], allow_nan=False)


def digest(value: Any) -> str:
    """A digest of anything that is JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def is_inside(name: str) -> bool:
    """Whether a relative path stays in its folder."""
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts and "\0" not in name


def size_of(path: Path) -> int:
    """Bytes of a file, -1 where there is none."""
    try:
        return path.stat().st_size if path.is_file() else -1
    except OSError:
        return -1


def _entry(line: Mapping[str, Any], item_field: str) -> Entry | None:
    """A line of an item, None where it is not one: a user may have been at it."""
    name, files, error = line.get(item_field), line.get("files"), line.get("error", "")
    key, asked = line.get("key"), line.get("asked")
    texts = (name, key, asked, error)
    if not all(isinstance(text, str) for text in texts) or not isinstance(files, dict):
        return None
    if not all(is_inside(file) and isinstance(size, int) for file, size in files.items()):
        return None
    return Entry(str(name), str(key), str(asked), files, error, line)
