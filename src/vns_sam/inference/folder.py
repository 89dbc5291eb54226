"""A folder of pictures: each is segmented with its prompts, bad ones are told, a stopped run goes on."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from typing_extensions import override

from vns_sam.errors import DataError
from vns_sam.formats import alpha, candidates, registry
from vns_sam.formats import result as formats
from vns_sam.formats.annotation import MALFORMED
from vns_sam.images.find import Listing, list_images
from vns_sam.images.overlay import draw_overlay, encode_overlay
from vns_sam.images.read import file_digest, read_image
from vns_sam.inference.answers import soften, weight_of_answers
from vns_sam.inference.load import on_device, to_device
from vns_sam.inference.predictor import Predictor
from vns_sam.prompts.validate import count_objects, make_prompts
from vns_sam.runs.job import MANIFEST, Job, Result
from vns_sam.runs.lines import read_lines
from vns_sam.runs.manifest import digest, is_inside, read_manifest
from vns_sam.runs.memory import BYTES_A_PIXEL
from vns_sam.runs.plan import distinct_stems
from vns_sam.types import Prediction, Prompts

CLASSES = "classes"
"""Note of a manifest: the classes by number that its files have."""

STEM = "stem"
"""Field of a picture's line in the manifest: what the names of its results begin with."""
RESULTS = {MANIFEST: "segment", "labels.jsonl": "pseudo-label"}
"""The manifests, and whose they are, of folders of results that may lie among the pictures that they were made of."""


@dataclass(frozen=True)
class FolderRun:
    """What to do with a folder.

    Attributes:
        folder: Where the pictures are.
        out: Where results and the manifest go; results of ``a/b.jpg`` are ``a/b_mask.*``, of two pictures that
            differ in their ending alone ``a/b_jpg_mask.*`` and ``a/b_png_mask.*``.
        prompts: By picture, its path relative to ``folder``; empty for a model that takes none.
        formats: Of the results, see :data:`vns_sam.formats.registry.FORMATS`.
        overlay: Whether to write ``a/b_overlay.jpg`` as well.
        categories: Classes by number; those of ``prompts`` that it lacks are added, so that files of the whole run name
            every number that a picture has.
        simplify: Outlines may leave the pixel edges by so many pixels.
    """

    folder: Path
    out: Path
    prompts: Mapping[str, dict[str, Any]]
    formats: tuple[str, ...] = ("png",)
    overlay: bool = False
    categories: Mapping[int, str] = field(default_factory=lambda: {1: formats.OBJECT})
    simplify: float = 0.0

    def __post_init__(self) -> None:
        names = [name for entry in self.prompts.values() for name in _classes(entry)]
        object.__setattr__(self, "categories", formats.categories_for(names, self.categories))


def _classes(entry: Mapping[str, Any]) -> list[str]:
    """The classes that the prompts of a picture name, "" where they name none."""
    given = entry.get("classes")
    return [str(name or "") for name in given] if isinstance(given, list | tuple) else [""]


@dataclass(frozen=True)
class Segmented:
    """A picture with what was found in it."""

    image: np.ndarray
    prompts: Prompts | None
    prediction: Prediction


@dataclass
class SegmentJob(Job[str]):
    """Segments the pictures of a folder.

    Attributes:
        folder_run: What to do.
        load: Makes the predictor, once in each process, when it is first needed; picklable where others work.
    """

    folder_run: FolderRun
    load: Callable[[], Predictor]
    _digests: dict[str, str] = field(default_factory=dict, init=False, repr=False, compare=False)

    verb: ClassVar[str] = "segment"
    shares_folder: ClassVar[bool] = True
    timed: ClassVar[bool] = True

    @cached_property
    def predictor(self) -> Predictor:
        """The predictor, loaded when it is first needed."""
        return self.load()

    @property
    @override
    def out(self) -> Path:
        return self.folder_run.out

    @cached_property
    def categories(self) -> Mapping[int, str]:
        """Classes by number; those that results in the output have keep their numbers, whoever asks for the next."""
        return formats.go_on_with(self._numbered_before(), self.folder_run.categories)

    @cached_property
    @override
    def items(self) -> Sequence[str]:
        return [name for name in self.folder_run.prompts if name not in self.refused]

    @cached_property
    @override
    def refused(self) -> Mapping[str, str]:
        folder = self.folder_run.folder
        outside = f"expected a picture inside of {folder}, found"
        found = {}
        for name in self.folder_run.prompts:
            if not is_inside(name):
                found[name] = f"{outside} {name}"
            elif not os.path.exists(folder / name):
                found[name] = f"no image at {folder / name}"
        return found

    @override
    def name(self, item: str) -> str:
        return item

    @override
    def inputs(self, item: str) -> Sequence[Path]:
        return [self.folder_run.folder / item]

    @override
    def weight(self, item: str) -> int:
        picture, given = super().weight(item), self.folder_run.prompts[item]
        info, candidates_too = self.predictor.model.info, candidates.NAME in self.folder_run.formats
        asked = {"masks": given.get("masks") is not None, "candidates": candidates_too}
        return picture + weight_of_answers(info, picture // BYTES_A_PIXEL, count_objects(given), **asked)

    @override
    def outputs(self, item: str) -> Sequence[str]:
        plan = self._plan(item, count_objects(self.folder_run.prompts[item]))
        files = [name for names in plan.values() for name in names]
        return [*files, self._overlay(item)] if self.folder_run.overlay else files

    @override
    def closing(self) -> Sequence[str]:
        return registry.plan_set(self.folder_run.formats, self.categories)

    @override
    def asked(self) -> Mapping[str, Any]:
        asked = {"format": " ".join(self.folder_run.formats), "overlay": self.folder_run.overlay}
        return {**asked, "simplify": self.folder_run.simplify} if self.folder_run.simplify else asked

    @override
    def noted(self) -> Mapping[str, Any]:
        if not registry.numbers_classes(self.folder_run.formats):
            return {}
        return {CLASSES: {str(number): name for number, name in self.categories.items()}}

    @override
    def identity(self) -> Mapping[str, Any]:
        info = self.predictor.model.info
        run_by = {} if info.backend == "torch" else {"backend": info.backend}
        return {"model": info.name, "weights": info.digest, **run_by, **self.predictor.asks}

    @override
    def key(self, item: str) -> str:
        self._digests[item] = file_digest(self.folder_run.folder / item)
        return digest([self._digests[item], self.folder_run.prompts[item]])

    @override
    def read(self, item: str) -> tuple[np.ndarray, Prompts | None]:
        image = read_image(self.folder_run.folder / item)
        given = self.folder_run.prompts[item]
        return image, make_prompts(*image.shape[:2], **given) if given else None

    @override
    def work(self, item: str, content: tuple[np.ndarray, Prompts | None]) -> Segmented:
        image, prompts = content
        self.predictor.hold(image)
        found = self.predictor.predict_prompts(prompts, multimask=candidates.NAME in self.folder_run.formats)
        if alpha.NAME in self.folder_run.formats:
            soften(self.predictor.model, found)
        return Segmented(image, prompts, found)

    @override
    def encode(self, item: str, answer: Segmented) -> Result:
        found, run = answer.prediction, self.folder_run
        source = run.folder / item
        result = formats.Result(item, found, self.categories, source, run.out, answer.image, run.simplify)
        files = registry.encode(result, self._plan(item, len(found)))
        if self.folder_run.overlay:
            overlay = draw_overlay(answer.image, found.pieces, answer.prompts)
            files[self._overlay(item)] = encode_overlay(overlay)
        line: dict[str, Any] = {STEM: self._stems[item]}
        line["scores"] = [round(float(score), 4) for score in found.scores]
        if found.candidates is not None:
            line["candidates"] = formats.candidate_scores(found)
        if item in self._digests:
            line["picture"] = self._digests.pop(item)
        if found.classes is not None:
            line["classes"] = list(found.classes)
        if run.simplify:
            line["outline_iou"] = [round(iou, 4) for iou in formats.outline_ious(result)]
        return Result(files, line)

    @override
    def corrects(self, item: str, line: Mapping[str, Any]) -> bool:
        return line.get("picture") == file_digest(self.folder_run.folder / item)

    @override
    def finish(self, done: Sequence[Mapping[str, Any]], failed: Mapping[str, str]) -> None:
        for kind in self.folder_run.formats:
            if registry.merges(kind):
                contents = [(self.out / self._planned_then(line)[kind][0]).read_bytes() for line in done]
                registry.write_files(self.out, registry.merge(kind, contents, self.categories))

    @override
    def portable(self, device: str = "") -> Self:
        folder, out = self.folder_run.folder.resolve(), self.out.resolve()
        settled = replace(self.folder_run, folder=folder, out=out, categories=self.categories)
        return replace(self, folder_run=settled, load=_On(self.load, device))

    def _numbered_before(self) -> dict[int, str]:
        """The classes by number that results in the output have, where they and those to come hold numbers."""
        if not registry.numbers_classes(self.folder_run.formats):
            return {}
        path = self.out / MANIFEST
        earlier = read_manifest(path, self.verb, self.item_field)
        if not any(entry.files for entry in earlier.entries.values()):
            return {}
        told = earlier.asked.get(CLASSES, {})
        try:
            return {int(number): str(name) for number, name in told.items()}
        except MALFORMED:
            raise DataError(
                f"expected classes by number in {path}, found {str(told)[:60]}", hint="choose another --out"
            ) from None

    @cached_property
    def _stems(self) -> Mapping[str, str]:
        return distinct_stems(tuple(self.items))

    def _plan(self, item: str, objects: int, stem: str | None = None) -> dict[str, list[str]]:
        return registry.plan_outputs(item, self.folder_run.formats, objects, stem=stem or self._stems[item])

    def _planned_then(self, line: Mapping[str, Any]) -> dict[str, list[str]]:
        """Names of a picture's files when its line was written: pictures of its stem may have come or gone since."""
        return self._plan(line[self.item_field], 1, line.get(STEM))

    def _overlay(self, item: str) -> str:
        return f"{self._stems[item]}_overlay.jpg"


@dataclass(frozen=True)
class _On:
    """Loads a predictor, on a device if one is named."""

    load: Callable[[], Predictor]
    device: str

    def __call__(self) -> Predictor:
        predictor = on_device(self.load, self.device)()
        to_device(predictor.model, self.device)
        return predictor


def list_folder(folder: Path, *others: Path) -> Listing:
    """The pictures of a folder, without those that earlier runs made of them.

    Args:
        folder: Where to look.
        others: What is no folder of pictures though it may lie in there, such as the output.

    Raises:
        DataError: There is none.
    """
    places = {os.path.realpath(other) for other in others}
    return list_images(folder, lambda path: os.path.realpath(path) in places or holds_results(path))


def holds_results(folder: Path) -> bool:
    """Whether a folder is the output of a run that makes pictures of pictures, see :data:`RESULTS`."""
    return any(_verb_of(folder / manifest) == verb for manifest, verb in RESULTS.items())


def _verb_of(manifest: Path) -> str:
    """Whose manifest it is, "" where there is none."""
    try:
        return str(next(iter(read_lines(manifest)), {}).get("run", ""))
    except DataError:
        return ""
