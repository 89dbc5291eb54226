"""A folder of pictures with sparse labels: bad ones are told and passed over, a stopped run goes on."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from typing_extensions import override

from vns_sam.data.pairs import picture_folder, picture_folders
from vns_sam.data.sparse import SparseLabel, SparseLabels
from vns_sam.data.splits import split_pictures
from vns_sam.errors import DataError, UsageError
from vns_sam.images.read import file_digest, read_image
from vns_sam.images.write import encode_image
from vns_sam.inference.folder import list_folder
from vns_sam.inference.load import on_device, to_device
from vns_sam.labelling.fusion import HIGH, measure
from vns_sam.labelling.labeller import FusedLabel, LabelSettings, label_picture, resolved
from vns_sam.labelling.maps import decode_map, encode_map, map_path
from vns_sam.labelling.records import LINES
from vns_sam.labelling.store import LabelStore
from vns_sam.runs.job import Job, Result
from vns_sam.runs.manifest import digest, read_manifest
from vns_sam.types import PromptableModel

Models = tuple[PromptableModel, PromptableModel | None]
"""The model that is asked, and the student."""


@dataclass(frozen=True)
class LabelRun:
    """What to label.

    Attributes:
        folder: Where the pictures are.
        names: The pictures, relative to ``folder``.
        labels: Their sparse labels.
        out: The store.
        settings: How.
        left_out: What else lies beside the pictures, by kind.
        beside: Folders of pictures of the set's other splits.
    """

    folder: Path
    names: tuple[str, ...]
    labels: SparseLabels
    out: Path
    settings: LabelSettings = field(default_factory=LabelSettings)
    left_out: str = ""
    beside: tuple[Path, ...] = ()

    def find(self, name: str) -> Path:
        """Where a picture of the set is by its name; in ``folder`` where it is gone."""
        places = [folder / name for folder in (self.folder, *self.beside)]
        return next((path for path in places if path.is_file()), places[0])


def plan_run(
    images: Path, labels: Path, out: Path, settings: LabelSettings | None = None, split: str | None = None
) -> LabelRun:
    """Finds pictures and labels and checks that the store may be written. Label maps and results that lie in the folder
    of pictures are none.

    Args:
        images: A folder of pictures, or a set with images/.
        labels: See :class:`vns_sam.data.sparse.SparseLabels`.
        out: The store.
        settings: How; the defaults when omitted.
        split: Only the pictures of this split, see :func:`vns_sam.data.splits.split_pictures`.

    Raises:
        DataError: There is no picture, label or list.
        UsageError: The output is the folder of the pictures or of the labels.
    """
    if not images.is_dir():
        raise DataError(f"expected a folder of pictures at {images}, found no folder there")
    folder, stems = (picture_folder(images), None) if split is None else split_pictures(images, split)
    if out.resolve() in (images.resolve(), folder.resolve(), labels.resolve()):
        raise UsageError(f"expected --out beside the pictures and labels, found {out}", hint="--out pseudo")
    listing = list_folder(folder, out, labels)
    names = [name for name in listing.names if stems is None or Path(name).stem in stems]
    if not names:
        raise DataError(f"expected pictures of the list '{split}' in {folder}, found none of them")
    known = SparseLabels(labels)
    known.follow(folder, names)
    left_out, beside = listing.told(), tuple(each for each in picture_folders(images) if each != folder)
    return LabelRun(folder, tuple(names), known, out, settings or LabelSettings(), left_out, beside)


@dataclass(frozen=True)
class Labelled:
    """What was found for one picture.

    Attributes:
        kind: Of its sparse label.
        found: The joined answers.
    """

    kind: str
    found: FusedLabel


@dataclass
class LabelJob(Job[str]):
    """Labels the pictures of a folder; a line is a :class:`vns_sam.labelling.store.Record`.

    Attributes:
        label_run: What to label.
        load: Gives the model that is asked and the student, see :func:`vns_sam.labelling.labeller.label_picture`, or
            None for it; called once in each process, when they are first needed.
    """

    label_run: LabelRun
    load: Callable[[], Models]

    verb: ClassVar[str] = "pseudo-label"
    manifest: ClassVar[str] = LINES
    timed: ClassVar[bool] = True

    @cached_property
    def models(self) -> Models:
        """The models, loaded when they are first needed."""
        return self.load()

    @property
    @override
    def out(self) -> Path:
        return self.label_run.out

    @property
    @override
    def items(self) -> Sequence[str]:
        return self.label_run.names

    @property
    @override
    def left_out(self) -> str:
        return self.label_run.left_out

    @override
    def name(self, item: str) -> str:
        return item

    @override
    def inputs(self, item: str) -> Sequence[Path]:
        return [self.label_run.folder / item]

    @override
    def outputs(self, item: str) -> Sequence[str]:
        return [map_path(item)]

    @override
    def asked(self) -> Mapping[str, Any]:
        asked = self.label_run.settings.as_dict()
        del asked["second_look"]  # what it comes to depends on the model, see ``identity``
        return asked

    @override
    def identity(self) -> Mapping[str, Any]:
        return {"models": self._models(), "second_look": self._settings.second_look}

    @override
    def key(self, item: str) -> str:
        return digest([file_digest(self.label_run.folder / item), self.label_run.labels.digest(item)])

    @override
    def read(self, item: str) -> tuple[np.ndarray, SparseLabel]:
        path = self.label_run.folder / item
        image = read_image(path)
        return image, self.label_run.labels.read(item, (image.shape[0], image.shape[1]), picture=path)

    @override
    def work(self, item: str, content: tuple[np.ndarray, SparseLabel]) -> Labelled:
        image, label = content
        model, student = self.models
        return Labelled(label.kind, label_picture(model, image, label, self.label_run.settings, student=student))

    @override
    def encode(self, item: str, answer: Labelled) -> Result:
        found, vote = answer.found, self.label_run.settings.fuse == "vote"
        bytes_ = encode_map(found.fused)
        uncertainty = measure(decode_map(bytes_, found.levels if vote else None), HIGH)
        prompts: dict[str, Any] = {k: v.tolist() for k, v in vars(found.prompts).items() if v is not None}
        answers = [
            {"view": str(a.view), **_rounded(asdict(a.agreement)), "score": round(a.score, 4), "believed": a.believed}
            for a in found.answers
        ]
        fields = {
            "map": map_path(item),
            "height": found.fused.shape[0],
            "width": found.fused.shape[1],
            "kind": answer.kind,
            "levels": found.levels,
            "vote": vote,
            "views": len(found.answers),
            "believed": found.believed,
            "absolute": uncertainty.absolute,
            "relative": _finite(uncertainty.relative),
            "relative_to_all": _finite(uncertainty.relative_to_all),
            "area": round(float((found.fused >= 0.5).mean()), 6),
            "score": round(sum(a.score for a in found.answers) / len(found.answers), 4),
            "prompts": prompts,
            "answers": answers,
            "model": self._models(),
            "settings": self._settings.as_dict(),
        }
        return Result({map_path(item): encode_image(bytes_)}, fields)

    @override
    def portable(self, device: str = "") -> Self:
        run_ = self.label_run
        labels = SparseLabels(run_.labels.path.resolve(), run_.labels.colours)
        labels.follow(run_.folder.resolve(), run_.names)
        settled = replace(run_, folder=run_.folder.resolve(), labels=labels, out=run_.out.resolve())
        return replace(self, label_run=settled, load=_On(self.load, device))

    @cached_property
    def _settings(self) -> LabelSettings:
        """The settings as they are for this model."""
        return resolved(self.label_run.settings, self.models[0])

    def _models(self) -> list[str]:
        """Name and digest of the model, then of the student where there is one."""
        infos = [model.info for model in self.models if model is not None]
        return [text for info in infos for text in (info.name, info.digest)]


def counted(label_run: LabelRun) -> tuple[LabelStore, str]:
    """What of a run's store counts: the labels of the last question, of pictures that the set has.

    Returns:
        The store with these records alone, and in words how many others it holds, "" for none.

    Raises:
        DataError: There is no store.
    """
    manifest = read_manifest(label_run.out / LINES, LabelJob.verb, LabelJob.item_field)
    records = LabelStore(label_run.out).records
    there = {name: record for name, record in records.items() if label_run.find(name).is_file()}
    earlier = sum(not entry.error and entry.asked != manifest.id for entry in manifest.entries.values())
    gone = len(records) - len(there)
    others = {f"of pictures that are not in {label_run.folder}": gone, "of an earlier question": earlier}
    told = ", ".join(f"{count} {what}" for what, count in others.items() if count)
    return LabelStore(label_run.out, there), told


@dataclass(frozen=True)
class _On:
    """Loads models, on a device if one is named."""

    load: Callable[[], Models]
    device: str

    def __call__(self) -> Models:
        models = on_device(self.load, self.device)()
        for model in models:
            to_device(model, self.device)
        return models


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 6) for name, value in values.items()}
