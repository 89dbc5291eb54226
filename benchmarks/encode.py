"""Speed of a model on this machine: encoding, decoding one and many prompts, the first mask of a process.

Everything is measured in one run, so that the numbers compare: ``python benchmarks/encode.py [MODEL]``.
"""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import torch

import vns_sam
from vns_sam.evaluation.cost import hardware, median_seconds
from vns_sam.types import PromptableModel, Prompts

HEIGHT, WIDTH, PROMPTS = 480, 640, 32
CALLS = 9

FIRST_MASK = """
import sys, numpy, vns_sam
predictor = vns_sam.Predictor(vns_sam.load_model(sys.argv[1]))
predictor.set_image(numpy.full((480, 640, 3), 128, numpy.uint8))
predictor.predict(boxes=[[100, 100, 300, 300]])
"""


def random_boxes(count: int, generator: np.random.Generator) -> np.ndarray:
    """Boxes (count, 4) XYXY inside the picture."""
    corner = generator.uniform((0, 0), (WIDTH / 2, HEIGHT / 2), (count, 2))
    size = generator.uniform(40, 200, (count, 2))
    return np.concatenate([corner, corner + size], axis=1)


def measure(model: PromptableModel, name: str) -> list[tuple[str, float]]:
    """Rows of the table: what, and its seconds."""
    generator = np.random.default_rng(0)
    image = generator.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    boxes = random_boxes(PROMPTS, generator)
    features = model.encode([image])
    together = Prompts(boxes=boxes)
    singles = [Prompts(boxes=boxes[i : i + 1]) for i in range(PROMPTS)]

    def one_at_a_time() -> None:
        for single in singles:
            model.decode(features, [single], [0])

    return [
        ("encode one picture", median_seconds(lambda: model.encode([image]), CALLS)),
        ("decode 1 box", median_seconds(lambda: model.decode(features, singles[:1], [0]), CALLS)),
        (
            f"decode {PROMPTS} boxes in one call",
            median_seconds(lambda: model.decode(features, [together], [0]), 5),
        ),
        (f"decode {PROMPTS} boxes one at a time", median_seconds(one_at_a_time, 5)),
        ("first mask, new process", median_seconds(lambda: first_mask(name), 3)),
    ]


def first_mask(name: str) -> None:
    """Starts Python, loads the model and makes one mask."""
    subprocess.run([sys.executable, "-c", FIRST_MASK, name], check=True)


def main() -> None:
    """Prints the machine and the table."""
    name = sys.argv[1] if len(sys.argv) > 1 else "vns-sam-tiny"
    print(hardware(torch.device("cpu")))
    print(f"{name}, CPU, float32, a picture of {WIDTH} x {HEIGHT}, medians")
    rows = measure(vns_sam.load_model(name), name)
    for what, seconds in rows:
        print(f"  {what:<32}{1000 * seconds:>9.1f} ms")
    table = dict(rows)
    together, apart = (table[f"decode {PROMPTS} boxes {how}"] for how in ("in one call", "one at a time"))
    print(f"  one call is {apart / together:.2f} times as fast as one at a time")


if __name__ == "__main__":
    main()
