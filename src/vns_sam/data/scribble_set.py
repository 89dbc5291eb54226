"""Sparse labels for a set, simulated from its masks: bad masks are told and passed over, a stopped run goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from typing_extensions import override

from vns_sam.data.pairs import Pair, find_pairs, read_mask
from vns_sam.data.sparse import Kind, write_boxes, write_points
from vns_sam.data.synthesis.scribbles import annotation_rng, draw_boxes, draw_points, draw_scribbles
from vns_sam.errors import DataError, UsageError
from vns_sam.images.read import file_digest
from vns_sam.images.write import encode_image, write_text
from vns_sam.runs.job import Job, Result, told
from vns_sam.runs.manifest import digest, read_manifest

TABLE = {"point": "points.csv", "box": "boxes.csv"}


@dataclass(frozen=True)
class ScribbleRun:
    """What to annotate.

    Attributes:
        out: Where the labels go: ``<stem>.png`` each, or one table.
        pairs: Pictures with their masks.
        broken: Stems that lack a picture or mask, with the reason.
        kind: What is drawn.
        seed: Of the draws.
        overshoot: Share of the strokes that run over the object's border.
    """

    out: Path
    pairs: tuple[Pair, ...]
    broken: dict[str, str]
    kind: Kind = "scribble"
    seed: int = 0
    overshoot: float = 0.0


def plan_run(
    source: Path,
    out: Path,
    kind: Kind = "scribble",
    seed: int = 0,
    split: str | None = None,
    overshoot: float = 0.0,
) -> ScribbleRun:
    """Finds the masks and checks that the output may be written.

    Raises:
        DataError: The set has no picture, or the output holds labels of another kind or something else.
        UsageError: The output is the set or one of its folders, or what is drawn cannot overshoot.
    """
    if not 0 <= overshoot <= 1 or (overshoot and kind != "scribble"):
        raise UsageError(
            f"expected strokes and a share from 0 to 1 that overshoots, found {kind} and {overshoot:g}",
            hint="--kind scribble --overshoot 0.3",
        )
    broken: dict[str, str] = {}
    pairs = find_pairs(source, split, broken=broken)
    if out.resolve() in {source.resolve(), *(folder.resolve() for folder in _folders(pairs))}:
        raise UsageError(f"expected --out beside the pictures and masks, found {out}", hint=f"--out {source}_{kind}")
    held = {path.name for path in out.iterdir()} if out.is_dir() else set()
    others = {name for of, name in TABLE.items() if of != kind} | (set() if kind == "scribble" else {".png"})
    wrong = sorted(name for name in held if name in others or Path(name).suffix in others)
    if wrong:
        raise DataError(f"expected labels of the kind '{kind}' in {out}, found {wrong[0]}", hint="one folder each kind")
    return ScribbleRun(out, tuple(pairs), broken, kind, seed, overshoot)


@dataclass
class ScribbleJob(Job[Pair]):
    """Draws the labels of a set; a line tells ``marks``: points (x, y, label) or boxes XYXY, none for scribbles."""

    scribble_run: ScribbleRun

    verb: ClassVar[str] = "data scribble"
    item_field: ClassVar[str] = "stem"

    @property
    @override
    def out(self) -> Path:
        return self.scribble_run.out

    @property
    @override
    def items(self) -> Sequence[Pair]:
        return self.scribble_run.pairs

    @property
    @override
    def refused(self) -> Mapping[str, str]:
        return self.scribble_run.broken

    @override
    def name(self, item: Pair) -> str:
        return item.stem

    @override
    def inputs(self, item: Pair) -> Sequence[Path]:
        return [item.image, item.mask]

    @override
    def outputs(self, item: Pair) -> Sequence[str]:
        return [f"{item.stem}.png"] if self.scribble_run.kind == "scribble" else []

    @override
    def asked(self) -> Mapping[str, Any]:
        asked = {"kind": self.scribble_run.kind, "seed": self.scribble_run.seed}
        return {**asked, "overshoot": self.scribble_run.overshoot} if self.scribble_run.overshoot else asked

    @override
    def key(self, item: Pair) -> str:
        return digest([file_digest(item.mask), item.dataset, item.stem])

    @override
    def read(self, item: Pair) -> np.ndarray:
        try:
            return read_mask(item.mask)
        except DataError as error:
            raise DataError(told(str(item.mask), error.message)) from None

    @override
    def work(self, item: Pair, content: np.ndarray) -> Any:
        """The label map of scribbles, or the points or boxes."""
        kind, rng = self.scribble_run.kind, annotation_rng(item.dataset, item.stem, self.scribble_run.seed)
        strokes = partial(draw_scribbles, overshoot=self.scribble_run.overshoot)
        draw: dict[Kind, Callable[..., Any]] = {"scribble": strokes, "point": draw_points, "box": draw_boxes}
        try:
            return draw[kind](content, rng)
        except DataError as error:
            raise DataError(told(str(item.mask), error.message)) from None

    @override
    def encode(self, item: Pair, answer: Any) -> Result:
        if self.scribble_run.kind == "scribble":
            return Result({f"{item.stem}.png": encode_image(answer)}, {"marks": []})
        return Result({}, {"marks": [list(mark) for mark in answer]})

    @override
    def finish(self, done: Sequence[Mapping[str, Any]], failed: Mapping[str, str]) -> None:
        if self.scribble_run.kind != "scribble" and done:
            now: dict[str, Any] = {line["stem"]: line["marks"] for line in done}
            held = read_manifest(self.out / self.manifest, self.verb, self.item_field)  # of other lists, too
            others = [entry for entry in held.entries.values() if entry.asked == held.id and not entry.error]
            table = {entry.name: entry.line["marks"] for entry in others if entry.name not in now} | now
            write = write_points if self.scribble_run.kind == "point" else write_boxes
            write_text(self.out / TABLE[self.scribble_run.kind], write(table))


def _folders(pairs: list[Pair]) -> set[Path]:
    return {path.parent for pair in pairs for path in (pair.image, pair.mask)}
