"""What is done to one picture: encoded once, asked about every object in every way, its answers scored.

It is the work of any :data:`vns_sam.runs.job.Mapper`, so rows are the same whoever computes them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from time import perf_counter
from typing import Self

import numpy as np
from typing_extensions import override

from vns_sam.data.ignored import read_ignored
from vns_sam.data.pairs import Pair, check_same_size, pair_digest, pair_objects, read_mask
from vns_sam.errors import DataError
from vns_sam.evaluation.clicking import click_by_click
from vns_sam.evaluation.frames import Frame, frame
from vns_sam.evaluation.protocol import Protocol, draw_prompt
from vns_sam.evaluation.rows import Detection, Key, Row, Unscored
from vns_sam.evaluation.saved_maps import SavedMaps
from vns_sam.evaluation.settings import MASK_METRICS, Choice, Clock, Settings
from vns_sam.formats.objects import Object
from vns_sam.formats.rle import encode_rle
from vns_sam.images.read import read_image
from vns_sam.inference.answers import Asker
from vns_sam.inference.load import to_device
from vns_sam.metrics.iou import iou
from vns_sam.metrics.scoring import ImageScores, saliency_map, score_image
from vns_sam.runs.job import Work
from vns_sam.runs.memory import weight_of
from vns_sam.sam.answers import ChosenAnswers
from vns_sam.types import Answers, ImageFeatures, PromptableModel, Prompts

MOST_WAITING = 2**28
"""Bytes of a picture's answers that wait to be scored."""


@dataclass(frozen=True)
class Picture:
    """A picture to score.

    Attributes:
        pair: Its files.
        known: The rows that are there already, with the digests of the files that they are of.
    """

    pair: Pair
    known: Mapping[Key, Collection[str]] = field(default_factory=dict)


@dataclass
class Scored:
    """What a picture became.

    Attributes:
        rows: Its new rows, and what could not be scored; nothing where all was known.
        maps: Files that show its predictions, by path.
        errors: Why it, or objects of it, could not be scored.
        clock: Where the time went.
        asked: What was not known, with the reason where no prompt could be drawn.
        data: Digest of its files, once they are read.
    """

    rows: list[Row | Unscored] = field(default_factory=list)
    maps: dict[Path, bytes] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    clock: Clock = field(default_factory=Clock)
    asked: dict[Key, str] = field(default_factory=dict)
    data: str = ""

    @contextmanager
    def noting(self) -> Iterator[None]:
        """What cannot be used is the first of the errors, and ends the block."""
        try:
            yield
        except DataError as error:
            self.errors.insert(0, error.message)

    def settle(self) -> None:
        """What was asked and has no row is told with the reason."""
        scored = {row.key for row in self.rows}
        left = {key: why or self.errors[0] for key, why in self.asked.items() if key not in scored}
        self.rows += [Unscored(key, why, self.data) for key, why in left.items()]


@dataclass(frozen=True)
class _Question:
    """One prompt for one object: its true mask (H, W) bool in the frame and as it is, and its class."""

    key: Key
    protocol: Protocol
    prompts: Prompts
    inside: np.ndarray
    truth: np.ndarray
    label: str


@dataclass(frozen=True)
class _Todo:
    """An opened picture with what is still to be asked.

    ``ignored`` are pixels (H, W) that count neither as found nor as missed, ``data`` is the digest of the files.
    """

    frame: Frame
    ignored: np.ndarray | None
    data: str
    questions: list[_Question]

    @property
    def counted(self) -> np.ndarray | bool:
        """Pixels (H, W) bool of the frame that count; True where all do."""
        return True if self.ignored is None else ~self.frame.truth(self.ignored)


@dataclass(frozen=True)
class _Answer:
    """Logits (H, W) at the original size, the predicted IoU, and numbers of clicks."""

    todo: _Todo
    question: _Question
    logits: np.ndarray
    score: float
    seconds: float
    clicks: dict[str, float]


@dataclass
class PictureWork(Work[Picture, Scored]):
    """Scores a model on pictures.

    Attributes:
        model: The model; it travels to where work is done.
        protocols: Prompts.
        settings: What is scored.
        skeletons: Folder that keeps the skeletons of true masks, which only HCE needs; None keeps none.
        maps: Where predictions are wanted as pictures; one whose maps are not there is asked about again.
        device: Where the model is put before it is asked; "" leaves it where it is.
    """

    model: PromptableModel
    protocols: Sequence[Protocol]
    settings: Settings
    skeletons: Path | None = None
    maps: SavedMaps | None = None
    device: str = ""

    @cached_property
    def asker(self) -> Asker:
        """The model and how it is asked."""
        to_device(self.model, self.device)
        return Asker.of(self.model, self.settings.second_look if self.settings.choice == "own" else "off")

    @override
    def name(self, item: Picture) -> str:
        return f"{item.pair.dataset}/{item.pair.stem}"

    @override
    def weight(self, item: Picture) -> int:
        return weight_of([item.pair.image])

    @override
    def read(self, item: Picture) -> tuple[_Todo | None, Scored]:
        """Draws the prompts that have no row or map yet; None where there is nothing to ask."""
        todo, scored = None, Scored()
        with scored.clock.spending("read"), scored.noting():
            todo = self._open(item, scored)
        return todo, scored

    @override
    def work(self, item: Picture, content: tuple[_Todo | None, Scored]) -> tuple[Sequence[_Answer], Scored]:
        """Answers what is asked. Answers are scored in the next step, while the model has the next picture; of many or
        large ones the first are scored here.
        """
        todo, scored = content
        waiting: deque[_Answer] = deque()
        with scored.noting():
            for answer in self._answers(todo, scored.clock) if todo is not None else ():
                waiting.append(answer)
                while sum(each.logits.nbytes for each in waiting) > MOST_WAITING:
                    self._score(waiting.popleft(), scored)
        return waiting, scored

    @override
    def encode(self, item: Picture, answer: tuple[Sequence[_Answer], Scored]) -> Scored:
        waiting, scored = answer
        with scored.noting():
            for each in waiting:
                self._score(each, scored)
        scored.settle()
        return scored

    @override
    def portable(self, device: str = "") -> Self:
        def settled(path: Path | None) -> Path | None:
            return None if path is None else path.resolve()

        maps = self.maps and replace(self.maps, folder=self.maps.folder.resolve())
        return replace(self, skeletons=settled(self.skeletons), maps=maps, device=device)

    def _open(self, item: Picture, scored: Scored) -> _Todo | None:
        pair = item.pair
        objects, ignored = true_objects(pair, self.settings)
        truths = {target: each.mask for target, each in objects.items()}
        data = pair_digest(pair)
        asked = {
            Key(pair.dataset, pair.stem, target, str(protocol)): (protocol, truth)
            for target, truth in truths.items()
            for protocol in self.protocols
        }
        unsaved = {key for key in asked if data not in item.known.get(key, ())}
        unsaved |= set(self.maps.missing(list(asked)) if self.maps is not None else ())
        if not unsaved:
            return None
        scored.asked, scored.data = {key: "" for key in asked if key in unsaved}, data
        image = read_image(pair.image)
        check_same_size(pair, image, next(iter(truths.values())))
        framed = frame(image, self.settings.resize)
        inside = {target: framed.truth(truth) for target, truth in truths.items()}
        questions = []
        for key, (protocol, truth) in asked.items():
            if key in unsaved:
                try:
                    prompts = draw_prompt(inside[key.target], protocol, key.name)
                except DataError as error:
                    scored.errors.append(error.message)
                    scored.asked[key] = error.message
                else:
                    label = objects[key.target].label
                    questions.append(_Question(key, protocol, prompts, inside[key.target], truth, label))
        return _Todo(framed, ignored, data, questions) if questions else None

    def _answers(self, todo: _Todo, clock: Clock) -> Iterator[_Answer]:
        """Encodes a picture and decodes what is asked: all prompts at once, clicks one after the other."""
        with clock.spending("encode"):
            features = self.asker.model.encode([todo.frame.image])
        at_once = [question for question in todo.questions if question.protocol.kind != "clicks"]
        if at_once:
            start = perf_counter()
            answers = self._chosen(_decode(self.asker, features, at_once, self.settings.choice), todo, at_once)
            scores = answers.scores.tolist()
            shared = (perf_counter() - start) / len(at_once)
            for row, (question, score) in enumerate(zip(at_once, scores, strict=True)):
                start = perf_counter()
                found = todo.frame.answer(self.asker, answers, row, question.prompts)
                spent = shared + perf_counter() - start
                clock.decode += spent
                yield _Answer(todo, question, found, score, spent, {})
        for question in todo.questions:
            if question.protocol.kind == "clicks":
                start = perf_counter()
                found, score, clicks = click_by_click(
                    self.asker, features, todo.frame, question.inside, todo.counted, question.protocol.count
                )
                spent = perf_counter() - start
                clock.decode += spent
                yield _Answer(todo, question, found, score, spent, clicks)

    def _chosen(self, answers: Answers, todo: _Todo, questions: Sequence[_Question]) -> Answers:
        """Those of a model's masks that are scored."""
        if self.settings.choice == "own":
            return answers
        numbers = [
            int(np.argmax(answers.candidate_scores(row)))
            if self.settings.choice == "likeliest"
            else _best(answers, row, question.inside, todo)
            for row, question in enumerate(questions)
        ]
        scores = [answers.candidate_scores(row)[number] for row, number in enumerate(numbers)]
        return ChosenAnswers(answers, tuple(numbers), np.array(scores, np.float32))

    def _score(self, answer: _Answer, scored: Scored) -> None:
        """Adds the row of an answer, and its map where that is wanted."""
        key, logits, truth = answer.question.key, answer.logits, answer.question.truth
        counted = None if answer.todo.ignored is None else ~answer.todo.ignored
        if self.maps is not None:
            scored.maps[self.maps.path(key)] = self.maps.file(logits, counted)
        start = perf_counter()
        found = logits > 0 if counted is None else (logits > 0) & counted
        shades = saliency_map(logits, counted) if set(self.settings.metrics) - set(MASK_METRICS) else None
        scores = score_image(found, shades, truth, self.settings.metrics, self.skeletons, counted)
        spent = perf_counter() - start
        scored.clock.metrics += spent
        detection = None
        if self.settings.keeps_masks(key.dataset):
            detection = Detection(answer.score, encode_rle(found), encode_rle(truth), answer.question.label)
        kept = ImageScores({**scores.values, **answer.clicks}, scores.curves)
        scored.rows.append(Row(key, kept, answer.seconds, spent, detection, answer.todo.data))


def true_objects(pair: Pair, settings: Settings) -> tuple[dict[str, Object], np.ndarray | None]:
    """What is asked for in a picture by target: "" for the whole mask, or "1", "2" ... for its objects.

    Returns:
        The objects, and the pixels (H, W) bool that are neither object nor background where the set names them; they
        belong to no mask.

    Raises:
        DataError: A file cannot be read, every pixel is ignored, or see :func:`vns_sam.data.ignored.read_ignored`.
    """
    objects = pair_objects(pair) if settings.by_object(pair.dataset) else {}
    objects = objects or {"": Object(read_mask(pair.mask))}
    ignored = read_ignored(pair, next(iter(objects.values())).mask.shape)
    if ignored is None:
        return objects, None
    if ignored.all():
        raise DataError(f"{pair.ignore}: expected pixels that count, found every pixel ignored")
    return {target: replace(each, mask=each.mask & ~ignored) for target, each in objects.items()}, ignored


def _best(answers: Answers, row: int, truth: np.ndarray, todo: _Todo) -> int:
    """Number of the mask to choose from that has the highest IoU with the truth (H, W) bool in the frame."""
    counted = todo.counted
    size = (truth.shape[0], truth.shape[1])
    offered = range(len(answers.candidate_scores(row)))
    return int(np.argmax([iou((answers.candidate(row, number, size) > 0) & counted, truth) for number in offered]))


def _decode(asker: Asker, features: ImageFeatures, questions: Sequence[_Question], choice: Choice) -> Answers:
    """Answers to prompts about one picture; a model that takes none answers for the picture beside each."""
    info = asker.model.info
    if info.prompts:
        prompts = [question.prompts for question in questions]
        return asker.decode(features, prompts, [0] * len(questions), candidates=choice != "own")
    return asker.decode(features, (), [0] * len(questions))
