"""One line for each object and prompt, written as soon as it is scored, so that a run that stops loses nothing."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
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
            key = Key(*(_text(line[name]) for name in Key._fields))
            detection = Detection(**line["detection"]) if "detection" in line else None
            seconds = {name: float(value) for name, value in line["seconds"].items()}
            scores = ImageScores.from_json(line["scores"])
            return cls(key, scores, **seconds, detection=detection, data=_text(line.get("data", "")))
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise DataError(f"expected a row of an evaluation, found another line: {error}") from None


@dataclass(frozen=True)
class Shard:
    """The part of the pictures that one of several processes takes: every ``count``-th from ``index`` on."""

    index: int = 0
    count: int = 1

    def __str__(self) -> str:
        return f"{self.index + 1}-of-{self.count}"


@dataclass
class RowStore:
    """The rows of one model, in files that only grow.

    Attributes:
        folder: Where they are, or None to keep them in memory.
        label: What the model is called in the report.
        identity: What the numbers depend on beside the key: model, metrics, resize, seed. An entry that is new since
            the rows were written is not compared.
        shard: Which process this is; each writes a file of its own and reads those of all.
        rows: What is scored.
        skipped: Why a picture, named by set and stem, was passed over.

    Raises:
        UsageError: The folder holds rows of another identity under this label.
        DataError: It cannot be written.
    """

    folder: Path | None
    label: str
    identity: Mapping[str, Any]
    shard: Shard = field(default_factory=Shard)
    rows: dict[Key, Row] = field(default_factory=dict)
    skipped: dict[tuple[str, str], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.folder is None:
            return
        for path in sorted(self.folder.glob(f"{self._name}.*.jsonl")):
            self._read(path)
        self._lines = LineFile(self.folder / f"{self._name}.{self.shard}.jsonl")
        if self._lines.is_new:
            self._lines.add({"label": self.label, **self.identity})

    def add(self, row: Row) -> None:
        """Keeps a row."""
        self.rows[row.key] = row
        if self.folder is not None:
            self._lines.add(row.to_json())

    def skip(self, dataset: str, stem: str, reason: str) -> None:
        """Keeps why a picture was passed over; a later run tries it again."""
        self.skipped[dataset, stem] = reason
        if self.folder is not None:
            self._lines.add({"dataset": dataset, "stem": stem, "skipped": reason})

    def known(self) -> dict[tuple[str, str], dict[Key, str]]:
        """For each picture, named by set and stem, what has a row, with the digest of the files that it is of."""
        found: dict[tuple[str, str], dict[Key, str]] = {}
        for key, row in self.rows.items():
            found.setdefault((key.dataset, key.stem), {})[key] = row.data
        return found

    @property
    def _name(self) -> str:
        """A file name for any label; the checksum keeps two labels apart that read alike."""
        return f"{re.sub(r'[^A-Za-z0-9._-]+', '_', self.label)[-60:]}-{crc32(self.label.encode()):08x}"

    def _read(self, path: Path) -> None:
        for line in read_lines(path):
            if "label" in line:
                _check_identity(path, line, {"label": self.label, **self.identity})
            elif "skipped" in line:
                place = (str(line.get("dataset")), str(line.get("stem")))
                self.skipped[place] = str(line["skipped"])
            else:
                try:
                    row = Row.from_json(line)
                except DataError as error:  # it is measured again
                    logger.warning("%s: %s", path, error.message)
                else:
                    self.rows[row.key] = row


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.40} is no text")
    return value


def _check_identity(path: Path, found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    other = [name for name in expected if name in found and found[name] != expected[name]]
    if other:
        name = other[0]
        raise UsageError(
            f"{path} holds an evaluation with {name} {found.get(name)}, expected {expected[name]}",
            hint="give another --out, or remove the folder to measure again",
        )
