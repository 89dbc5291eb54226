"""A folder of pictures with sparse labels: bad ones are told and passed over, a stopped run goes on."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from vns_sam.data.pairs import list_stems, picture_folder
from vns_sam.data.sparse import SparseLabels
from vns_sam.errors import DataError, UsageError
from vns_sam.images.read import find_images, read_image
from vns_sam.images.write import check_writable
from vns_sam.labelling.labeller import FusedLabel, LabelSettings, label_picture
from vns_sam.labelling.store import LINES, Record, read_records, write_map, write_records
from vns_sam.sam.checkpoints import model_digest
from vns_sam.types import PromptableModel
from vns_sam.ws.model import WsSamModel

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelRun:
    """What to label.

    Attributes:
        folder: Where the pictures are.
        names: The pictures, relative to ``folder``.
        labels: Their sparse labels.
        out: The store.
        settings: How.
    """

    folder: Path
    names: tuple[str, ...]
    labels: SparseLabels
    out: Path
    settings: LabelSettings = field(default_factory=LabelSettings)


@dataclass(frozen=True)
class Outcome:
    """What became of one picture.

    Attributes:
        image: Its path relative to the folder.
        record: Its line in the store, None where it failed.
        error: Why it failed, or "".
        skipped: Whether it was done by an earlier run.
    """

    image: str
    record: Record | None = None
    error: str = ""
    skipped: bool = False


def plan_run(
    images: Path, labels: Path, out: Path, settings: LabelSettings | None = None, split: str | None = None
) -> LabelRun:
    """Finds pictures and labels and checks that the store may be written.

    Args:
        images: A folder of pictures, or a set with images/.
        labels: See :class:`vns_sam.data.sparse.SparseLabels`.
        out: The store.
        settings: How; the defaults when omitted.
        split: Only the pictures in ``<images>/<split>.txt``.

    Raises:
        DataError: There is no picture, label or list, or the output holds something else than a store.
        UsageError: The output is the folder of the pictures or of the labels.
    """
    if not images.is_dir():
        raise DataError(f"expected a folder of pictures at {images}, found no folder there")
    folder = picture_folder(images)
    if out.resolve() in (images.resolve(), folder.resolve(), labels.resolve()):
        raise UsageError(f"expected --out beside the pictures and labels, found {out}", hint="--out pseudo")
    check_writable(out / LINES)
    if out.is_dir() and any(out.iterdir()) and not (out / LINES).is_file():
        raise DataError(f"expected a new folder at {out}, found other files", hint="choose another with --out")
    names = find_images(folder)
    if split is not None:
        names = _of_split(names, images / f"{split}.txt")
    return LabelRun(folder, tuple(names), SparseLabels(labels), out, settings or LabelSettings())


@dataclass(frozen=True)
class _Asked:
    """Who labels: the model, and the student that adds points or None."""

    model: PromptableModel
    student: WsSamModel | None

    def identity(self) -> list[str]:
        models = [self.model] if self.student is None else [self.model, self.student]
        return [text for model in models for text in (model.name, model_digest(model))]


def label_folder(model: PromptableModel, run: LabelRun, student: WsSamModel | None = None) -> Iterator[Outcome]:
    """Labels each picture, yielding as it goes.

    Every finished picture is a map and a line in ``out/labels.jsonl``. Started again, pictures whose map is there and
    was made by the same model from the same picture and label in the same way are skipped. A picture that fails has no
    line in the end; pictures that this run does not ask for keep theirs.

    Args:
        model: Who is asked.
        run: What to label.
        student: See :func:`vns_sam.labelling.labeller.label_picture`.

    Raises:
        DataError: ``out`` cannot be written; a picture that fails raises nothing.
    """
    lines_path = run.out / LINES
    run.out.mkdir(parents=True, exist_ok=True)
    earlier = read_records(lines_path)
    asked = _Asked(model, student)
    identity = asked.identity()
    done: dict[str, Record] = {}
    with lines_path.open("a", encoding="utf-8") as lines:
        if lines.tell():
            lines.write("\n")  # a killed run may have left half a line
        for name in run.names:
            outcome = _label(asked, identity, run, name, earlier.get(name))
            if outcome.record is not None:
                done[name] = outcome.record
                if not outcome.skipped:
                    lines.write(outcome.record.line())
                    lines.flush()
            yield outcome
    others = {name: record for name, record in earlier.items() if name not in run.names}
    write_records(lines_path, [*others.values(), *done.values()])


def _label(asked: _Asked, identity: list[str], run: LabelRun, name: str, earlier: Record | None) -> Outcome:
    start = time.perf_counter()
    path = run.folder / name
    try:
        key = _key(path, [identity, run.labels.digest(name), run.settings.as_dict()])
        if earlier is not None and earlier.key == key and (run.out / earlier.map).is_file():
            return Outcome(name, earlier, skipped=True)
        image = read_image(path)
        label = run.labels.read(name, (image.shape[0], image.shape[1]))
        found = label_picture(asked.model, image, label, run.settings, student=asked.student)
        record = _record(run, name, key, label.kind, found, identity, start)
    except DataError as error:
        logger.info("%s failed: %s", name, error)
        message = error.message if name in error.message else f"{name}: {error.message}"
        return Outcome(name, error=message)
    return Outcome(name, record)


def _record(
    run: LabelRun, name: str, key: str, kind: str, found: FusedLabel, identity: list[str], start: float
) -> Record:
    """Writes the map; the line that tells of it comes after."""
    vote = run.settings.fuse == "vote"
    path, uncertainty = write_map(run.out, name, found.fused, found.levels if vote else None)
    prompts: dict[str, Any] = {k: v.tolist() for k, v in vars(found.prompts).items() if v is not None}
    answers = [
        {"view": str(a.view), **_rounded(asdict(a.agreement)), "score": round(a.score, 4), "believed": a.believed}
        for a in found.answers
    ]
    return Record(
        image=name,
        key=key,
        map=path,
        height=found.fused.shape[0],
        width=found.fused.shape[1],
        kind=kind,
        levels=found.levels,
        vote=vote,
        views=len(found.answers),
        believed=found.believed,
        absolute=uncertainty.absolute,
        relative=_finite(uncertainty.relative),
        relative_to_all=_finite(uncertainty.relative_to_all),
        area=round(float((found.fused >= 0.5).mean()), 6),
        score=round(sum(a.score for a in found.answers) / len(found.answers), 4),
        prompts=prompts,
        answers=answers,
        model=identity,
        settings=run.settings.as_dict(),
        seconds=round(time.perf_counter() - start, 3),
    )


def _key(path: Path, asked: list[Any]) -> str:
    try:
        picture = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None
    text = json.dumps([picture, *asked], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _of_split(names: list[str], path: Path) -> list[str]:
    try:
        stems = set(list_stems(path))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"expected a list of pictures at {path}: {error}") from None
    chosen = [name for name in names if Path(name).stem in stems]
    if not chosen:
        raise DataError(f"expected pictures of {path}, found none of them")
    return chosen


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 6) for name, value in values.items()}
