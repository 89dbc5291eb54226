"""A folder of pictures with sparse labels: bad ones are told and passed over, a stopped run goes on."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from vns_sam.data.pairs import list_stems, picture_folder
from vns_sam.data.sparse import SparseLabels
from vns_sam.errors import DataError, UsageError
from vns_sam.images.read import file_digest, find_images, read_image
from vns_sam.images.write import check_writable
from vns_sam.labelling.labeller import FusedLabel, LabelSettings, label_picture
from vns_sam.labelling.store import LINES, Record, read_records, write_map, write_records
from vns_sam.runs.lines import LineFile
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
class Labelled:
    """What was found for one picture, before it is written.

    Attributes:
        image: Its path relative to the folder.
        kind: Of its sparse label.
        found: The joined answers, None where it failed.
        error: Why it failed, or "".
        seconds: For reading, asking and joining.
    """

    image: str
    kind: str = ""
    found: FusedLabel | None = None
    error: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class PictureLabeller:
    """Labels one picture of a run; it writes nothing, so that it can work anywhere.

    Attributes:
        model: Who is asked.
        run: What to label.
        student: See :func:`vns_sam.labelling.labeller.label_picture`.
    """

    model: PromptableModel
    run: LabelRun
    student: WsSamModel | None = None

    def identity(self) -> list[str]:
        """Name and digest of the model, then of the student where there is one."""
        models = [self.model] if self.student is None else [self.model, self.student]
        return [text for model in models for text in (model.name, model_digest(model))]

    def __call__(self, name: str) -> Labelled:
        """Labels the picture ``name``; if it cannot be used, the result says why."""
        start = time.perf_counter()
        try:
            image = read_image(self.run.folder / name)
            label = self.run.labels.read(name, (image.shape[0], image.shape[1]))
            found = label_picture(self.model, image, label, self.run.settings, student=self.student)
        except DataError as error:
            return Labelled(name, error=_reason(name, error))
        return Labelled(name, label.kind, found, seconds=time.perf_counter() - start)


Mapper = Callable[[PictureLabeller, Sequence[str]], Iterable[Labelled]]
"""Applies a labeller to names of pictures and gives what it finds, in any order, as it is found."""


def label_folder(
    model: PromptableModel, run: LabelRun, student: WsSamModel | None = None, mapper: Mapper = map
) -> Iterator[Outcome]:
    """Labels each picture, yielding as it goes.

    Every finished picture is a map and a line in ``out/labels.jsonl``. Started again, pictures whose map is there and
    was made by the same model from the same picture and label in the same way are skipped; they are told first. A
    picture that fails has no line in the end; pictures that this run does not ask for keep theirs.

    Args:
        model: Who is asked.
        run: What to label.
        student: See :func:`vns_sam.labelling.labeller.label_picture`.
        mapper: Who does the work: ``map`` labels one picture after the other in this process.

    Raises:
        DataError: ``out`` cannot be written; a picture that fails raises nothing.
    """
    lines_path = run.out / LINES
    earlier = read_records(lines_path)
    labeller = PictureLabeller(model, run, student)
    identity = labeller.identity()
    keys: dict[str, str] = {}
    done: dict[str, Record] = {}
    for name in run.names:
        try:
            keys[name] = _key(run, name, identity)
        except DataError as error:
            yield Outcome(name, error=_reason(name, error))
            continue
        record = earlier.get(name)
        if record is not None and record.key == keys[name] and (run.out / record.map).is_file():
            done[name] = record
            yield Outcome(name, record, skipped=True)
    with LineFile(lines_path, allow_nan=False) as lines:
        for labelled in mapper(labeller, [name for name in keys if name not in done]):
            outcome = _write(run, keys[labelled.image], labelled, identity)
            if outcome.record is not None:
                done[outcome.image] = outcome.record
                lines.add(asdict(outcome.record))
            yield outcome
    asked = set(run.names)
    others = [record for name, record in earlier.items() if name not in asked]
    write_records(lines_path, [*others, *(done[name] for name in run.names if name in done)])


def _write(run: LabelRun, key: str, labelled: Labelled, identity: list[str]) -> Outcome:
    if labelled.found is None:
        logger.info("%s failed: %s", labelled.image, labelled.error)
        return Outcome(labelled.image, error=labelled.error)
    try:
        return Outcome(labelled.image, _record(run, key, labelled, labelled.found, identity))
    except DataError as error:
        return Outcome(labelled.image, error=_reason(labelled.image, error))


def _record(run: LabelRun, key: str, labelled: Labelled, found: FusedLabel, identity: list[str]) -> Record:
    """Writes the map; the line that tells of it comes after."""
    vote = run.settings.fuse == "vote"
    path, uncertainty = write_map(run.out, labelled.image, found.fused, found.levels if vote else None)
    prompts: dict[str, Any] = {k: v.tolist() for k, v in vars(found.prompts).items() if v is not None}
    answers = [
        {"view": str(a.view), **_rounded(asdict(a.agreement)), "score": round(a.score, 4), "believed": a.believed}
        for a in found.answers
    ]
    return Record(
        image=labelled.image,
        key=key,
        map=path,
        height=found.fused.shape[0],
        width=found.fused.shape[1],
        kind=labelled.kind,
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
        seconds=round(labelled.seconds, 3),
    )


def _reason(name: str, error: DataError) -> str:
    return error.message if name in error.message else f"{name}: {error.message}"


def _key(run: LabelRun, name: str, identity: list[str]) -> str:
    """Digest of picture, label, models and settings: all that the map depends on."""
    picture = file_digest(run.folder / name)
    text = json.dumps([picture, identity, run.labels.digest(name), run.settings.as_dict()], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _of_split(names: list[str], path: Path) -> list[str]:
    stems = set(list_stems(path))
    chosen = [name for name in names if Path(name).stem in stems]
    if not chosen:
        raise DataError(f"expected pictures of {path}, found none of them")
    return chosen


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 6) for name, value in values.items()}
