"""The options that choose a model, and the predictor that they ask for."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vns_sam.inference.predictor import Predictor
    from vns_sam.types import SecondLook

DEFAULT_MODEL = "vns-sam-tiny"


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds them to a verb."""
    parser.add_argument("--model", default=DEFAULT_MODEL, help="see: vns-sam models list (default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, mps (default: %(default)s)")
    parser.add_argument("--refine", metavar="MODEL", help="a DIS-SAM that redraws the masks, such as dis-sam-tiny")
    add_second_look(parser)


def add_second_look(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Adds the options of the second look to a verb."""
    parser.add_argument(
        "--second-look",
        nargs="?",
        const="on",
        choices=("auto", "on", "off"),
        help="look again, closer, at small and thin objects; auto (default): with models whose input is below 1024 "
        "pixels; on alone makes a DIS-SAM look again along uncertain boundaries",
    )
    parser.add_argument("--no-second-look", action="store_const", const="off", dest="second_look", help="same as off")


def second_look(args: argparse.Namespace) -> SecondLook:
    """What the options of :func:`add_second_look` ask for."""
    from vns_sam.types import SECOND_LOOK

    return args.second_look or SECOND_LOOK


@dataclass(frozen=True)
class PredictorChoice:
    """What the options of :func:`add_model_arguments` ask for; it is picklable, and makes the predictor when called."""

    model: str
    device: str
    refine: str | None
    second_look: SecondLook

    @classmethod
    def of(cls, args: argparse.Namespace) -> PredictorChoice:
        """The choice of a command line."""
        return cls(args.model, args.device, args.refine, second_look(args))

    def __call__(self) -> Predictor:
        """Loads the model."""
        from vns_sam.inference.load import load_model, refine_with
        from vns_sam.inference.predictor import Predictor

        model = load_model(self.model, self.device)
        if self.refine is not None:
            model = refine_with(model, self.refine)
        return Predictor(model, second_look=self.second_look)


def build_predictor(args: argparse.Namespace) -> Predictor:
    """The predictor that the options of :func:`add_model_arguments` ask for."""
    return PredictorChoice.of(args)()
