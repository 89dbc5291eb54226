"""How far an exported model's answers are from the network's, and how long each takes: measured, not promised."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from statistics import median
from typing import Any

import numpy as np

from vns_sam.inference.predictor import Predictor
from vns_sam.metrics.iou import iou
from vns_sam.types import PromptableModel

PROMPTS = (1, 3, 17)
CLICKS = (1, 5, 20)
ROUNDS = 5
"""Turns of each for the times."""


@dataclass(frozen=True)
class Parity:
    """Two ways to run one model, compared.

    Attributes:
        answers: Masks compared.
        least_iou, mean_iou: Of the two masks.
        largest_logit, mean_logit: Absolute difference of logits at the pictures' size.
        largest_score: Absolute difference of predicted IoU.
        encode_ms, decode_ms: Median milliseconds of network and graphs, which took turns: a picture, a box.
    """

    answers: int
    least_iou: float
    mean_iou: float
    largest_logit: float
    mean_logit: float
    largest_score: float
    encode_ms: tuple[float, float]
    decode_ms: tuple[float, float]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return asdict(self)

    def __str__(self) -> str:
        answers = f"{self.answers} masks: IoU {self.least_iou:.5f} at least, {self.mean_iou:.5f} in the mean"
        logits = f"logits differ by {self.largest_logit:.1e} at most, {self.mean_logit:.1e} in the mean"
        times = (f"{what} {a:.1f} ms in torch, {b:.1f} ms as a graph" for what, (a, b) in self._times.items())
        return f"{answers}; {logits}; scores by {self.largest_score:.1e}\n{'; '.join(times)}"

    @property
    def _times(self) -> dict[str, tuple[float, float]]:
        return {"encode": self.encode_ms, "decode": self.decode_ms}


def compare(network: PromptableModel, graphs: PromptableModel, pictures: Sequence[np.ndarray]) -> Parity:
    """Asks both the same.

    Args:
        network: The model in torch.
        graphs: The same as graphs.
        pictures: Each (H, W, 3) uint8 RGB. With prompts, each is asked about in nine ways: 1, 3 and 17 objects by a box
            and 1, 5 and 20 clicks each.
    """
    first, second = Predictor(network, second_look="off"), Predictor(graphs, second_look="off")
    ious: list[float] = []
    logits: list[tuple[float, float]] = []
    scores: list[float] = []
    for number, picture in enumerate(pictures):
        for predictor in (first, second):
            predictor.set_image(picture)
        for asked in _questions(network, picture, number):
            one, other = first.predict(**asked), second.predict(**asked)
            ious += [iou(a, b) for a, b in zip(one.masks, other.masks, strict=True)]
            gap = np.abs(one.logits - other.logits)
            logits.append((float(gap.max()), float(gap.mean())))
            scores.append(float(np.abs(one.scores - other.scores).max()))
    encode = _turns([partial(p.set_image, pictures[0]) for p in (first, second)])
    asked = next(_questions(network, pictures[0], 0))
    decode = _turns([partial(p.predict, **asked) for p in (first, second)])
    largest, mean = zip(*logits, strict=True)
    return Parity(
        len(ious), min(ious), float(np.mean(ious)), max(largest), float(np.mean(mean)), max(scores), encode, decode
    )


def _questions(model: PromptableModel, picture: np.ndarray, seed: int) -> Iterator[dict[str, Any]]:
    """What is asked about a picture: first one box, then boxes with clicks."""
    if not model.info.prompts:
        yield {}
        return
    generator = np.random.default_rng(seed)
    size = np.array([picture.shape[1], picture.shape[0]])
    for prompts in PROMPTS:
        corners = generator.uniform(0, 0.5, (prompts, 2))
        ends = corners + generator.uniform(0.1, 0.5, (prompts, 2))
        boxes = np.concatenate([corners, ends], axis=1) * np.tile(size, 2)
        if prompts == 1:
            yield {"boxes": boxes}
        for clicks in CLICKS:
            points = generator.uniform(0, 1, (prompts, clicks, 2)) * (size - 1)
            labels = generator.integers(0, 2, (prompts, clicks))
            yield {"boxes": boxes, "points": points, "labels": labels}


def _turns(calls: Sequence[Callable[[], object]]) -> tuple[float, float]:
    """Median milliseconds of two calls that take turns."""
    times: list[list[float]] = [[], []]
    for _ in range(ROUNDS + 1):
        for taken, call in zip(times, calls, strict=True):
            start = time.perf_counter()
            call()
            taken.append(1000 * (time.perf_counter() - start))
    first, second = (median(taken[1:]) for taken in times)
    return first, second
