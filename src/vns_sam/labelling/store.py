"""Fused maps on disk: for each picture one 8-bit PNG and one line of JSON.

::

    <root>/maps/<name>.png   the fused map times 255
    <root>/labels.jsonl      what was asked, what each view said, and how uncertain the map is

Weights and the choice of pictures are made from these when they are read, so limits change without a model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import numpy as np

from vns_sam.errors import DataError, UsageError
from vns_sam.images.opener import open_image
from vns_sam.images.write import write_image
from vns_sam.labelling.fusion import HIGH, Selection, Uncertainty, measure, pixel_weights
from vns_sam.labelling.gates import Agreement, Gates
from vns_sam.runs.lines import read_lines, write_lines
from vns_sam.sam.model_config import Between, Checked

LINES = "labels.jsonl"
MAPS = "maps"


Side = Annotated[int, Between(1, 2**31)]
"""Of a picture, in pixels."""
Views = Annotated[int, Between(1, 2**16)]


@dataclass(frozen=True)
class Record(Checked):
    """One line of the store.

    Attributes:
        image: Path of the picture relative to its folder.
        key: Digest of what was asked.
        map: The PNG, relative to the store.
        height, width: Of picture and map, in pixels.
        kind: Of the sparse label.
        levels: How many views were joined.
        vote: Whether the map holds votes, multiples of 1 / levels.
        views: How many views were asked.
        believed: How many of them passed the gates.
        absolute, relative, relative_to_all: How uncertain the map is, at an entropy of 0.9; None is endless.
        area: Share of the picture that is object.
        score: Mean of the model's own estimates of its IoU.
        prompts: Points, labels and boxes that were asked with.
        answers: For each view its name, agreement, score, and whether it was believed.
        model: Name and digest of the model, then of the student where there was one.
        settings: How it was asked.
        seconds: For reading, asking and joining.

    Raises:
        UsageError: A field is of another type or out of bounds.
    """

    image: str
    key: str
    map: str
    height: Side
    width: Side
    kind: str
    levels: Views
    vote: bool
    views: Views
    believed: int
    absolute: float
    relative: float | None
    relative_to_all: float | None
    area: float
    score: float
    prompts: dict[str, Any] = field(default_factory=dict)
    answers: list[dict[str, Any]] = field(default_factory=list)
    model: list[str] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def uncertainty(self) -> Uncertainty:
        """Of the map, at an entropy of 0.9."""
        relative, to_all = (float("inf") if v is None else v for v in (self.relative, self.relative_to_all))
        return Uncertainty(self.absolute, relative, to_all)

    def is_kept(self, selection: Selection) -> bool:
        """Whether a selection keeps the picture."""
        return selection.keeps(self.uncertainty, self.believed / self.views)

    def why_left_out(self, selection: Selection) -> str:
        """Why a selection leaves the picture out, in a few words; "" if it keeps it."""
        if self.is_kept(selection):
            return ""
        if self.believed / self.views < selection.views:
            told = f"{self.believed} of {self.views} views believed"
            return f"{told}; the others: {most[0][0]}" if (most := self._refusals().most_common(1)) else told
        if self.absolute >= selection.absolute:
            return f"{self.absolute:.0%} of the picture uncertain, not below {selection.absolute:.0%}"
        relative = self.uncertainty.relative if selection.denominator == "object" else self.uncertainty.relative_to_all
        return f"uncertain pixels are {relative:.2f} of the certain ones, not below {selection.relative:g}"

    def _refusals(self) -> Counter[str]:
        """Why views were not believed, and how many each."""
        gates = Gates(**self.settings["gates"]) if self.settings.get("gates") else None
        names = [each.name for each in fields(Agreement)]
        given = [{name: answer[name] for name in names if name in answer} for answer in self.answers]
        reasons = [gates.refusal(Agreement(**one)) for one in given] if gates else []
        return Counter(filter(None, reasons))


_FIELDS = frozenset(field.name for field in fields(Record))


class LabelStore:
    """Reads what a labelling run has written.

    Args:
        root: Folder of the store.
        records: Its lines by picture; read from ``labels.jsonl`` when omitted. A folder without that file is one of
            somebody else's pseudo-masks, see :func:`vns_sam.labelling.published.published_records`.

    Raises:
        DataError: There is no store at ``root``, and no pseudo-mask.
    """

    def __init__(self, root: Path, records: dict[str, Record] | None = None) -> None:
        self.root = root
        if records is None and not (root / LINES).is_file():
            from vns_sam.labelling.published import published_records

            records = published_records(root)
        self.records = read_records(root / LINES) if records is None else records

    def find(self, image: str) -> Record | None:
        """The record of a picture by its name, or by its stem where the store names no endings."""
        return self.records.get(image) or self.records.get(PurePosixPath(image).stem)

    def kept(self, selection: Selection) -> list[Record]:
        """The records that a selection keeps, in order."""
        return [record for record in self.records.values() if record.is_kept(selection)]

    def fused(self, record: Record) -> np.ndarray:
        """The fused map (H, W) float32 in [0, 1]; votes are exact.

        Raises:
            DataError: The map is missing, damaged, or of another size.
        """
        path = self.root / record.map
        bytes_ = read_bytes(path, published=not record.key)
        if bytes_.shape != (record.height, record.width):
            found = " x ".join(map(str, bytes_.shape[::-1]))
            raise DataError(f"expected a map of {record.width} x {record.height} at {path}, found {found}")
        return decode_map(bytes_, record.levels if record.vote else None)

    def training_target(self, record: Record) -> tuple[np.ndarray, np.ndarray]:
        """Target M and weight W = 1 - E of each pixel, both (H, W) float32 in [0, 1]."""
        fused = self.fused(record)
        return fused, pixel_weights(fused)


def read_bytes(path: Path, *, published: bool = False) -> np.ndarray:
    """A map as it is stored, (H, W) uint8; a published one of 0 and 1 is read as one of 0 and 255.

    Raises:
        DataError: It is missing or damaged.
    """
    try:
        with open_image(path) as file:
            bytes_ = np.asarray(file if file.mode == "L" else file.convert("L"))
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"expected a fused map at {path}: {error}", hint="label that picture again") from None
    return bytes_ * np.uint8(255) if published and bytes_.size and bytes_.max() == 1 else bytes_


def encode_map(fused: np.ndarray) -> np.ndarray:
    """A fused map in bytes, (H, W) uint8."""
    return np.round(np.asarray(fused, np.float64) * 255).astype(np.uint8)


def decode_map(bytes_: np.ndarray, levels: int | None) -> np.ndarray:
    """The fused map from its bytes; of votes with ``levels`` voters the exact fractions, up to 255 of them."""
    share = bytes_.astype(np.float64) / 255
    if levels is not None:
        share = np.round(share * levels) / levels
    return share.astype(np.float32)


def map_path(image: str) -> str:
    """Where the map of a picture is, relative to the store; the picture's ending stays in the name, since two pictures
    may share their stem.
    """
    return str(PurePosixPath(MAPS) / f"{PurePosixPath(image)}.png")


def write_map(root: Path, image: str, fused: np.ndarray, levels: int | None) -> tuple[str, Uncertainty]:
    """Writes the map of a picture and measures it as it will be read.

    Raises:
        DataError: The place cannot be written.
    """
    bytes_ = encode_map(fused)
    path = map_path(image)
    write_image(root / path, bytes_)
    return path, measure(decode_map(bytes_, levels), HIGH)


def read_records(path: Path) -> dict[str, Record]:
    """The lines of a store by picture, the last one of each; a line that was cut off is passed over."""
    return {record.image: record for record in _lines(path)}


def write_records(path: Path, records: list[Record]) -> None:
    """Writes all lines at once, none twice.

    Raises:
        DataError: The place cannot be written.
    """
    write_lines(path, map(asdict, records), allow_nan=False)


def _lines(path: Path) -> Iterator[Record]:
    for values in read_lines(path):
        try:
            yield Record(**{name: value for name, value in values.items() if name in _FIELDS})
        except (TypeError, UsageError):
            continue  # the head of the manifest, a picture that failed, a line that somebody changed
