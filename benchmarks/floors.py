"""How fast anything could be here: what the multiplications of a task take where nothing else is done.

python benchmarks/floors.py --data data [--rounds 3] [--tasks encode step look boxes method first]
python benchmarks/floors.py --data data --save results/floors.json

Multiplications and additions of ours are counted (torch's counter: products of matrices, convolutions, attention,
backward too). As many are then done as products of two 2048 x 2048 matrices, with the same threads, in the same turns:
no float32 program that makes the same products takes less than this floor. What it also has to do (norms, activations,
reading maps of which each number is used once) comes on top. A single product would tell more than a machine can hold
for seconds. For the first mask of a process the floor is a bare program that opens the same two graphs side by side and
runs them as often as the answer wants: about the picture, and about the cut-out of the second look.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import peers
import torch
import training_step
from measured import save_rows, score_of
from torch.utils.flop_counter import FlopCounterMode

from vns_sam.cli.bench import FIRST_MASK, random_boxes
from vns_sam.evaluation.cost import hardware
from vns_sam.evaluation.results import ResultRow, Score
from vns_sam.evaluation.timing import Times, in_fresh_process, take_turns
from vns_sam.inference.load import load_network
from vns_sam.sam.registry import BUNDLED
from vns_sam.types import Prompts

Work = Callable[[], object]
Pair = tuple[Work, Work | None]
"""Ours, and what it is compared with."""
OURS = peers.OURS
SIDE = 2048
MODEL = "vns-sam-tiny"
PICTURE = np.random.default_rng(0).integers(0, 256, (321, 481, 3), dtype=np.uint8)
FIRST = "first"
BARE = """
import json, sys, numpy, onnxruntime
from concurrent.futures import ThreadPoolExecutor
from safetensors.numpy import load_file
folder, looks = sys.argv[1], int(sys.argv[2])
weights = {key: value.astype(numpy.float32) for key, value in load_file(f"{folder}/model.safetensors").items()}
named = json.load(open(f"{folder}/onnx.json"))["weights"]
def opened(graph):
    options = onnxruntime.SessionOptions()
    kept = [onnxruntime.OrtValue.ortvalue_from_numpy(weights[key]) for _, key in named[graph].values()]
    options.add_external_initializers(list(named[graph]), kept)
    return onnxruntime.InferenceSession(f"{folder}/{graph}.onnx", options), kept
with ThreadPoolExecutor(2) as threads:
    (encoder, _), (decoder, _) = threads.map(opened, ("encoder", "decoder"))
box = {"points": numpy.ones((1, 2, 2), numpy.float32), "labels": numpy.array([[2, 3]])}
for height, width in ((352, 512), (448, 512))[:looks]:
    (embedding,) = encoder.run(None, {"pixels": numpy.zeros((1, 3, height, width), numpy.float32)})
    masks = numpy.zeros((1, 1, height // 4, width // 4), numpy.float32)
    decoder.run(None, {"embedding": embedding, "masks": masks, "has_mask": numpy.zeros(1, numpy.float32), **box})
"""
"""What no program that runs these graphs can leave out, given the folder of sam-tiny and how often it looks. The sizes
are those of the first mask that is measured: the picture's, and its cut-out's.
"""


def encode(args: argparse.Namespace) -> Pair:
    """ViT-B at 1024 px, and transformers'."""
    ours, theirs = peers.build("vit_b", torch.float32)
    pixels = torch.randn(1, 3, 1024, 1024)
    still = torch.inference_mode()
    return still(lambda: ours.encode_pixels(pixels)), still(lambda: theirs.get_image_embeddings(pixels))


def step(args: argparse.Namespace) -> Pair:
    """A step of the small model's training, and the plain loop's."""
    wanted = argparse.Namespace(data=args.data, set="camo", base=MODEL, pictures=6, side=320)
    with tempfile.TemporaryDirectory() as folder:
        task, batch = training_step.prepare(wanted, Path(folder))
    return lambda: training_step.ours(task, batch), lambda: training_step.plain(task, batch)


def look(args: argparse.Namespace) -> Pair:
    """What a second look adds at least: one window encoded."""
    model = load_network(MODEL)
    return lambda: model.encode([PICTURE]), None


def boxes(args: argparse.Namespace) -> Pair:
    """256 boxes in one call, and one at a time."""
    model = load_network(MODEL)
    features = model.encode([PICTURE])
    given = random_boxes(256, *PICTURE.shape[:2])
    return (
        lambda: model.decode(features, [Prompts(boxes=given)], [0]),
        lambda: [model.decode(features, [Prompts(boxes=given[k : k + 1])], [0]) for k in range(256)],
    )


def method(args: argparse.Namespace) -> Pair:
    """16 boxes in one call by VNS-SAM, and by the SAM below it."""
    given = [Prompts(boxes=random_boxes(16, *PICTURE.shape[:2]))]

    def decode(name: str) -> Work:
        model = load_network(name)
        features = model.encode([PICTURE])
        return lambda: model.decode(features, given, [0])

    return decode(MODEL), decode("sam-tiny")


TASKS = {
    "encode": ("SAM on ViT-B, a picture encoded", "transformers", encode),
    "step": ("a training step of vns-sam-tiny", "a plain loop", step),
    "look": ("vns-sam-tiny, a window encoded", "", look),
    "boxes": ("vns-sam-tiny, 256 boxes decoded", "one at a time", boxes),
    "method": ("vns-sam-tiny, 16 boxes decoded", "sam-tiny", method),
}


def main() -> int:
    """Prints and saves a row for each task."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of the set camo (%(default)s)")
    parser.add_argument("--tasks", nargs="+", default=[*TASKS, FIRST], choices=[*TASKS, FIRST])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--save", type=Path)
    args = parser.parse_args()
    print(hardware(torch.device("cpu")))
    rows = [row for name in args.tasks for row in (first(args) if name == FIRST else measure(name, args))]
    if args.save:
        save_rows(args.save, rows, "What is taken beside what the multiplications alone would take")
    return 0


def measure(name: str, args: argparse.Namespace) -> Iterator[ResultRow]:
    """The task in turns with products of as many multiplications, its floor."""
    what, other, make = TASKS[name]
    ours, peer = make(args)
    with FlopCounterMode(display=False, custom_mapping={torch.ops.aten.baddbmm_: _in_place}) as counter:
        ours()
    left, right = torch.randn(2, SIDE, SIDE)
    products = counter.get_total_flops() / (2 * SIDE**3)
    whole = max(1, round(products))

    def multiply() -> None:
        for _ in range(whole):
            left @ right

    calls: dict[str, Work] = {"floor": multiply, OURS: ours}
    if peer is not None:
        calls[other] = peer
    taken = take_turns(calls, args.rounds)
    taken["floor"] = Times(tuple(seconds * products / whole for seconds in taken["floor"].seconds))
    print(f"{counter.get_total_flops() / 1e9:.1f} GFLOP, {products:.1f} products of matrices")
    yield from tell(what, taken)


def _in_place(_into: torch.Size, left: torch.Size, right: torch.Size, **rest: object) -> int:
    """Of a product that is added where it belongs, which torch's counter does not know."""
    return 2 * left[0] * left[1] * left[2] * right[2]


def first(args: argparse.Namespace) -> Iterator[ResultRow]:
    """Fresh processes in turns, from their start to their end."""
    runs = {
        "floor": (BARE, [str(BUNDLED / "sam-tiny"), "2"]),
        OURS: (FIRST_MASK, ["sam-tiny", "onnx", "321", "481", "cpu"]),
    }
    calls = {who: partial(in_fresh_process, *run) for who, run in runs.items()}
    yield from tell("sam-tiny, the first mask of a process", take_turns(calls, args.rounds))


def tell(what: str, taken: dict[str, Times]) -> Iterator[ResultRow]:
    """Prints and yields what each took, in seconds and in floors."""
    print(what)
    for who, times in taken.items():
        floors = times.median / taken["floor"].median
        print(f"  {who:<20}{times.median:9.3f} s   {floors:.2f} x the floor", flush=True)
        yield ResultRow(who, what, "all", {"taken": score_of(times), "floors": Score(round(floors, 2))})


if __name__ == "__main__":
    sys.exit(main())
