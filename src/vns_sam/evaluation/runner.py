"""Measures a model picture by picture: encode once, prompt every object in every way, score in worker processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from vns_sam.data.pairs import Pair, check_same_size, find_pairs, pair_digest, read_instances, read_mask
from vns_sam.errors import DataError, PromptError
from vns_sam.evaluation.frames import Frame, Resize, frame
from vns_sam.evaluation.protocol import Protocol, draw_prompt
from vns_sam.evaluation.rows import Detection, Key, Row, RowStore
from vns_sam.evaluation.saved_maps import SavedMaps
from vns_sam.formats.rle import encode_rle
from vns_sam.images.read import read_image
from vns_sam.inference.answers import Asker
from vns_sam.metrics.iou import iou
from vns_sam.metrics.scoring import ImageScores, Scorer, saliency_map
from vns_sam.prompts.clicks import next_click
from vns_sam.types import SECOND_LOOK, Answers, ImageFeatures, PromptableModel, Prompts, SecondLook

NOC = (0.85, 0.90)
"""IoU that clicks are counted up to."""
MASK_METRICS = ("iou", "biou")
"""What the thresholded mask is enough for; the others want a map."""
_NOTHING = -50.0
"""Logit that is given to pixels that do not count."""


@dataclass(frozen=True)
class Settings:
    """What the numbers depend on beside model, picture and prompt.

    Attributes:
        metrics: See ``vns_sam.metrics.scoring.METRICS``.
        resize: "fit" keeps the aspect, "square" is the authors' way.
        instances: Whether each object of ``masks_instance/`` is asked for by itself, where a set has that folder.
        second_look: Whether small and thin objects are asked about once more in cut-outs; not for clicks. A DIS-SAM
            looks again along uncertain boundaries instead. "auto" is decided for each model.
        precision: Whether masks are kept for average precision, in which objects compete by predicted IoU.
    """

    metrics: tuple[str, ...] = MASK_METRICS
    resize: Resize = "fit"
    instances: bool = False
    second_look: SecondLook = SECOND_LOOK
    precision: bool = False


@dataclass
class Clock:
    """Seconds of a run by what they were spent on; ``metrics`` in the worker processes, the rest in this one."""

    read: float = 0.0
    encode: float = 0.0
    decode: float = 0.0
    metrics: float = 0.0
    wait: float = 0.0


@dataclass(frozen=True)
class Outcome:
    """What became of one picture: nothing to say, done by an earlier run, or why it was passed over."""

    pair: Pair
    done_before: bool = False
    error: str = ""


def scored_pairs(folder: str | Path, split: str | None = None, broken: dict[str, str] | None = None) -> list[Pair]:
    """The pairs of a set that are scored.

    Args:
        folder: The set.
        split: The list to follow, "ns" reads ``ns.txt``; by default ``test.txt``, or all pictures where it has none.
        broken: Receives pictures without mask and listed names without picture, by name with the reason; without it
            they are errors.

    Raises:
        DataError: The set or list is missing or empty, or ``broken`` is not given and something is missing.
    """
    if split is None and (Path(folder) / "test.txt").is_file():
        split = "test"
    return find_pairs(folder, split, broken=broken)


def evaluate(
    model: PromptableModel,
    pairs: Sequence[Pair],
    protocols: Sequence[Protocol],
    settings: Settings,
    store: RowStore,
    *,
    workers: int = 0,
    strict: bool = False,
    clock: Clock | None = None,
    skeletons: Path | None = None,
    maps: SavedMaps | None = None,
) -> Iterator[Outcome]:
    """Scores a model; rows go to the store, pictures whose rows are there already are passed over.

    Args:
        model: The model.
        pairs: Pictures with their true masks.
        protocols: Prompts.
        settings: What is scored.
        store: Receives the rows.
        workers: Processes that score beside this one; 0 scores here.
        strict: Whether a broken pair ends the run.
        clock: Receives the time split.
        skeletons: Folder that keeps the skeletons of true masks, which only HCE needs; None keeps none.
        maps: Receives the predictions; a picture whose maps are not there is asked about again.

    Yields:
        One outcome for each pair, in order.

    Raises:
        DataError: ``strict``, and a picture or mask cannot be read, they differ in size, or a mask is empty.
    """
    clock = clock or Clock()
    asker = Asker.of(model, settings.second_look)
    asked: dict[Key, _Asked] = {}

    def keep(finished: Iterator[tuple[Key, ImageScores, float]]) -> None:
        for key, scores, spent in finished:
            about = asked.pop(key)
            clock.metrics += spent
            values = {**scores.values, **about.clicks}
            kept = ImageScores(values, scores.curves)
            store.add(Row(key, kept, about.seconds, spent, about.detection, about.data))

    with Scorer(settings.metrics, workers, skeletons) as scorer:
        for pair in pairs:
            outcome = Outcome(pair)
            try:
                todo = _open(pair, protocols, settings, store, clock, maps)
                if todo is None:
                    outcome = Outcome(pair, done_before=True)
                else:
                    asked.update(_submit(asker, todo, settings, scorer, clock, maps))
                    if todo.broken:
                        raise DataError(todo.broken[0])
            except DataError as error:
                if strict:
                    raise
                outcome = Outcome(pair, error=error.message)
                store.skip(pair.dataset, pair.stem, error.message)
            keep(scorer.done())
            yield outcome
        start = perf_counter()
        keep(scorer.drain())
        clock.wait += perf_counter() - start


def _submit(
    asker: Asker, todo: _Todo, settings: Settings, scorer: Scorer, clock: Clock, maps: SavedMaps | None
) -> Iterator[tuple[Key, _Asked]]:
    """Asks a model about one picture and hands its answers on to be scored; what else their rows will say."""
    for answer in _ask(asker, todo, clock):
        if todo.ignored is not None:
            answer.logits[todo.ignored] = _NOTHING
        if maps is not None:
            maps.write(answer.key, answer.logits)
        about = answer.about(settings, todo.data)
        start = perf_counter()
        scorer.submit(answer.key, answer.found, _map(answer.logits, settings), answer.truth)
        clock.wait += perf_counter() - start
        yield answer.key, about


@dataclass(frozen=True)
class _Todo:
    """An opened picture with what is still to be asked: prompt and true mask, in the frame and outside it.

    ``ignored`` are pixels (H, W) that count neither as found nor as missed, ``data`` is the digest of the files,
    ``broken`` says of which objects nothing can be asked, and why.
    """

    frame: Frame
    ignored: np.ndarray | None
    data: str
    asked: list[tuple[Key, Protocol, Prompts, np.ndarray, np.ndarray]]
    broken: list[str]


class _Asked(NamedTuple):
    """What is known of an answer before it is scored."""

    seconds: float
    clicks: dict[str, float]
    detection: Detection | None
    data: str


@dataclass(frozen=True)
class _Answer:
    """Logits (H, W) at the original size, the true mask, the predicted IoU, and numbers of clicks."""

    key: Key
    logits: np.ndarray
    truth: np.ndarray
    score: float
    seconds: float
    clicks: dict[str, float]

    @property
    def found(self) -> np.ndarray:
        mask: np.ndarray = self.logits > 0
        return mask

    def about(self, settings: Settings, data: str) -> _Asked:
        detection = None
        if settings.precision:
            detection = Detection(self.score, encode_rle(self.found), encode_rle(self.truth))
        return _Asked(self.seconds, self.clicks, detection, data)


def _open(
    pair: Pair, protocols: Sequence[Protocol], settings: Settings, store: RowStore, clock: Clock, maps: SavedMaps | None
) -> _Todo | None:
    """Reads a picture and draws the prompts that have no row or map yet; None where there is nothing to do."""
    start = perf_counter()
    truths, ignored = true_masks(pair, settings)
    keys = {
        Key(pair.dataset, pair.stem, target, str(protocol)): (protocol, truth)
        for target, truth in truths.items()
        for protocol in protocols
    }
    data = pair_digest(pair)
    unsaved = set(maps.missing(list(keys)) if maps is not None else ()) | set(store.missing(list(keys), data))
    missing = [key for key in keys if key in unsaved]
    if not missing:
        clock.read += perf_counter() - start
        return None
    image = read_image(pair.image)
    check_same_size(pair, image, next(iter(truths.values())))
    framed = frame(image, settings.resize)
    inside = {target: framed.truth(truth) for target, truth in truths.items()}
    todo = _Todo(framed, ignored, data, [], [])
    for key in missing:
        protocol, truth = keys[key]
        try:
            prompts = draw_prompt(inside[key.target], protocol, key.name)
        except DataError as error:
            todo.broken.append(error.message)
            continue
        todo.asked.append((key, protocol, prompts, inside[key.target], truth))
    clock.read += perf_counter() - start
    if not todo.asked:
        raise DataError(todo.broken[0])
    return todo


def true_masks(pair: Pair, settings: Settings) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    """The true masks (H, W) bool of a picture by target: "" for the whole, or "1", "2" ... for its objects.

    Returns:
        The masks, and the pixels (H, W) bool that are neither object nor background where the set names them; they
        belong to no mask.

    Raises:
        DataError: A file cannot be read, or the ignored pixels have another size than the masks.
    """
    objects = read_instances(pair.instances) if settings.instances and pair.instances else []
    masks = {str(i): mask for i, mask in enumerate(objects, start=1)} or {"": read_mask(pair.mask)}
    if pair.ignore is None:
        return masks, None
    ignored = read_mask(pair.ignore)
    shape = next(iter(masks.values())).shape
    if ignored.shape != shape:
        raise DataError(f"{pair.ignore}: expected the size of its mask, {shape[1]} x {shape[0]}, found another")
    return {target: mask & ~ignored for target, mask in masks.items()}, ignored


def _ask(asker: Asker, todo: _Todo, clock: Clock) -> Iterator[_Answer]:
    """Encodes a picture and decodes what is asked: all prompts at once, clicks one after the other."""
    start = perf_counter()
    features = asker.model.encode([todo.frame.image])
    clock.encode += perf_counter() - start
    at_once = [asked for asked in todo.asked if asked[1].kind != "clicks"]
    if at_once:
        start = perf_counter()
        answers = _decode(asker, features, [(protocol, prompts) for _, protocol, prompts, _, _ in at_once])
        scores = answers.scores.tolist()
        shared = (perf_counter() - start) / len(at_once)
        for row, ((key, _, given, _, truth), score) in enumerate(zip(at_once, scores, strict=True)):
            start = perf_counter()
            found = todo.frame.answer(asker, answers, row, given)
            spent = shared + perf_counter() - start
            clock.decode += spent
            yield _Answer(key, found, truth, score, spent, {})
    for key, protocol, _, inside, truth in todo.asked:
        if protocol.kind == "clicks":
            start = perf_counter()
            found, score, clicks = _click(asker, features, todo, inside, protocol.count)
            clock.decode += perf_counter() - start
            yield _Answer(key, found, truth, score, perf_counter() - start, clicks)


def _decode(asker: Asker, features: ImageFeatures, asked: Sequence[tuple[Protocol, Prompts]]) -> Answers:
    """Answers to prompts about one picture; a model that takes none is asked once for each."""
    info = asker.model.info
    if info.prompts:
        return asker.decode(features, [prompts for _, prompts in asked], [0] * len(asked))
    if any(protocol.kind != "image" for protocol, _ in asked):
        raise PromptError(f"'{info.name}' takes no prompt: it finds what there is", hint="--prompt image")
    return asker.decode(features, (), [0] * len(asked))


def _click(
    asker: Asker, features: ImageFeatures, todo: _Todo, truth: np.ndarray, limit: int
) -> tuple[np.ndarray, float, dict[str, float]]:
    """Corrects a mask click by click until its IoU reaches the highest of ``NOC`` or the limit.

    Returns:
        The last logits (H, W) at the original size, their predicted IoU, and the number of clicks for each IoU; the
        limit where it is not reached.
    """
    found = np.zeros_like(truth)
    counted = True if todo.ignored is None else ~todo.frame.truth(todo.ignored)
    clicks: list[Any] = []
    reached = dict.fromkeys(NOC, limit)
    answers = None
    while len(clicks) < limit and (click := next_click(found, truth)):
        clicks.append(click)
        points = np.array([[(c.x, c.y) for c in clicks]], np.float32)
        labels = np.array([[c.label for c in clicks]])
        answers = asker.decode(features, [Prompts(points=points, labels=labels)], [0])
        found = (answers.logits(0) > 0) & counted
        score = iou(found, truth)
        for target in NOC:
            if score >= target:
                reached[target] = min(reached[target], len(clicks))
        if score >= max(NOC):
            break
    if answers is None:
        raise DataError("the true mask is empty, there is nothing to click on")
    logits = todo.frame.answer(replace(asker, closer=False), answers, 0, None)
    return logits, float(answers.scores[0]), {f"noc{t * 100:.0f}": n for t, n in reached.items()}


def _map(logits: np.ndarray, settings: Settings) -> np.ndarray | None:
    return saliency_map(logits) if set(settings.metrics) - set(MASK_METRICS) else None
