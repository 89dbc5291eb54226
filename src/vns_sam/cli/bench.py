"""Speed and memory of models on this machine. What is compared takes turns in one run, so the ratios hold on a machine
that has other work too.

vns-sam bench                                  the bundled model: encoding, 1 and 32 boxes, the first mask of a process
vns-sam bench vns-sam-tiny sam-tiny            side by side
vns-sam bench vit_b --boxes 16 64 256 --size 1024 1024 --rounds 3
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from vns_sam.cli.lines import print_json
from vns_sam.cli.numbers import at_least
from vns_sam.cli.predictor import add_backend
from vns_sam.errors import without_key

if TYPE_CHECKING:
    import numpy as np

    from vns_sam.types import PromptableModel, Prompts

MOST_BOXES, MOST_SIDE = 100_000, 30_000
FIRST_MASK = """
import sys, numpy, vns_sam
height, width = int(sys.argv[3]), int(sys.argv[4])
predictor = vns_sam.Predictor(vns_sam.load_model(sys.argv[1], sys.argv[5], backend=sys.argv[2]))
predictor.set_image(numpy.full((height, width, 3), 128, numpy.uint8))
takes = predictor.model.info.prompts
if "box" in takes:
    predictor.predict(boxes=[[0, 0, width // 2, height // 2]])
elif takes:
    predictor.predict(points=[[[width // 4, height // 4]]], labels=[[1]])
else:
    predictor.predict()
"""
"""The first mask of a process: a model's name and backend, then height and width of the picture, and the device."""


@dataclass(frozen=True)
class Row:
    """One measured thing: its median, shortest and longest seconds, and the peak MiB where a process was measured."""

    what: str
    seconds: float
    shortest: float
    longest: float
    peak_mib: float | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("models", nargs="*", metavar="MODEL", help="names, folders or hub ids (vns-sam-tiny)")
    parser.add_argument(
        "--boxes",
        type=at_least(1, MOST_BOXES),
        nargs="+",
        default=[1, 32],
        metavar="N",
        help="boxes asked about (1 32)",
    )
    parser.add_argument(
        "--size", type=at_least(1, MOST_SIDE), nargs=2, default=[480, 640], metavar=("H", "W"), help="of the picture"
    )
    parser.add_argument("--rounds", type=at_least(1), default=5, metavar="N", help="measured turns of each (5)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, ... (cpu)")
    add_backend(parser)


def run(args: argparse.Namespace) -> int:
    """Runs the verb."""
    from vns_sam.evaluation.cost import hardware
    from vns_sam.inference.load import check_device

    machine = hardware(check_device(args.device))
    rows = _measure(args)
    if args.json:
        print_json({"machine": machine, "command": args.command_line, "rows": [vars(row) for row in rows]})
        return 0
    print(f"{machine}; {args.rounds} rounds, pictures of {args.size[1]} x {args.size[0]}")
    for row in rows:
        memory = "" if row.peak_mib is None else f"   {row.peak_mib:.0f} MiB at its peak"
        spread = f"({1000 * row.shortest:.1f} to {1000 * row.longest:.1f})"
        print(f"  {row.what:<44}{1000 * row.seconds:>10.1f} ms  {spread}{memory}")
    return 0


def _measure(args: argparse.Namespace) -> list[Row]:
    import numpy as np

    from vns_sam.evaluation.timing import Times, in_fresh_process, take_turns
    from vns_sam.inference.load import check_device, load_model

    generator, names = np.random.default_rng(0), args.models or ["vns-sam-tiny"]
    image = generator.integers(0, 256, (*args.size, 3), dtype=np.uint8)
    calls: dict[str, Callable[[], object]] = {}
    for name in names:
        model = load_model(name, args.device, backend=args.backend)
        calls |= {f"{without_key(name)}: {what}": call for what, call in _calls(model, image, args.boxes).items()}
    times = take_turns(calls, args.rounds, check_device(args.device))
    rows = [Row(what, taken.median, *taken.spread) for what, taken in times.items()]
    for name in names:
        given = [name, args.backend, *map(str, args.size), args.device]
        fresh = [in_fresh_process(FIRST_MASK, given) for _ in range(args.rounds)]
        taken = Times(tuple(one.seconds for one in fresh))
        peak = max(one.peak_mib for one in fresh)
        rows.append(Row(f"{without_key(name)}: first mask", taken.median, *taken.spread, peak))
    return rows


def _calls(model: PromptableModel, image: np.ndarray, counts: list[int]) -> dict[str, Callable[[], Any]]:
    """What is timed of a model: encoding, and boxes, or clicks where it takes no box, in one call and one at a time."""
    features = model.encode([image])
    calls: dict[str, Callable[[], Any]] = {"encode": lambda: model.encode([image])}
    if not model.info.prompts:
        return calls | {"decode": lambda: model.decode(features)}
    what = "boxes" if "box" in model.info.prompts else "clicks"
    for count in counts:
        boxes = random_boxes(count, image.shape[0], image.shape[1])
        calls[f"{count} {what} in one call"] = partial(model.decode, features, [_prompts(boxes, what)], [0])
        singles = [_prompts(boxes[i : i + 1], what) for i in range(count)]
        if count > 1:
            calls[f"{count} {what} one at a time"] = partial(_one_at_a_time, model, features, singles)
    return calls


def _prompts(boxes: np.ndarray, what: str) -> Prompts:
    """Boxes (P, 4) XYXY as prompts, or a click in the middle of each."""
    import numpy as np

    from vns_sam.types import Prompts

    if what == "boxes":
        return Prompts(boxes=boxes)
    middles = (boxes[:, None, :2] + boxes[:, None, 2:]) / 2
    return Prompts(points=middles, labels=np.ones(middles.shape[:2], np.int64))


def _one_at_a_time(model: PromptableModel, features: Any, singles: list[Any]) -> None:
    """Asks about each box in a call of its own."""
    for single in singles:
        model.decode(features, [single], [0])


def random_boxes(count: int, height: int, width: int) -> np.ndarray:
    """Boxes (count, 4) XYXY inside a picture, the same each time."""
    import numpy as np

    generator = np.random.default_rng(0)
    corners = generator.uniform(0, 0.5, (count, 2))
    sides = generator.uniform(0.06, 0.4, (count, 2))
    return np.concatenate([corners, corners + sides], axis=1) * np.array([width, height] * 2)
