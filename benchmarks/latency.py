"""What the bundled models take for one picture and one box: seconds of one core, in turns, so that they hold beside
other work.

python benchmarks/latency.py --save results/latency.json

The picture is ``docs/moth.jpg``, the box an object of 50 pixels: small enough that a second look is worth its time.
What is timed is all that ``Predictor`` does: bringing the picture to the model, encoding, decoding, full size.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

import torch
from measured import save_rows

from vns_sam import Predictor
from vns_sam.evaluation.results import ResultRow, Score
from vns_sam.evaluation.timing import Times
from vns_sam.images.read import read_image
from vns_sam.inference.load import load_model

PICTURE = Path(__file__).parents[1] / "docs" / "moth.jpg"
BOX = [300, 150, 350, 200]
REFINED = "+dis-sam-tiny"
ASKED = ("sam-tiny", "vns-sam-tiny", "sam-tiny" + REFINED, "vns-sam-tiny" + REFINED)
LOOKS = "vns-sam-tiny, two looks"


def main() -> int:
    """Measures, prints and saves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--save", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    image = read_image(PICTURE)
    predictors = {name: Predictor(load_model(name), second_look="off") for name in ASKED}
    predictors[LOOKS] = Predictor(load_model("vns-sam-tiny"), second_look="on")

    taken: dict[str, list[float]] = {name: [] for name in predictors}
    for counts in [False] + [True] * args.rounds:
        for name, predictor in predictors.items():
            start = time.process_time()
            predictor.set_image(image)
            predictor.predict(boxes=[BOX])
            if counts:
                taken[name].append(time.process_time() - start)
    times = {name: Times(tuple(seconds)) for name, seconds in taken.items()}
    rows = [row(name, measured, times[ASKED[0]]) for name, measured in times.items()]
    for one in rows:
        ms, ratio = one.scores["ms"], one.scores["ratio"]
        print(f"{one.model:<32}{ms.mean:>8.0f} ms of one core{ratio.mean:>8.2f} of {ASKED[0]}")
    if args.save:
        title = "One picture and one box, from pixels to a mask at full size; milliseconds of one core"
        save_rows(args.save, rows, title)
    return 0


def row(name: str, taken: Times, first: Times) -> ResultRow:
    """Median, shortest and longest milliseconds, and the median of the rounds' ratios to the first model."""
    ms = Score(*(round(1000 * value, 1) for value in (taken.median, *taken.spread)))
    ratios = [mine / other for mine, other in zip(taken.seconds, first.seconds, strict=True)]
    return ResultRow(name, PICTURE.name, "box", {"ms": ms, "ratio": Score(round(statistics.median(ratios), 3))})


if __name__ == "__main__":
    sys.exit(main())
