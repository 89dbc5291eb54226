"""Correction click by click, as interactive segmentation is measured."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from vns_sam.errors import DataError
from vns_sam.evaluation.frames import Frame
from vns_sam.inference.answers import Asker
from vns_sam.metrics.iou import iou
from vns_sam.prompts.clicks import Click, deepest_click
from vns_sam.types import ImageFeatures, Prompts

NOC = (0.85, 0.90)
"""IoU that clicks are counted up to."""


def click_by_click(
    asker: Asker, features: ImageFeatures, frame: Frame, truth: np.ndarray, counted: np.ndarray | bool, limit: int
) -> tuple[np.ndarray, float, dict[str, float]]:
    """Corrects a mask click by click until its IoU reaches the highest of ``NOC`` or the limit.

    Args:
        asker: The model.
        features: Of the picture.
        frame: How the model sees the picture.
        truth: (H', W') bool in the frame, without pixels that do not count.
        counted: Pixels (H', W') bool of the frame that count, or True.
        limit: Clicks at most.

    Returns:
        The last logits (H, W) at the original size, their predicted IoU, and the number of clicks for each IoU; the
        limit where it is not reached.

    Raises:
        DataError: The true mask is empty.
    """
    found = np.zeros_like(truth)
    clicks: list[Click] = []
    reached = dict.fromkeys(NOC, limit)
    answers = None
    while len(clicks) < limit and (click := deepest_click(found, truth, clicks)):
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
    logits = frame.answer(replace(asker, closer=False), answers, 0, None)
    return logits, float(answers.scores[0]), {f"noc{t * 100:.0f}": n for t, n in reached.items()}
