"""The one way from a model's answers to masks at full size: with a second look where it is wanted, whoever asks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from vns_sam.images.windows import mask_boxes
from vns_sam.inference.found import Found, LargePrediction, Maps, MapsAtHand
from vns_sam.sam.answers import probability
from vns_sam.sam.second_look import look_again, plan_crops, wants_second_look
from vns_sam.types import (
    Answers,
    ImageFeatures,
    ModelInfo,
    Piece,
    Pieces,
    Prediction,
    PromptableModel,
    Prompts,
    SecondLook,
    cut_out,
)

PIXELS_KEPT = 1 << 26
"""Pixels of all masks of a picture up to which their logits and edges are kept, 256 MiB each."""
BYTES_OF_MAPS = 13
"""What the maps of an object take for each pixel of its picture where they are kept: logits, alpha or edges, and a copy
of these, four each, and the mask.
"""
BYTES_OF_LOGITS = 5
"""The same of a model that has neither alpha nor edges."""
BYTES_OF_A_PROMPT = 6
"""What a coarse mask takes for each pixel until a model has it: as it is read, among the others, and as float32."""


@dataclass(frozen=True)
class Asker:
    """A model and how it is asked: the options of a call, kept together on their way.

    Attributes:
        model: Any promptable model.
        closer: Whether it looks a second time.
    """

    model: PromptableModel
    closer: bool = False

    @classmethod
    def of(cls, model: PromptableModel, second_look: SecondLook) -> Asker:
        """Judges whether a model looks a second time, see :func:`vns_sam.sam.second_look.wants_second_look`.

        Raises:
            UsageError: It was asked for, and the model cannot be asked about one object.
        """
        return cls(model, wants_second_look(model.info, second_look))

    def decode(
        self,
        features: ImageFeatures,
        prompts: Sequence[Prompts] = (),
        image_index: Sequence[int] = (),
        *,
        candidates: bool = False,
    ) -> Answers:
        """The model's answers; a model that looks again itself has done so."""
        itself = self.closer and not self.asks_crops
        return self.model.decode(features, prompts, image_index, candidates=candidates, look_again=itself)

    @property
    def asks_crops(self) -> bool:
        """Whether the model is asked again about crops of the picture."""
        return self.closer and self.model.info.look_again == "crops"


@dataclass(frozen=True)
class FullSize:
    """Answers at the size of their picture.

    Attributes:
        logits: (P, H, W) float32, object where > 0.
        edges: (P, H, W) float32 edge probability, or None.
        alpha: (P, H, W) float32 in [0, 1], or None.
        changed: Whether a closer look changed anything.
    """

    logits: np.ndarray
    edges: np.ndarray | None
    alpha: np.ndarray | None
    changed: bool


def full_size(
    asker: Asker,
    image: np.ndarray,
    answers: Answers,
    rows: Sequence[int],
    prompts: Prompts | None,
    *,
    edges: bool = False,
) -> FullSize:
    """Brings answers about one picture to its size, with a second look where the asker wants one.

    Args:
        asker: Who answered.
        image: (H, W, 3) uint8 RGB, the picture.
        answers: The answers.
        rows: Which of them.
        prompts: What these rows were asked; None for a model that takes no prompt.
        edges: Whether edges and alpha are wanted too.
    """
    size = (image.shape[0], image.shape[1])
    logits = np.empty((len(rows), *size), np.float32)
    for k, row in enumerate(rows):
        logits[k] = answers.logits(row, size)
    rims = _stacked([answers.edges(row, size) for row in rows]) if edges else None
    alpha = _stacked([answers.alpha(row, size) for row in rows]) if edges else None
    changed = False
    if asker.asks_crops and prompts is not None:
        changed = look_again(asker.model, image, prompts, logits, answers.scores[list(rows)], rims)
    return FullSize(logits, rims, alpha, changed)


def predict(
    asker: Asker, image: np.ndarray, features: ImageFeatures, prompts: Prompts | None, *, candidates: bool = False
) -> Found:
    """Asks about one picture.

    Args:
        asker: Who is asked.
        image: (H, W, 3) uint8 RGB.
        features: What the model made of it, a batch of one.
        prompts: P prompts; None for a model that takes none.
        candidates: Whether the masks to choose from are wanted too.
    """
    asked = () if prompts is None else (prompts,)
    answers = asker.decode(features, asked, (0,) * len(asked), candidates=candidates)
    rows = range(len(answers))
    whole = partial(full_size, asker, image, answers, rows, prompts, edges=True)
    size = (image.shape[0], image.shape[1])
    offered = tuple(answers.candidates(row) for row in rows) if candidates else None
    if len(answers) * size[0] * size[1] > PIXELS_KEPT and not asker.model.info.alpha:
        pieces = Pieces(_masks_alone(asker, image, answers, prompts))
        return LargePrediction(pieces, size, answers.scores, MapsAtHand(lambda: _maps(whole())), offered)
    found = whole()
    masks = found.logits > 0
    return Found(masks, found.logits, answers.scores, found.edges, mask_boxes(masks), found.alpha, offered)


def weight_of_answers(
    info: ModelInfo, pixels: int, objects: int, *, masks: bool = False, candidates: bool = False, edges: bool = False
) -> int:
    """Bytes that answers about a picture take for its objects, about, beside what it takes with one mask.

    Masks alone are not counted beyond ``PIXELS_KEPT``: there they are kept as what they cover, however many they are.

    Args:
        info: Of the model.
        pixels: Of the picture.
        objects: How many are asked about.
        masks: Whether a coarse mask is given of each.
        candidates: Whether the masks to choose from are wanted.
        edges: Whether the edges are looked at.
    """
    maps = BYTES_OF_MAPS if info.alpha or info.edges else BYTES_OF_LOGITS
    kept = objects if info.alpha or edges else (objects - 1) * (pixels * objects <= PIXELS_KEPT)
    return pixels * (kept * maps + objects * (BYTES_OF_A_PROMPT * masks + info.candidates * candidates))


def _maps(found: FullSize) -> Maps:
    return found.logits, found.edges


def soften(model: PromptableModel, found: Prediction) -> None:
    """Gives what a model that takes no prompt found its probability as alpha: its maps say how sure it is of each
    pixel. A model with alpha of its own has done so; of others nothing says how much of a pixel is object.
    """
    if found.alpha is None and not model.info.prompts:
        found.alpha = np.asarray(probability(found.logits))


def _masks_alone(asker: Asker, image: np.ndarray, answers: Answers, prompts: Prompts | None) -> Iterator[Piece]:
    """The masks of :func:`full_size`, with no more than one prompt's logits in hand."""
    size = (image.shape[0], image.shape[1])
    for row in range(len(answers)):
        part, found = answers.found(row, size)
        piece = cut_out(found, part[0].start, part[1].start)
        one = None if prompts is None else prompts.single(row)
        if asker.asks_crops and one is not None and any(True for _ in plan_crops(one, piece.full(size)[None])):
            piece = cut_out(full_size(asker, image, answers, [row], one).logits[0] > 0)
        yield piece


def _stacked(maps: Sequence[np.ndarray | None]) -> np.ndarray | None:
    """Maps (H, W) as (P, H, W), or None where there are none."""
    found = [one for one in maps if one is not None]
    return np.stack(found) if found and len(found) == len(maps) else None
