"""Which of a first stage's masks is refined."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vns_sam.dis.config import Choice
from vns_sam.sam.answers import ChosenAnswers
from vns_sam.types import Answers, ImageFeatures, PromptableModel, Prompts


def coarse_answers(
    first: PromptableModel,
    features: ImageFeatures,
    prompts: Sequence[Prompts],
    image_index: Sequence[int],
    choice: Choice,
) -> Answers:
    """The first stage's mask for each prompt.

    "first" is what the authors take: the first of the masks that a SAM's multi-mask output gives, whatever their
    scores. Methods on a frozen SAM have their own mask in that place.
    """
    if choice == "single":
        return first.decode(features, prompts, image_index)
    answers = first.decode(features, prompts, image_index, candidates=True)
    numbers, scores = [], []
    for row in range(len(answers)):
        offered = answers.candidate_scores(row)
        number = 0 if choice == "first" else int(np.argmax(offered))
        if choice == "best-iou" and answers.scores[row] >= offered[number]:
            number = -1
        numbers.append(number)
        scores.append(answers.scores[row] if number < 0 else offered[number])
    return ChosenAnswers(answers, tuple(numbers), np.array(scores, np.float32))
