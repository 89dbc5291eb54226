"""A folder of pictures, one after the other: bad ones are told and passed over, a stopped run goes on."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeGuard

from vns_sam.errors import DataError
from vns_sam.formats.outputs import SUFFIX, Format, merge_coco, write_prediction
from vns_sam.images.overlay import draw_overlay
from vns_sam.images.read import file_digest
from vns_sam.images.write import write_image, write_json
from vns_sam.inference.predictor import Predictor
from vns_sam.prompts.validate import make_prompts
from vns_sam.runs.lines import LineFile, read_lines
from vns_sam.sam.checkpoints import model_digest

logger = logging.getLogger(__name__)

MANIFEST = "manifest.jsonl"
COCO_SET = "annotations.json"


@dataclass(frozen=True)
class FolderRun:
    """What to do with a folder.

    Attributes:
        folder: Where the pictures are.
        out: Where results and the manifest go; results of ``a/b.jpg`` are ``a/b_mask.*``.
        prompts: By picture, its path relative to ``folder``; empty for a model that takes none.
        kind: The format of the results.
        overlay: Whether to write ``a/b_overlay.jpg`` as well.
    """

    folder: Path
    out: Path
    prompts: Mapping[str, dict[str, Any]]
    kind: Format = "png"
    overlay: bool = False


@dataclass(frozen=True)
class Outcome:
    """What became of one picture; one line of the manifest.

    Attributes:
        image: Its path relative to the folder.
        key: Digest of what was asked: when it changes, the picture is done again.
        outputs: Files relative to the output folder.
        scores: Predicted IoU of each object.
        seconds: For reading, predicting and writing.
        error: Why it failed, or "".
        skipped: Whether it was done by an earlier run.
    """

    image: str
    key: str
    outputs: tuple[str, ...] = ()
    scores: tuple[float, ...] = ()
    seconds: float = 0.0
    error: str = ""
    skipped: bool = False


def segment_folder(predictor: Predictor, run: FolderRun) -> Iterator[Outcome]:
    """Segments each picture that has prompts, yielding as it goes.

    Every finished picture is a line in ``out/manifest.jsonl``. Started again, pictures whose results are
    there and were made by the same model from the same picture and prompts are skipped. After a COCO run,
    ``out/annotations.json`` holds all pictures together.

    Raises:
        DataError: ``out`` cannot be written; a picture that fails raises nothing.
    """
    manifest = run.out / MANIFEST
    done = _read_manifest(manifest)
    asked_of = [model_digest(predictor.model), predictor.second_look]
    outcomes = []
    with LineFile(manifest) as lines:
        for name in run.prompts:
            outcome = _segment(predictor, run, name, done.get(name), asked_of)
            if not outcome.error and not outcome.skipped:
                lines.add(asdict(outcome))
            outcomes.append(outcome)
            yield outcome
    if run.kind == "coco":
        files = [run.out / outcome.outputs[0] for outcome in outcomes if outcome.outputs]
        write_json(run.out / COCO_SET, merge_coco(files))


def _segment(
    predictor: Predictor, run: FolderRun, name: str, before: Mapping[str, Any] | None, asked_of: list[Any]
) -> Outcome:
    start = time.perf_counter()
    key = ""
    try:
        key = _key(asked_of, run, name)
        if _is_done(before, key, run.out):
            return Outcome(name, key, tuple(before["outputs"]), skipped=True)
        image = predictor.set_image(run.folder / name)
        given = run.prompts[name]
        prompts = make_prompts(*image.shape[:2], **given) if given else None
        prediction = predictor.predict_prompts(prompts) if prompts else predictor.predict()
        stem = (run.out / name).with_suffix("")
        path = stem.with_name(f"{stem.name}_mask{SUFFIX[run.kind]}")
        outputs = write_prediction(path, prediction, run.kind, image_name=name)
        if run.overlay:
            outputs = [*outputs, stem.with_name(f"{stem.name}_overlay.jpg")]
            write_image(outputs[-1], draw_overlay(image, prediction.masks, prompts))
    except DataError as error:
        logger.info("%s failed: %s", name, error)
        return Outcome(name, key, error=error.message)
    return Outcome(
        name,
        key,
        tuple(str(output.relative_to(run.out)) for output in outputs),
        tuple(round(float(score), 4) for score in prediction.scores),
        round(time.perf_counter() - start, 3),
    )


def _key(asked_of: list[Any], run: FolderRun, name: str) -> str:
    picture = file_digest(run.folder / name)
    asked = json.dumps([asked_of, run.kind, run.overlay, run.prompts[name], picture], sort_keys=True)
    return hashlib.sha256(asked.encode()).hexdigest()[:16]


def _is_done(line: Mapping[str, Any] | None, key: str, out: Path) -> TypeGuard[Mapping[str, Any]]:
    return line is not None and line["key"] == key and all((out / output).is_file() for output in line["outputs"])


def _read_manifest(path: Path) -> dict[str, dict[str, Any]]:
    """Lines of earlier runs by picture; a line that was cut off is passed over."""
    return {line["image"]: line for line in read_lines(path)}
