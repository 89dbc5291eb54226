"""What is known of each fused map, one line of JSON for each picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any

from vns_sam.errors import UsageError
from vns_sam.labelling.fusion import Selection, Uncertainty
from vns_sam.labelling.gates import Agreement, Gates
from vns_sam.runs.lines import read_lines, write_lines
from vns_sam.sam.model_config import Between, Checked

LINES = "labels.jsonl"

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


def read_records(path: Path) -> dict[str, Record]:
    """The lines of a store by picture, the last one of each; a line that was cut off is passed over.

    Those of an earlier question than the store's head tells are left out.
    """
    found: dict[str, tuple[Record, Any]] = {}
    question = None
    for values in read_lines(path):
        if "run" in values:
            question = values.get("id")
        elif (record := _record(values)) is not None:
            found[record.image] = (record, values.get("asked"))
    return {name: record for name, (record, asked) in found.items() if question in (None, asked)}


def write_records(path: Path, records: list[Record]) -> None:
    """Writes all lines at once, none twice.

    Raises:
        DataError: The place cannot be written.
    """
    write_lines(path, map(asdict, records), allow_nan=False)


def _record(values: Mapping[str, Any]) -> Record | None:
    """A line as a record, None for a picture that failed and a line that somebody changed."""
    try:
        return Record(**{name: value for name, value in values.items() if name in _FIELDS})
    except (TypeError, UsageError):
        return None
