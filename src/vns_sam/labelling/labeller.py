"""From one picture and its sparse label to one fused map: ask a model in every view and join the believed answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from vns_sam.data.sparse import BOX_ROOM, SparseLabel, inside_boxes
from vns_sam.errors import UsageError
from vns_sam.inference.answers import Asker, full_size
from vns_sam.labelling.fusion import Fuse, fuse
from vns_sam.labelling.gates import Agreement, Gates, agreement, marked_parts
from vns_sam.labelling.points import Sampler, prompts_from
from vns_sam.labelling.student import add_points, probability
from vns_sam.labelling.views import Preset, View, usable, views
from vns_sam.prompts.codes import BACKGROUND, OBJECT
from vns_sam.sam.second_look import wants_second_look
from vns_sam.types import SECOND_LOOK, Answers, PromptableModel, Prompts, SecondLook, Size


@dataclass(frozen=True)
class LabelSettings:
    """What a fused map depends on beside model, picture and label.

    Attributes:
        views: See :func:`vns_sam.labelling.views.views`.
        fuse: "vote" or "prob", see :func:`vns_sam.labelling.fusion.fuse`.
        points: At most so many points on the object, and so many on the background.
        sampler: How points are chosen on strokes.
        gates: Which views are believed; None believes all.
        marked_only: Whether parts of an answer that the label does not ask for are dropped, see
            :func:`vns_sam.labelling.gates.marked_parts`.
        clamp: Whether marked pixels are set to what the annotator said.
        seed: Of the random sampler.
        second_look: Whether small and thin objects are asked about once more in cut-outs of each view, see
            :mod:`vns_sam.sam.second_look`; "auto" leaves it to the model.

    Raises:
        UsageError: There is no point to ask with.
    """

    views: Preset = "ws12"
    fuse: Fuse = "vote"
    points: int = 10
    sampler: Sampler = "fps"
    gates: Gates | None = field(default_factory=Gates)
    marked_only: bool = True
    clamp: bool = True
    seed: int = 0
    second_look: SecondLook = SECOND_LOOK

    def __post_init__(self) -> None:
        if self.points < 1:
            raise UsageError(f"expected at least 1 point, found {self.points}")

    def as_dict(self) -> dict[str, Any]:
        """The settings as JSON can hold them."""
        return asdict(self)


def resolved(settings: LabelSettings, model: PromptableModel) -> LabelSettings:
    """The settings as they are for one model: whether it looks a second time is said.

    Raises:
        UsageError: A second look was asked for, and the model cannot look again.
    """
    closer = wants_second_look(model.info, settings.second_look)
    return replace(settings, second_look="on" if closer else "off")


@dataclass(frozen=True)
class Answer:
    """What one view said.

    Attributes:
        view: The view.
        agreement: How it agrees with the label.
        score: The model's own estimate of its IoU, the mean over boxes.
        believed: Whether it passed the gates.
    """

    view: View
    agreement: Agreement
    score: float
    believed: bool


@dataclass(frozen=True)
class FusedLabel:
    """The result for one picture.

    Attributes:
        fused: (H, W) float32 in [0, 1], the joined answers of the believed views; of all views where none is believed.
        prompts: What was asked, in pixels of the picture.
        answers: One for each view.
    """

    fused: np.ndarray
    prompts: Prompts
    answers: tuple[Answer, ...]

    @property
    def believed(self) -> int:
        """How many views passed the gates."""
        return sum(answer.believed for answer in self.answers)

    @property
    def levels(self) -> int:
        """How many views were joined: votes are multiples of one in so many."""
        return self.believed or len(self.answers)


def label_picture(
    model: PromptableModel,
    image: np.ndarray,
    label: SparseLabel,
    settings: LabelSettings,
    *,
    student: PromptableModel | None = None,
    batch: int = 4,
) -> FusedLabel:
    """Asks a model about one picture in all views and joins the answers.

    Args:
        model: Any promptable model.
        image: (H, W, 3) uint8 RGB.
        label: Its sparse label, of the same size.
        settings: How.
        student: A trained segmenter, which takes no prompt; it adds points where it is sure.
        batch: Views encoded at once.

    Raises:
        DataError: The label marks no object.
    """
    rng = np.random.default_rng(settings.seed)
    prompts = prompts_from(label, settings.points, rng, settings.sampler)
    if student is not None:
        prompts = add_points(prompts, label, probability(student, image), settings.points, rng, settings.sampler)
    room = inside_boxes(label.boxes, image.shape[:2], BOX_ROOM) if len(label.boxes) else None
    answers, maps = [], []
    some = usable(views(settings.views), *image.shape[:2])
    for view, logits, score in _ask(Asker.of(model, settings.second_look), image, prompts, some, batch):
        if room is not None:
            logits[~room] = np.minimum(logits[~room], -_SURE)
        if settings.marked_only:
            logits[(logits > 0) & ~marked_parts(logits > 0, label)] = -_SURE
        found = agreement(logits > 0, label)
        answers.append(Answer(view, found, score, settings.gates is None or settings.gates.passes(found)))
        maps.append(logits)
    kept = [one for one, answer in zip(maps, answers, strict=True) if answer.believed]
    fused = fuse(kept or maps, settings.fuse)
    if settings.clamp:
        fused[label.codes == OBJECT] = 1
        fused[label.codes == BACKGROUND] = 0
    return FusedLabel(fused, prompts, tuple(answers))


_SURE = 20.0
"""Logit of what cannot be object: its probability is 2e-9."""


def _ask(
    asker: Asker, image: np.ndarray, prompts: Prompts, some: Sequence[View], batch: int
) -> Iterator[tuple[View, np.ndarray, float]]:
    """Logits (H, W) of each view in the picture's place, the union over boxes, and the mean score."""
    height, width = image.shape[:2]
    for start in range(0, len(some), batch):
        asked = some[start : start + batch]
        pictures = [view.image(image) for view in asked]
        moved = [view.prompts(prompts, height, width) for view in asked]
        answers = asker.decode(asker.model.encode(pictures), moved, list(range(len(asked))))
        for k, view in enumerate(asked):
            rows = range(k * len(prompts), (k + 1) * len(prompts))
            logits = _in_place(asker, view, pictures[k], answers, rows, moved[k], (height, width))
            yield view, np.max(logits, axis=0), float(answers.scores[rows].mean())


def _in_place(
    asker: Asker, view: View, picture: np.ndarray, answers: Answers, rows: range, moved: Prompts, size: Size
) -> list[np.ndarray]:
    """Logits (H, W) of some rows, which are about one view, in the place of the picture."""
    if asker.asks_crops:
        closer = full_size(asker, picture, answers, rows, moved).logits
        return [view.full_size_back(one, *size) for one in closer]
    turned = view.turned_size(*size)
    return [view.turn_back(answers.logits(row, turned)) for row in rows]
