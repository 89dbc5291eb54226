"""What every model is: described by its info, asked by encoding pictures once and decoding prompts many times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from vns_sam.types.answers import Answers
from vns_sam.types.features import ImageFeatures
from vns_sam.types.info import ModelInfo
from vns_sam.types.prompts import Prompts


@runtime_checkable
class PromptableModel(Protocol):
    """Encode pictures once, decode prompts many times. The predictor, the labeller, the refiner and the
    evaluation know models only by this.
    """

    @property
    def info(self) -> ModelInfo:
        """What the model is and what it can be asked."""
        ...

    def encode(self, images: Sequence[np.ndarray]) -> ImageFeatures:
        """Encodes pictures, each (H, W, 3) uint8 RGB."""
        ...

    def decode(
        self,
        features: ImageFeatures,
        prompts: Sequence[Prompts] = (),
        image_index: Sequence[int] = (),
        *,
        candidates: bool = False,
        look_again: bool = False,
    ) -> Answers:
        """Decodes ``prompts[k]`` on image ``image_index[k]``; rows come out in the order given.

        A model that takes no prompt is given none and answers once for each picture of ``image_index``, or of the
        features where that is empty.

        Args:
            features: What this model made of the pictures.
            prompts: What is asked; rows are numbered through.
            image_index: The picture of each entry.
            candidates: Whether all masks that the model has for a prompt are kept, see :meth:`Answers.candidates`.
            look_again: Whether a model that looks a second time itself does so, see :attr:`ModelInfo.look_again`.

        Raises:
            UsageError: Another model made the features.
            PromptError: A prompt is of a kind that the model does not take.
        """
        ...
