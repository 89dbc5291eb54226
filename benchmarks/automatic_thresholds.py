"""What the thresholds of automatic masks cost and save: recall and number of masks over predicted IoU and stability.

python benchmarks/automatic_thresholds.py vns-sam-tiny sam-tiny --data data/dsb2018_nuclei data/coco128_seg --pictures 4

Every click of a grid is asked once and all candidates are kept; then each pair of thresholds is tried on them, with the
same suppression as in use. "By hand" is a mask for each click, the one that the model is surest of, nothing left out.
Pictures are those of ``train.txt``, the first by a hash of their names; objects are those of ``masks_instance/``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from zlib import crc32

import numpy as np

from vns_sam.data.pairs import Pair, find_pairs, read_instances
from vns_sam.images.read import read_image
from vns_sam.inference.automatic import AutomaticOptions, AutomaticSegmenter
from vns_sam.inference.load import load_model
from vns_sam.inference.regions import Region, suppress

SCORES = (0.0, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.88)
STABILITIES = (0.0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.95)
LEVELS = np.arange(0.5, 1.0, 0.05)
"""IoUs that an object counts as found from, as in COCO's average recall."""

Seen = tuple[list[Region], list[np.ndarray]]
"""All candidates of a picture, and its true objects (H, W) bool."""


def main() -> None:
    """Prints a table for each model, and the sweep as JSON where it is wanted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="MODEL")
    parser.add_argument("--data", nargs="+", type=Path, required=True, metavar="SET")
    parser.add_argument("--pictures", type=int, default=4, help="of each set (4)")
    parser.add_argument("--points-per-side", type=int, default=12)
    parser.add_argument("--save", type=Path, metavar="FILE.json")
    args = parser.parse_args()
    found = {}
    for name in args.models:
        options = AutomaticOptions(args.points_per_side, score=0, stability=0, box_iou=1, mask_iou=1)
        segmenter = AutomaticSegmenter(load_model(name), options)
        seen = {folder.name: [look(segmenter, pair) for pair in chosen(folder, args.pictures)] for folder in args.data}
        found[name] = {place: list(sweep(pictures)) for place, pictures in seen.items()}
        for place, pictures in seen.items():
            print(f"\n{name}, {place}: by hand {by_hand(pictures):.3f}")
            print("score stability recall masks")
            for row in found[name][place]:
                print("{score:5.2f} {stability:9.2f} {recall:6.3f} {masks:6.1f}".format(**row), flush=True)
    if args.save:
        args.save.write_text(json.dumps(found))


def chosen(folder: Path, count: int) -> list[Pair]:
    """Some pictures with objects told apart."""
    pairs = [pair for pair in find_pairs(folder, "train") if pair.instances is not None]
    return sorted(pairs, key=lambda pair: crc32(pair.stem.encode()))[:count]


def look(segmenter: AutomaticSegmenter, pair: Pair) -> Seen:
    """All that the grid finds in one picture."""
    assert pair.instances is not None
    return list(segmenter(read_image(pair.image)).regions), read_instances(pair.instances)


def sweep(pictures: Sequence[Seen]) -> Iterator[dict[str, float]]:
    """Recall and mean number of masks for each pair of thresholds."""
    for score, stability in product(SCORES, STABILITIES):
        recalls, counts = [], []
        for regions, truths in pictures:
            kept = [r for r in regions if r.score >= score and r.stability >= stability]
            kept = suppress([replace(r, rank=r.score) for r in kept], box_iou=0.7, mask_iou=0.7)
            recalls += [recall(kept, truth) for truth in truths]
            counts.append(len(kept))
        yield {
            "score": score,
            "stability": stability,
            "recall": float(np.mean(recalls)),
            "masks": float(np.mean(counts)),
        }


def by_hand(pictures: Sequence[Seen]) -> float:
    """Recall of one mask for each click, the surest, without suppression."""
    recalls = []
    for regions, truths in pictures:
        best: dict[tuple[float, float], Region] = {}
        for region in regions:
            if region.point not in best or region.score > best[region.point].score:
                best[region.point] = region
        recalls += [recall(list(best.values()), truth) for truth in truths]
    return float(np.mean(recalls))


def recall(regions: Sequence[Region], truth: np.ndarray) -> float:
    """The share of :data:`LEVELS` that the best mask of an object (H, W) bool reaches."""
    area = int(truth.sum())
    best = 0.0
    for region in regions:
        common = int(np.count_nonzero(truth[region.window.index] & region.mask))
        best = max(best, common / (area + region.area - common)) if common else best
    return float(np.mean(best >= LEVELS))


if __name__ == "__main__":
    main()
