"""The options that choose a model, and the predictor that they ask for."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vns_sam.inference.predictor import Predictor

DEFAULT_MODEL = "vns-sam-tiny"


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds them to a verb."""
    parser.add_argument("--model", default=DEFAULT_MODEL, help="see: vns-sam models list (default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, mps (default: %(default)s)")
    parser.add_argument("--refine", metavar="MODEL", help="a DIS-SAM that redraws the masks, such as dis-sam-tiny")
    parser.add_argument(
        "--second-look",
        action=argparse.BooleanOptionalAction,
        help="look again, closer, at small and thin objects; default: for models with an input below 1024 pixels; "
        "a DIS-SAM looks again along uncertain boundaries",
    )


@dataclass(frozen=True)
class PredictorChoice:
    """What the options of :func:`add_model_arguments` ask for; it is picklable, and makes the predictor when called."""

    model: str
    device: str
    refine: str | None
    second_look: bool | None

    @classmethod
    def of(cls, args: argparse.Namespace) -> PredictorChoice:
        """The choice of a command line."""
        return cls(args.model, args.device, args.refine, args.second_look)

    def __call__(self) -> Predictor:
        """Loads the model."""
        from vns_sam.inference.load import load_model, refine_with
        from vns_sam.inference.predictor import Predictor
        from vns_sam.inference.second_look import wants_second_look

        model = load_model(self.model, self.device)
        if self.refine is not None:
            model = refine_with(model, self.refine)
        return Predictor(model, second_look=wants_second_look(model, self.second_look))


def build_predictor(args: argparse.Namespace) -> Predictor:
    """The predictor that the options of :func:`add_model_arguments` ask for."""
    return PredictorChoice.of(args)()
