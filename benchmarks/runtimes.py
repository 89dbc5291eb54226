"""Torch, ONNX Runtime and, where it is installed, OpenVINO on one model: they take turns in one run.

    python benchmarks/runtimes.py                         # vns-sam-tiny: a picture, 1 box, 8 boxes
    python benchmarks/runtimes.py sam-tiny --rounds 15 --threads 2
    pip install openvino && python benchmarks/runtimes.py

Numbers are medians in milliseconds and ratios to torch. OpenVINO runs the encoder of an export that holds its weights.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="vns-sam-tiny")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(args.threads)
    found = measure(args.model, args.rounds, args.threads)
    if args.json:
        print(json.dumps(found))
        return
    for what, times in found.items():
        ratios = ", ".join(f"{name} {ms:.1f} ({times['torch'] / ms:.2f} x)" for name, ms in times.items())
        print(f"{what:<10} {ratios}")


def measure(name: str, rounds: int, threads: int) -> dict[str, dict[str, float]]:
    """Milliseconds by what is done, and by who does it."""
    import numpy as np

    from vns_sam.evaluation.timing import take_turns
    from vns_sam.images.read import read_image
    from vns_sam.inference.load import load_model
    from vns_sam.types import Prompts

    picture = read_image(Path(__file__).parents[1] / "src" / "vns_sam" / "assets" / "demo.jpg")
    models = {backend: load_model(name, backend=backend) for backend in ("torch", "onnx")}
    calls: dict[str, Callable[[], object]] = {}
    for backend, model in models.items():
        calls[f"picture {backend}"] = partial(model.encode, [picture])
        features = model.encode([picture])
        for count in (1, 8):
            boxes = [Prompts(np.tile([[198.0, 98.0, 449.0, 311.0]], (count, 1)))]
            calls[f"{count}-box {backend}"] = partial(model.decode, features, boxes, [0])
    if find_spec("openvino") is not None:
        calls["picture openvino"] = _openvino(name, picture, threads)
    found: dict[str, dict[str, float]] = {}
    for call, taken in take_turns(calls, rounds).items():
        what, backend = call.split()
        found.setdefault(what, {})[backend] = 1000 * taken.median
    return found


def _openvino(name: str, picture: np.ndarray, threads: int) -> Callable[[], object]:
    import openvino

    from vns_sam.export.onnx import write
    from vns_sam.inference.load import load_network

    network = load_network(name)
    folder = tempfile.mkdtemp()
    write(network, Path(folder))
    core = openvino.Core()
    compiled = core.compile_model(f"{folder}/encoder.onnx", "CPU", {"INFERENCE_NUM_THREADS": threads})
    return lambda: compiled(network.preprocessing.padded(picture)[0][None])


if __name__ == "__main__":
    main()
