"""Sparse labels for a set, simulated from its masks: bad masks are told and passed over, a stopped run goes on."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vns_sam.data.pairs import Pair, find_pairs, read_mask
from vns_sam.data.sparse import Kind, write_boxes, write_points
from vns_sam.data.synthesis.scribbles import annotation_rng, draw_boxes, draw_points, draw_scribbles
from vns_sam.errors import DataError, UsageError
from vns_sam.images.read import file_digest
from vns_sam.images.write import write_image, write_text
from vns_sam.runs.manifest import check_output, extended_manifest, read_manifest, write_manifest

logger = logging.getLogger(__name__)

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
    """

    out: Path
    pairs: tuple[Pair, ...]
    broken: dict[str, str]
    kind: Kind = "scribble"
    seed: int = 0


@dataclass(frozen=True)
class Outcome:
    """What became of one picture; a finished one is a line of the manifest.

    Attributes:
        stem: Of the picture.
        key: Digest of what was asked: when it changes, the picture is done again.
        marks: Points (x, y, label) or boxes XYXY; empty for scribbles.
        error: Why it failed, or "".
        skipped: Whether it was done by an earlier run.
    """

    stem: str
    key: str = ""
    marks: tuple[tuple[float, ...], ...] = ()
    error: str = ""
    skipped: bool = False


def plan_run(source: Path, out: Path, kind: Kind = "scribble", seed: int = 0, split: str | None = None) -> ScribbleRun:
    """Finds the masks and checks that the output may be written.

    Raises:
        DataError: The set has no picture, or the output holds labels of another kind or something else.
        UsageError: The output is the set or one of its folders.
    """
    broken: dict[str, str] = {}
    pairs = find_pairs(source, split, broken=broken)
    if out.resolve() in {source.resolve(), *(folder.resolve() for folder in _folders(pairs))}:
        raise UsageError(f"expected --out beside the pictures and masks, found {out}", hint=f"--out {source}_{kind}")
    check_output(out)
    held = {path.name for path in out.iterdir()} if out.is_dir() else set()
    others = {name for of, name in TABLE.items() if of != kind} | (set() if kind == "scribble" else {".png"})
    wrong = sorted(name for name in held if name in others or Path(name).suffix in others)
    if wrong:
        raise DataError(f"expected labels of the kind '{kind}' in {out}, found {wrong[0]}", hint="one folder each kind")
    return ScribbleRun(out, tuple(pairs), broken, kind, seed)


def annotate_set(run: ScribbleRun) -> Iterator[Outcome]:
    """Draws the label of each picture, yielding as it goes; a table is written when all are done.

    Every finished picture is a line in ``out/manifest.jsonl``. Started again, labels that are there and were drawn from
    the same mask in the same way are skipped.

    Raises:
        DataError: ``out`` cannot be written; a picture that fails raises nothing.
    """
    earlier = {outcome.stem: outcome for outcome in read_manifest(run.out, _remembered)}
    finished = []
    yield from (Outcome(stem, error=reason) for stem, reason in run.broken.items())
    with extended_manifest(run.out) as add:
        for pair in run.pairs:
            outcome = _annotate(pair, run, earlier.get(pair.stem))
            add(outcome)
            if not outcome.error:
                finished.append(outcome)
            yield outcome
    write_manifest(run.out, finished)
    if run.kind != "scribble" and finished:
        table: dict[str, Any] = {outcome.stem: outcome.marks for outcome in finished}
        write_text(run.out / TABLE[run.kind], write_points(table) if run.kind == "point" else write_boxes(table))


def _annotate(pair: Pair, run: ScribbleRun, earlier: Outcome | None) -> Outcome:
    path = run.out / f"{pair.stem}.png"
    marks: Any = ()
    try:
        key = _key(pair, run)
        if earlier and earlier.key == key and (run.kind != "scribble" or path.is_file()):
            return Outcome(pair.stem, key, earlier.marks, skipped=True)
        mask, rng = read_mask(pair.mask), annotation_rng(pair.dataset, pair.stem, run.seed)
        if run.kind == "scribble":
            write_image(path, draw_scribbles(mask, rng))
        else:
            marks = draw_points(mask, rng) if run.kind == "point" else draw_boxes(mask, rng)
    except DataError as error:
        logger.info("%s failed: %s", pair.stem, error)
        return Outcome(pair.stem, error=f"{pair.mask}: {error.message}")
    return Outcome(pair.stem, key, tuple(tuple(mark) for mark in marks))


def _folders(pairs: list[Pair]) -> set[Path]:
    return {path.parent for pair in pairs for path in (pair.image, pair.mask)}


def _key(pair: Pair, run: ScribbleRun) -> str:
    asked = json.dumps([file_digest(pair.mask), pair.dataset, pair.stem, run.kind, run.seed])
    return hashlib.sha256(asked.encode()).hexdigest()[:16]


def _remembered(values: dict[str, Any]) -> Outcome:
    return Outcome(values["stem"], values["key"], tuple(tuple(mark) for mark in values["marks"]))
