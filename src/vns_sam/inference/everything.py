"""A predictor that is asked nothing and answers with all objects of a picture."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from typing_extensions import override

from vns_sam.errors import PromptError, UsageError
from vns_sam.inference.automatic import AutomaticMasks, AutomaticOptions, AutomaticSegmenter
from vns_sam.inference.found import Found, LargePrediction
from vns_sam.inference.predictor import Predictor, SetPicture
from vns_sam.types import Pieces, PromptableModel, Prompts


class AutomaticPredictor(Predictor):
    """Stands where a :class:`Predictor` does, in folder runs too; see :mod:`vns_sam.inference.automatic`.

    Args:
        model: A promptable model or its name.
        options: How objects are looked for.
        proposals: A model without prompts; parts of what it finds are asked about as well.

    Raises:
        UsageError: The model takes no clicks, or ``proposals`` takes prompts.
    """

    def __init__(
        self,
        model: PromptableModel | str | os.PathLike[str],
        options: AutomaticOptions | None = None,
        *,
        proposals: PromptableModel | None = None,
    ) -> None:
        super().__init__(model, second_look="off")
        self.segmenter = AutomaticSegmenter(self.model, options, proposals=proposals)

    @property
    @override
    def asks(self) -> Mapping[str, Any]:
        proposals = self.segmenter.proposals
        with_ = {} if proposals is None else {"proposals": proposals.info.digest}
        return {**super().asks, "automatic": asdict(self.segmenter.options), **with_}

    @override
    def _encode(self, pixels: np.ndarray) -> None:
        """Nothing yet: the segmenter encodes the picture and its tiles."""

    @override
    def predict(
        self, boxes: Any = None, points: Any = None, labels: Any = None, masks: Any = None, *, multimask: bool = False
    ) -> Found:
        """Finds all objects of the picture; nothing is given.

        Raises:
            UsageError: No picture is set, or several masks for each object are wanted.
            PromptError: Something is given.
        """
        if any(given is not None for given in (boxes, points, labels, masks)):
            raise _prompted()
        return self.predict_prompts(None, multimask=multimask)

    @override
    def _answer(self, picture: SetPicture, prompts: Prompts | None, *, multimask: bool) -> Found:
        if prompts is not None:
            raise _prompted()
        if multimask:
            raise UsageError(
                "each object is found with one mask, found multimask=True",
                hint="leave it out, or ask a Predictor about single objects",
            )
        found = as_prediction(self.segmenter(picture.pixels))
        found.image, found.name = picture.pixels, picture.name
        return found


def _prompted() -> PromptError:
    return PromptError("all objects are looked for, found a prompt", hint="leave the prompt out")


def as_prediction(found: AutomaticMasks) -> Found:
    """All objects of a picture as a prediction; its logits are 1 and -1, since no one map gave the masks."""
    return LargePrediction(Pieces(found.regions), (found.height, found.width), found.scores, _signs)


def _signs(found: Found) -> tuple[np.ndarray, None]:
    return np.where(found.masks, np.float32(1), np.float32(-1)), None
