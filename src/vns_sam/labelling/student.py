"""The second round: points where a segmenter, trained on the first round's labels, is sure."""

from __future__ import annotations

import numpy as np

from vns_sam.data.sparse import SparseLabel
from vns_sam.labelling.gates import marked_parts
from vns_sam.labelling.points import Sampler, spread_points
from vns_sam.prompts.codes import BACKGROUND, OBJECT
from vns_sam.sam import answers
from vns_sam.types import PromptableModel, Prompts

SURE = 0.9
"""Probability above which the student is sure of the object; of the background it is below one less this."""


def probability(student: PromptableModel, image: np.ndarray) -> np.ndarray:
    """How probably each pixel belongs to what a model finds without a prompt, (H, W) float32.

    Args:
        student: A model that takes no prompt.
        image: (H, W, 3) uint8 RGB.
    """
    logits = student.decode(student.encode([image])).logits(0)
    return np.asarray(answers.probability(logits))


def add_points(
    given: Prompts,
    label: SparseLabel,
    probability: np.ndarray,
    count: int,
    rng: np.random.Generator,
    sampler: Sampler = "fps",
) -> Prompts:
    """Adds points on what a student is sure of to those on the marks.

    The annotator is believed first: parts of the student's object that hold no mark, and pixels that are marked as the
    opposite, get no point. Boxes stay as they are.

    Args:
        given: One row of points from the marks, or boxes.
        label: The marks.
        probability: (H, W) in [0, 1], the student's.
        count: Points on the object, and as many on the background.
        rng: Source of the draws.
        sampler: See :func:`vns_sam.labelling.points.spread_points`.
    """
    if given.points is None or given.labels is None:
        return given
    inside = marked_parts(probability > SURE, label) & (label.codes != BACKGROUND)
    outside = (probability < 1 - SURE) & (label.codes != OBJECT)
    objects, others = (spread_points(region, count, rng, sampler) for region in (inside, outside))
    points = np.concatenate([given.points[0], objects, others])
    added = np.repeat(np.array([1, 0]), [len(objects), len(others)])
    return Prompts(points=points[None], labels=np.concatenate([given.labels[0], added])[None])
