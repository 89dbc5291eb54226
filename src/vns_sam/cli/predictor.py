"""The options that choose a model, and the predictor that they ask for."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from vns_sam.cli.numbers import at_least
from vns_sam.errors import UsageError

if TYPE_CHECKING:
    from vns_sam.inference.automatic import AutomaticOptions
    from vns_sam.inference.predictor import Predictor
    from vns_sam.types import Backend, SecondLook

DEFAULT_MODEL = "vns-sam-tiny"
MOST_CLICKS = 1000
"""Along a side."""


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds them to a verb."""
    parser.add_argument("--model", default=DEFAULT_MODEL, help="see: vns-sam models list (default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda, cuda:1, mps (default: %(default)s)")
    add_backend(parser)
    parser.add_argument("--refine", metavar="MODEL", help="a DIS-SAM that redraws the masks, such as dis-sam-tiny")
    add_second_look(parser)


def add_backend(parser: argparse.ArgumentParser) -> None:
    """Adds the option that chooses what runs a model to a verb."""
    parser.add_argument(
        "--backend",
        choices=("auto", "onnx", "torch"),
        default="auto",
        help="what runs the model: its graphs, the network, or (auto, the default) graphs on the CPU where it has them",
    )


def add_second_look(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Adds the options of the second look to a verb."""
    parser.add_argument(
        "--second-look",
        nargs="?",
        const="on",
        choices=("auto", "on", "off"),
        help="look again, closer, at small and thin objects; auto (default): with models whose input is below 1024 "
        "pixels, dis-sam-tiny's first stage among them; on alone makes other DIS-SAMs look again along uncertain "
        "boundaries",
    )
    parser.add_argument("--no-second-look", action="store_const", const="off", dest="second_look", help="same as off")


def add_automatic_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of automatic masks to a verb."""
    parser.add_argument("--auto", action="store_true", help="all objects, without a prompt: a grid of clicks, filtered")
    clicks = at_least(1, MOST_CLICKS)
    parser.add_argument("--points-per-side", type=clicks, metavar="N", help="clicks along the longer side, with --auto")
    parser.add_argument(
        "--least-score", type=float, metavar="IOU", help="least predicted IoU (the model's), with --auto"
    )
    parser.add_argument(
        "--overlap",
        type=float,
        metavar="IOU",
        help="boxes, or masks, that overlap more are of one object, with --auto; less leaves fewer copies (0.9, 0.85)",
    )
    parser.add_argument("--rank", choices=("score", "vns"), help="best first, or what hardly stands out; with --auto")


def automatic_options(args: argparse.Namespace) -> AutomaticOptions | None:
    """What the options of :func:`add_automatic_arguments` ask for; None without ``--auto``.

    Raises:
        UsageError: A value is outside of its range, or there is no ``--auto`` that it could belong to.
    """
    given = {
        "points_per_side": args.points_per_side,
        "score": args.least_score,
        "box_iou": args.overlap,
        "mask_iou": args.overlap,
        "rank": args.rank,
    }
    given = {name: value for name, value in given.items() if value is not None}
    if not args.auto:
        if given:
            options = "--points-per-side, --least-score, --overlap and --rank"
            raise UsageError(f"{options} belong to --auto", hint="add --auto")
        return None
    from vns_sam.inference.automatic import AutomaticOptions

    return AutomaticOptions(**given)


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
    automatic: AutomaticOptions | None = None
    backend: Backend = "auto"

    @classmethod
    def of(cls, args: argparse.Namespace) -> PredictorChoice:
        """The choice of a command line."""
        look, automatic = second_look(args), automatic_options(args)
        return cls(args.model, args.device, args.refine, look, automatic, args.backend)

    def on(self, device: str) -> PredictorChoice:
        """The same on another device."""
        return replace(self, device=device)

    def __call__(self) -> Predictor:
        """Loads the model."""
        from vns_sam.inference.load import load_model, refine_with
        from vns_sam.inference.predictor import Predictor

        model = load_model(self.model, self.device, backend=self.backend)
        if self.refine is not None:
            model = refine_with(model, self.refine, self.device, backend=self.backend, base=self.model)
        if self.automatic is not None:
            from vns_sam.inference.everything import AutomaticPredictor

            return AutomaticPredictor(model, self.automatic)
        return Predictor(model, second_look=self.second_look)


def build_predictor(args: argparse.Namespace) -> Predictor:
    """The predictor that the options of :func:`add_model_arguments` ask for."""
    return PredictorChoice.of(args)()
