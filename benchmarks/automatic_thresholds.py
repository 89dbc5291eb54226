"""What the thresholds of automatic masks cost and save: recall and number of masks over predicted IoU and stability.

python benchmarks/automatic_thresholds.py vns-sam-tiny sam-tiny --data data/dsb2018_nuclei data/coco128_seg --pictures 4

"As it is" is the automatic segmenter with its own limits, "by hand" a mask for each click of the same grid, the one
that the model is surest of, nothing left out. Then every click is asked once and all candidates are kept, and each
pair of thresholds is tried on them, with the same suppression as in use; boxes are not asked about there.
Pictures are the first of a list by a hash of their names; objects are those of ``masks_instance/``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import numpy as np

from vns_sam.data.pairs import Pair, find_pairs, read_instances
from vns_sam.images.read import read_image
from vns_sam.inference.automatic import AutomaticOptions, AutomaticSegmenter
from vns_sam.inference.load import load_model
from vns_sam.inference.regions import box_overlaps

SCORES = (0.0, 0.1, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.7, 0.88)
STABILITIES = (0.0, 0.3, 0.5, 0.6, 0.7, 0.8, 0.95)
LEVELS = np.arange(0.5, 1.0, 0.05)
"""IoUs that an object counts as found from, as in COCO's average recall."""
EVERY = 2
"""Pixels are compared on every second row and column: of many masks with many."""


class Seen(NamedTuple):
    """All candidates of a picture.

    Attributes:
        scores, stabilities: Of the candidates, (n,), the surest first.
        clicks: Which click each comes from, (n,).
        alike: Whether two are of one object, (n, n) bool: their boxes or masks overlap by more than is usual.
        overlaps: IoU of each with each true object, (n, t).
    """

    scores: np.ndarray
    stabilities: np.ndarray
    clicks: np.ndarray
    alike: np.ndarray
    overlaps: np.ndarray


def main() -> None:
    """Prints a table for each model, and the sweep as JSON where it is wanted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="MODEL")
    parser.add_argument("--data", nargs="+", type=Path, required=True, metavar="SET")
    parser.add_argument("--pictures", type=int, default=4, help="of each set (4)")
    parser.add_argument("--split", default="train", help="the list that pictures are taken from (train)")
    parser.add_argument("--points-per-side", type=int, default=12)
    parser.add_argument("--save", type=Path, metavar="FILE.json")
    args = parser.parse_args()
    found = {}
    for name in args.models:
        model = load_model(name)
        usual = AutomaticSegmenter(model, AutomaticOptions(args.points_per_side))
        options = replace(usual.options, score=0, stability=0, box_iou=1, mask_iou=1, boxes=False)
        segmenter = AutomaticSegmenter(model, options)
        pairs = {folder.name: chosen(folder, args.pictures, args.split) for folder in args.data}
        seen = {place: [look(segmenter, pair) for pair in some] for place, some in pairs.items()}
        found[name] = {place: list(sweep(pictures)) for place, pictures in seen.items()}
        for place, pictures in seen.items():
            as_it_is = [used(usual, pair) for pair in pairs[place]]
            recalled = np.mean([one for recalls, _ in as_it_is for one in recalls])
            masks = np.mean([count for _, count in as_it_is])
            print(f"\n{name}, {place}: by hand {by_hand(pictures):.3f}, as it is {recalled:.3f} with {masks:.0f} masks")
            print("score stability recall masks")
            for row in found[name][place]:
                print("{score:5.2f} {stability:9.2f} {recall:6.3f} {masks:6.1f}".format(**row), flush=True)
    if args.save:
        args.save.write_text(json.dumps(found))


def chosen(folder: Path, count: int, split: str) -> list[Pair]:
    """Some pictures with objects told apart."""
    pairs = [pair for pair in find_pairs(folder, split) if pair.instances is not None]
    return sorted(pairs, key=lambda pair: crc32(pair.stem.encode()))[:count]


def look(segmenter: AutomaticSegmenter, pair: Pair) -> Seen:
    """All that the grid finds in one picture."""
    assert pair.instances is not None
    image, truths = read_image(pair.image), read_instances(pair.instances)
    regions = sorted(segmenter(image).regions, key=lambda region: -region.score)
    masks = flat([region.full(image.shape[:2]) for region in regions])
    boxes = np.array([region.box for region in regions], float)
    near = np.stack([box_overlaps(boxes, box) for box in boxes])
    points = {point: number for number, point in enumerate(dict.fromkeys(region.point for region in regions))}
    return Seen(
        np.array([region.score for region in regions]),
        np.array([region.stability for region in regions]),
        np.array([points[region.point] for region in regions]),
        (near > AutomaticOptions.box_iou) | (shared(masks, masks) > AutomaticOptions.mask_iou),
        shared(masks, flat(truths)),
    )


def used(segmenter: AutomaticSegmenter, pair: Pair) -> tuple[list[float], int]:
    """Recall of each object of a picture as the segmenter is used, and how many masks it gives."""
    assert pair.instances is not None
    masks, truths = segmenter(read_image(pair.image)).masks, read_instances(pair.instances)
    overlaps = shared(flat(list(masks)), flat(truths)) if len(masks) else np.zeros((0, len(truths)))
    return recall(overlaps), len(masks)


def flat(masks: Sequence[np.ndarray]) -> np.ndarray:
    """Masks (H, W) bool as rows (n, h * w) float32."""
    return np.stack([mask[::EVERY, ::EVERY].ravel() for mask in masks]).astype(np.float32)


def shared(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """IoU (n, m) of rows of :func:`flat`."""
    common = first @ second.T
    found: np.ndarray = common / np.maximum(first.sum(1)[:, None] + second.sum(1)[None] - common, 1)
    return found


def sweep(pictures: Sequence[Seen]) -> Iterator[dict[str, float]]:
    """Recall and mean number of masks for each pair of thresholds."""
    for score, stability in product(SCORES, STABILITIES):
        recalls, counts = [], []
        for seen in pictures:
            kept: list[int] = []
            for index in np.flatnonzero((seen.scores >= score) & (seen.stabilities >= stability)):
                if not seen.alike[index, kept].any():
                    kept.append(int(index))
            recalls += recall(seen.overlaps[kept])
            counts.append(len(kept))
        found = {"recall": float(np.mean(recalls)), "masks": float(np.mean(counts))}
        yield {"score": score, "stability": stability, **found}


def by_hand(pictures: Sequence[Seen]) -> float:
    """Recall of one mask for each click, the surest, without suppression."""
    firsts = [np.unique(seen.clicks, return_index=True)[1] for seen in pictures]
    recalls = [recall(seen.overlaps[first]) for seen, first in zip(pictures, firsts, strict=True)]
    return float(np.mean([each for some in recalls for each in some]))


def recall(overlaps: np.ndarray) -> list[float]:
    """The share of :data:`LEVELS` that the best mask of each object reaches, of overlaps (n, t)."""
    best = overlaps.max(axis=0, initial=0)
    return [float(np.mean(one >= LEVELS)) for one in best]


if __name__ == "__main__":
    main()
