"""Mean IoU on held-out pictures, with box prompts by default: the number that chooses the best checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from vns_sam.data.ignored import read_ignored
from vns_sam.data.pairs import Pair, read_instances, read_mask
from vns_sam.images.read import read_image
from vns_sam.metrics.iou import iou
from vns_sam.prompts.slots import tight_box
from vns_sam.sam.promptable import PromptableNetwork
from vns_sam.training.samples.sampler import held_pairs
from vns_sam.training.samples.settings import SetData
from vns_sam.training.settings import Validation
from vns_sam.types import PromptableModel, Prompts


def counted_mask(pair: Pair) -> tuple[np.ndarray, np.ndarray | bool]:
    """The true mask (H, W) bool of a picture where pixels count, and which do: (H, W) bool, True where all do.

    Raises:
        DataError: See ``read_mask`` and :func:`vns_sam.data.ignored.read_ignored`.
    """
    mask = read_mask(pair.mask)
    ignored = read_ignored(pair, mask.shape)
    counted = True if ignored is None else ~ignored
    return mask & counted, counted


def box_iou(model: PromptableModel, pair: Pair) -> float:
    """IoU at original size with the box around the mask as prompt, the mean over the first eight objects; pixels that
    are neither object nor background are left out.

    The model is judged as it is: without a second look.
    """
    image = read_image(pair.image)
    whole, counted = counted_mask(pair)
    masks = [mask & counted for mask in read_instances(pair.instances)] if pair.instances else []
    masks = [mask for mask in masks if mask.any()][:8] or [whole]
    boxes = np.stack([tight_box(mask) for mask in masks])
    answers = model.decode(model.encode([image]), [Prompts(boxes=boxes)], [0])
    return float(np.mean([iou((answers.logits(row) > 0) & counted, mask) for row, mask in enumerate(masks)]))


@dataclass
class Standing:
    """How the scores of a run have gone.

    Attributes:
        patience: Validations in a row without a better score that end a run; 0 never does.
        best: The best mean so far.
        stale: Validations since then.
    """

    patience: int = 0
    best: float = -1.0
    stale: int = 0

    def take(self, scores: Mapping[str, float]) -> bool:
        """Takes in the scores of a validation; whether they are the best so far."""
        if not scores:
            return False
        better = scores["mean"] > self.best
        self.best, self.stale = (scores["mean"], 0) if better else (self.best, self.stale + 1)
        return better

    @property
    def over(self) -> bool:
        """Whether the run is to end."""
        return 0 < self.patience <= self.stale


class Validator:
    """Mean IoU by set.

    Args:
        data: The run's data; of each set the pairs that training leaves out are used.
        settings: How many pictures.
        score: IoU of a model on one of them.
    """

    def __init__(self, data: SetData, settings: Validation, score: Callable[[Any, Pair], float] = box_iou) -> None:
        self.score = score
        self.pairs = {}
        for name in data.sets:
            usable = (pair for pair in held_pairs(data.root, name) if counted_mask(pair)[0].any())
            self.pairs[name] = [*islice(usable, settings.limit)]

    def __call__(self, model: PromptableNetwork, limit: int | None = None) -> dict[str, float]:
        """IoU by set and their ``mean``; empty where no set has a held-out picture."""
        training = model.training
        model.eval()
        scores = {
            name: float(np.mean([self.score(model, pair) for pair in pairs[:limit]]))
            for name, pairs in self.pairs.items()
            if pairs
        }
        model.train(training)
        return {**scores, "mean": float(np.mean(list(scores.values())))} if scores else {}
