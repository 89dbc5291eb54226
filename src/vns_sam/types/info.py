"""What a model is and what it can be asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, overload

PromptKind = Literal["box", "point", "mask"]
SecondLook = Literal["auto", "on", "off"]
"""Whether small and thin objects are looked at again, closer; "auto" leaves it to what the model gains from it."""
Backend = Literal["auto", "onnx", "torch"]
"""What runs a model: its graphs in ONNX Runtime, the network in torch, or whichever suits the device."""
SECOND_LOOK: SecondLook = "auto"
"""Where nobody says otherwise: in Python, on the command line, in evaluations, studies and pseudo-labels."""


class _Later:
    """A field of a dataclass that may be given as a function, which is called when the field is first read."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type) -> _Later: ...
    @overload
    def __get__(self, instance: object, owner: type) -> str: ...
    def __get__(self, instance: object | None, owner: type) -> str | _Later:
        if instance is None:
            raise AttributeError(self.name)  # no default
        value = vars(instance)[self.name]
        if callable(value):
            value = vars(instance)[self.name] = value()
        return str(value)

    def __set__(self, instance: object, value: str | Callable[[], str]) -> None:
        vars(instance)[self.name] = value


@dataclass(frozen=True)
class ModelInfo:
    """What a model is and what it can be asked: all that anyone needs to know of it beside its answers.

    Attributes:
        name: What users call it.
        digest: Identifies the weights and the configuration: two models with one digest give the same answers. May be
            given as a function, which is called when it is first needed; reading every weight takes its time.
        prompts: The kinds of prompts it takes; empty for a model that finds what there is without one.
        input_side: Side of its square input in pixels; None where it has none.
        candidates: Masks that it offers for one prompt, see :meth:`Answers.candidates`.
        edges: Whether it predicts edges.
        alpha: Whether it says how much of each pixel is object.
        look_again: How it looks a second time: "crops" by being asked again about parts of the picture, "itself" by
            ``decode(..., look_again=True)``, "first" in the same way, by which its first stage is asked again about
            crops, or "never".
        least_score, least_stability: From which predicted IoU and stability on a mask that nobody asked for is worth
            showing, where automatic masks are filtered by nothing else; the defaults are SAM's own.
        backend: What runs it.
    """

    name: str
    digest: _Later = _Later()
    prompts: frozenset[PromptKind] = frozenset({"box", "point", "mask"})
    input_side: int | None = None
    candidates: int = 1
    edges: bool = False
    alpha: bool = False
    look_again: Literal["crops", "itself", "first", "never"] = "crops"
    least_score: float = 0.88
    least_stability: float = 0.95
    backend: Literal["onnx", "torch"] = "torch"

    def __getstate__(self) -> dict[str, Any]:
        """What is copied and pickled: the digest itself, not what it is made of."""
        return {**vars(self), "digest": self.digest}
