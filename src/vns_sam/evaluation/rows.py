"""One line for each object and prompt, written as soon as it is scored, so that a run that stops loses nothing."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

from vns_sam.errors import DataError, UsageError
from vns_sam.metrics.scoring import ImageScores
from vns_sam.runs.lines import LineFile, read_lines

logger = logging.getLogger(__name__)


class Key(NamedTuple):
    """What was asked: an object of a picture, and the prompt. ``target`` is "" for the whole mask, else the id."""

    dataset: str
    stem: str
    target: str
    prompt: str

    @property
    def name(self) -> str:
        """The object's name, whatever the prompt."""
        return "/".join(filter(None, self[:3]))


@dataclass(frozen=True)
class Detection:
    """What average precision is taken of, which no mean over objects gives.

    Attributes:
        score: Predicted IoU.
        found, truth: Masks as COCO's run-length codes.
        label: The object's class, "" where the set names none; objects of one class compete.
    """

    score: float
    found: Mapping[str, Any]
    truth: Mapping[str, Any]
    label: str = ""


@dataclass(frozen=True)
class Row:
    """One scored object.

    Attributes:
        key: What was asked.
        scores: Of the mask that came back.
        decode: Seconds spent on prompting the model.
        metrics: Seconds spent on scoring, in whichever process.
        detection: Where average precision is asked for.
        data: Digest of the picture and its masks.
    """

    key: Key
    scores: ImageScores
    decode: float = 0.0
    metrics: float = 0.0
    detection: Detection | None = None
    data: str = ""

    def to_json(self) -> dict[str, Any]:
        """JSON-ready form."""
        seconds = {"decode": round(self.decode, 5), "metrics": round(self.metrics, 5)}
        line = {**self.key._asdict(), "data": self.data, "scores": self.scores.to_json(), "seconds": seconds}
        return line if self.detection is None else {**line, "detection": asdict(self.detection)}

    @classmethod
    def from_json(cls, line: Mapping[str, Any]) -> Row:
        """Reads :meth:`to_json`'s form.

        Raises:
            DataError: It is something else.
        """
        try:
            key = _key(line)
            detection = Detection(**line["detection"]) if "detection" in line else None
            seconds = {name: float(value) for name, value in line["seconds"].items()}
            scores = ImageScores.from_json(line["scores"])
            return cls(key, scores, **seconds, detection=detection, data=_text(line.get("data", "")))
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise DataError(f"expected a row of an evaluation, found another line: {error}") from None


@dataclass(frozen=True)
class Unscored:
    """An object that was asked for and could not be scored.

    Attributes:
        key: What was asked.
        reason: Why there is no score.
        data: Digest of the picture and its masks.
    """

    key: Key
    reason: str
    data: str = ""

    def to_json(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {**self.key._asdict(), "data": self.data, "unscored": self.reason}

    @classmethod
    def from_json(cls, line: Mapping[str, Any]) -> Unscored:
        """Reads :meth:`to_json`'s form.

        Raises:
            DataError: It is something else.
        """
        try:
            return cls(_key(line), _text(line["unscored"]), _text(line["data"]))
        except (KeyError, TypeError) as error:
            raise DataError(f"expected an object without a score, found another line: {error}") from None


@dataclass(frozen=True)
class Shard:
    """The part of the pictures that one of several processes takes: every ``count``-th from ``index`` on."""

    index: int = 0
    count: int = 1

    def __str__(self) -> str:
        return f"{self.index + 1}-of-{self.count}"


@dataclass
class RowStore:
    """The rows of one model, in files that only grow: of each object and prompt a row for each state of its files that
    was measured, in no order that tells which is the newest.

    Attributes:
        folder: Where they are, or None to keep them in memory.
        label: What the model is called in the report.
        identity: What the numbers depend on beside the key: model, metrics, resize, seed. An entry that is new since
            the rows were written is not compared.
        shard: Which process this is; each writes a file of its own and reads those of all.
        apart: Whether rows of another identity are left alone, and these go to files of their own; else they are
            refused.
        versions: What is scored, by the digest of the files, too.
        unscored: What could not be scored, likewise.
        skipped: Why a picture, named by set and stem, was passed over.

    Raises:
        UsageError: The folder holds rows of another identity under this label, and ``apart`` is not set.
        DataError: It cannot be written.
    """

    folder: Path | None
    label: str
    identity: Mapping[str, Any]
    shard: Shard = field(default_factory=Shard)
    apart: bool = False
    versions: dict[tuple[Key, str], Row] = field(default_factory=dict)
    unscored: dict[tuple[Key, str], Unscored] = field(default_factory=dict)
    skipped: dict[tuple[str, str], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.folder is None:
            return
        name = self._free_name(self.folder)
        for path in _files(self.folder, name):
            self._read(path)
        self._lines = LineFile(self.folder / f"{name}.{self.shard}.jsonl")
        if self._lines.is_new:
            self._lines.add(self._head)

    @property
    def rows(self) -> dict[Key, Row]:
        """Of each object and prompt the row that was read or added last."""
        return {row.key: row for row in self.versions.values()}

    def add(self, row: Row | Unscored) -> None:
        """Keeps a row, or that there is none."""
        self._keep(row)
        if self.folder is not None:
            self._lines.add(row.to_json())

    def skip(self, dataset: str, stem: str, reason: str) -> None:
        """Keeps why a picture was passed over; a later run tries it again."""
        self.skipped[dataset, stem] = reason
        if self.folder is not None:
            self._lines.add({"dataset": dataset, "stem": stem, "skipped": reason})

    def known(self) -> dict[tuple[str, str], dict[Key, set[str]]]:
        """For each picture, named by set and stem, what has rows, with the digests of the files that they are of."""
        found: dict[tuple[str, str], dict[Key, set[str]]] = {}
        for key, data in self.versions:
            found.setdefault((key.dataset, key.stem), {}).setdefault(key, set()).add(data)
        return found

    def of(self, data: Mapping[tuple[str, str], str]) -> Iterator[Row | Unscored]:
        """What is known of files as they are: rows, and what has none.

        Args:
            data: Digest of each picture's files, named by set and stem.
        """
        yield from (row for (key, digest), row in self.versions.items() if data.get(key[:2]) == digest)
        for (key, digest), row in self.unscored.items():
            if data.get(key[:2]) == digest and (key, digest) not in self.versions:
                yield row

    def _free_name(self, folder: Path) -> str:
        """A file name for any label, that no rows of another identity have where these are to be ``apart``; the
        checksum keeps two labels apart that read alike.
        """
        first = name = f"{re.sub(r'[^A-Za-z0-9._-]+', '_', self.label)[-60:]}-{crc32(self.label.encode()):08x}"
        number = 1
        while self.apart and any(self._is_other(path) for path in _files(folder, name)):
            number += 1
            name = f"{first}-{number}"
        return name

    def _is_other(self, path: Path) -> bool:
        return any("label" in line and other_entry(line, self._head) for line in read_lines(path))

    @property
    def _head(self) -> dict[str, Any]:
        return {"label": self.label, **self.identity}

    def _read(self, path: Path) -> None:
        for line in read_lines(path):
            if "label" in line:
                _check_identity(path, line, self._head)
            elif "skipped" in line:
                place = (str(line.get("dataset")), str(line.get("stem")))
                self.skipped[place] = str(line["skipped"])
            else:
                try:
                    self._keep(Unscored.from_json(line) if "unscored" in line else Row.from_json(line))
                except DataError as error:  # it is measured again
                    logger.warning("%s: %s", path, error.message)

    def _keep(self, row: Row | Unscored) -> None:
        if isinstance(row, Unscored):
            self.unscored[row.key, row.data] = row
        else:
            self.versions.pop((row.key, row.data), None)  # the last is last
            self.versions[row.key, row.data] = row


def _key(line: Mapping[str, Any]) -> Key:
    return Key(*(_text(line[name]) for name in Key._fields))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.40} is no text")
    return value


def _files(folder: Path, name: str) -> list[Path]:
    """What all processes have written under a name."""
    return sorted(folder.glob(f"{name}.*.jsonl"))


def other_entry(found: Mapping[str, Any], expected: Mapping[str, Any]) -> str:
    """The first entry of an identity that differs, "" for none; one that is new is not compared."""
    return next((name for name in expected if name in found and found[name] != expected[name]), "")


def _check_identity(path: Path, found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    if name := other_entry(found, expected):
        raise UsageError(
            f"{path} holds an evaluation with {name} {found.get(name)}, expected {expected[name]}",
            hint="give another --out, or remove the folder to measure again",
        )
