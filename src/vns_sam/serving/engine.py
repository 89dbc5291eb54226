"""The models behind the service: a picture becomes features, prompts become masks. The models themselves load later."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vns_sam.errors import UsageError, VnsSamError
from vns_sam.types import Backend, ImageFeatures, ModelInfo, Prediction, PromptableModel, Prompts, SecondLook

if TYPE_CHECKING:
    from vns_sam.types import Answers

logger = logging.getLogger(__name__)


class Adapted(NamedTuple):
    """A model that came up since the start: what ``load_model`` takes, and the name of the one it was adapted from."""

    place: str
    start: str


class Engine:
    """Models by name, loaded when they are first asked for and kept.

    Args:
        names: Those on offer, the default first; a client can name no other.
        device: Where they run.
        refiner: The DIS-SAM that redraws masks, or None.
        backend: What runs them.
        more: Gives models that came up since the start by name.

    Raises:
        UsageError: A name is no model's.
    """

    def __init__(
        self,
        names: Sequence[str],
        device: str = "cpu",
        refiner: str | None = None,
        backend: Backend = "auto",
        more: Callable[[], Mapping[str, Adapted]] = dict,
    ) -> None:
        from vns_sam.inference.load import check_model_name, load_model, refine_with

        for name in (*names, *([refiner] if refiner else [])):
            check_model_name(name)
        self.first, self.refiner, self.more = tuple(names), refiner, more
        self._load = cache(lambda name: load_model(self._place(name), device, backend=backend))
        self._refined = cache(
            lambda first: refine_with(
                self._load(first), refiner or "", device, backend=backend, base=self._place(first)
            )
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Models on offer, the default first."""
        return (*self.first, *self.more())

    def model(self, name: str) -> PromptableModel:
        """A model on offer, or one with the refiner after it, as :meth:`refined` names it. It is loaded here if need
        be, so only the models' thread may ask.
        """
        first = name.removesuffix(f"+{self.refiner}")
        return self._load(name) if first == name or name in self.names else self._refined(first)

    def _place(self, name: str) -> str:
        adapted = self.more().get(name)
        return name if adapted is None else adapted.place

    def start_of(self, name: str) -> str:
        """What an adapted model was adapted from, "" for any other."""
        adapted = self.more().get(name)
        return "" if adapted is None else adapted.start

    def info(self, name: str) -> ModelInfo:
        """What a model is."""
        return self.model(name).info

    def card(self, name: str) -> ModelInfo:
        """What a list says of a model. An adapted one can do what its start can, so it need not be loaded for that."""
        adapted = self.more().get(name)
        if adapted is None or adapted.start not in self.first:
            return self.info(name)
        return replace(self.info(adapted.start), name=name)

    def cards(self) -> dict[str, ModelInfo]:
        """What a list says of all models on offer, see :meth:`card`. Adapted ones that do not load are left out, which
        is logged.

        Raises:
            VnsSamError: One that the server was started with does not load.
        """
        found = {name: self.card(name) for name in self.first}
        for name in self.more():
            try:
                found[name] = self.card(name)
            except VnsSamError as error:
                logger.warning("%s is left out of the models on offer: %s", name, error.message)
        return found

    def resolve(self, name: str | None) -> str:
        """The name of the model that a client means.

        Raises:
            UsageError: It is not on offer.
        """
        wanted = name or self.names[0]
        if wanted not in self.names:
            raise UsageError(f"no model '{wanted[:60]}' here", hint=f"one of {', '.join(self.names)}")
        return wanted

    def refined(self, name: str, info: ModelInfo) -> str:
        """The name of a model on offer with the refiner after it.

        Raises:
            UsageError: It cannot be refined.
        """
        if not self.refinable(info):
            raise UsageError(f"the masks of '{name}' cannot be refined here", hint="leave refine out")
        return f"{name}+{self.refiner}"

    def refinable(self, card: ModelInfo) -> bool:
        """Whether the refiner can redraw the masks of a model."""
        return self.refiner is not None and bool(card.prompts) and not card.alpha

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
