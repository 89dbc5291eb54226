"""The models behind the service: a picture becomes features, prompts become masks. The models themselves load later."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from vns_sam.errors import UsageError
from vns_sam.types import Backend, ImageFeatures, ModelInfo, Prediction, PromptableModel, Prompts, SecondLook

if TYPE_CHECKING:
    from vns_sam.types import Answers


class Engine:
    """Models by name, loaded when they are first asked for and kept.

    Args:
        names: Those on offer, the default first; a client can name no other.
        device: Where they run.
        refiner: The DIS-SAM that redraws masks, or None.
        backend: What runs them.

    Raises:
        UsageError: A name is no model's.
    """

    def __init__(
        self, names: Sequence[str], device: str = "cpu", refiner: str | None = None, backend: Backend = "auto"
    ) -> None:
        from vns_sam.inference.load import check_model_name, load_model, refine_with

        for name in (*names, *([refiner] if refiner else [])):
            check_model_name(name)
        self.names, self.refiner = tuple(names), refiner
        self._load = cache(lambda name: load_model(name, device, backend=backend))
        self._refined = cache(lambda first: refine_with(self._load(first), refiner or "", device, backend=backend))

    def model(self, name: str) -> PromptableModel:
        """A model on offer, or one with the refiner after it, as :meth:`resolve` names it."""
        first = name.removesuffix(f"+{self.refiner}")
        return self._load(name) if first == name or name in self.names else self._refined(first)

    def info(self, name: str) -> ModelInfo:
        """What a model is."""
        return self.model(name).info

    def resolve(self, name: str | None, *, refine: bool = False) -> str:
        """The name of the model that a client means.

        Raises:
            UsageError: It is not on offer, or cannot be refined.
        """
        wanted = name or self.names[0]
        if wanted not in self.names:
            raise UsageError(f"no model '{wanted[:60]}' here", hint=f"one of {', '.join(self.names)}")
        if not refine:
            return wanted
        if not self.refinable(wanted):
            raise UsageError(f"the masks of '{wanted}' cannot be refined here", hint="leave refine out")
        return f"{wanted}+{self.refiner}"

    def refinable(self, name: str) -> bool:
        """Whether the refiner can redraw the masks of a model."""
        info = self.info(name)
        return self.refiner is not None and bool(info.prompts) and not info.alpha

    def encode(self, name: str, pixels: np.ndarray) -> ImageFeatures:
        """Encodes a picture (H, W, 3) uint8 RGB."""
        return self.model(name).encode([pixels])

    def answer(
        self,
        name: str,
        features: ImageFeatures,
        pixels: np.ndarray,
        prompts: Prompts | None,
        *,
        second_look: SecondLook,
        candidates: bool,
    ) -> Prediction:
        """One mask for each row of the prompts, at the picture's size.

        Raises:
            UsageError: It was to look again and cannot.
            PromptError: No prompt for a model that needs one, or one of a kind that it does not take.
        """
        from vns_sam.inference.answers import Asker, predict

        asker = Asker.of(self.model(name), second_look)
        return predict(asker, pixels, features, prompts, candidates=candidates)

    def decode(
        self, name: str, features: ImageFeatures, prompts: Prompts | None, *, candidates: bool, look_again: bool
    ) -> Answers:
        """The model's own answers, for a client that goes on by itself."""
        asked = () if prompts is None else (prompts,)
        indices = (0,) * len(asked)
        return self.model(name).decode(features, asked, indices, candidates=candidates, look_again=look_again)
