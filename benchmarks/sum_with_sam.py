"""What vns-sam-tiny gains and loses by adding SAM's logits to its own: docs/experiments/021-adding-sams-own-mask.md.

    python benchmarks/sum_with_sam.py DATA --pictures 8

DATA holds the small sets of docs/datasets.md; pictures are drawn from their train lists.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import torch

from vns_sam.images.geometry import maps_to_original
from vns_sam.images.read import read_image
from vns_sam.inference.load import load_network
from vns_sam.metrics.iou import iou
from vns_sam.sam.promptable import batch_prompts
from vns_sam.types import Prompts
from vns_sam.vns.model import VnsSamModel

UNSEEN = (
    *("polypgen", "busi", "bsdata", "mpdd_metal_plate", "soybean_impurity", "imgsal"),
    *("caltech_animals", "ecssd", "pascal_s", "oxford_pets", "crackforest"),
)
OWN = ("camo", "kvasir_seg", "cvc_clinicdb", "magnetic_tile", "sd_saliency_900", "neu_seg")
ADDED = (0.25, 0.5, 1.0, 2.0)
NOISE = 0.1
"""Of a box's corners, as a share of its sides."""


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--pictures", type=int, default=8, help="of each set")
    args = parser.parse_args()
    found = {name: measure(args.data / name, args.pictures) for name in (*UNSEEN, *OWN)}
    for group, sets in (("unseen", UNSEEN), ("own", OWN), *((name, (name,)) for name in found)):
        for kind in ("box", "noisy box", "click"):
            ways = found[sets[0]][kind]
            means = {way: np.mean([np.mean(found[name][kind][way]) for name in sets]) for way in ways}
            print(f"{group:<18}{kind:<10}", "  ".join(f"{way} {mean:.3f}" for way, mean in means.items()), flush=True)


def measure(folder: Path, count: int) -> dict[str, dict[str, list[float]]]:
    """IoU of each picture by prompt and by what was added."""
    rng = np.random.default_rng(0)
    names = (folder / "train.txt").read_text().split()
    scores: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for name in [names[i] for i in rng.permutation(len(names))[:count]]:
        (file,) = (folder / "images").glob(f"{name}.*")
        (mask,) = (folder / "masks").glob(f"{name}.*")
        truth = read_image(mask)[..., 0] > 127
        for kind, way, logits in answers(read_image(file), truth, rng):
            scores[kind][way].append(iou(logits > 0, truth))
    return scores


def answers(image: np.ndarray, truth: np.ndarray, rng: np.random.Generator) -> Iterator[tuple[str, str, np.ndarray]]:
    """Prompt, what was added, and logits (H, W)."""
    vns, sam = _model("vns-sam-tiny"), _model("sam-tiny")
    assert isinstance(vns, VnsSamModel)
    pixels, geometry = vns.preprocessing(image, vns.device)
    with torch.inference_mode():
        features, plain = vns.encode_pixels(pixels[None]), sam.encode_pixels(pixels[None])
        for kind, prompts in prompts_of(truth, rng):
            ((_, batch),) = batch_prompts([prompts], [0], [geometry], vns.preprocessing)
            maps = vns.decode_levels(features, batch)
            low = (maps.mask_logits, maps.sam_mask_logits, sam.decode_batch(plain, batch).mask_logits)
            own, inside, beside = (np.asarray(maps_to_original(one, geometry)[0]) for one in low)
            own = own - vns.config.mask_threshold
            yield kind, "alone", own
            yield kind, "sam-tiny", beside
            for share in ADDED:
                yield kind, f"inside x {share:g}", own + share * inside
                yield kind, f"beside x {share:g}", own + share * beside


_model = cache(load_network)


def prompts_of(truth: np.ndarray, rng: np.random.Generator) -> Iterator[tuple[str, Prompts]]:
    """The tight box, a noisy one, and a click somewhere on the object."""
    rows, columns = np.nonzero(truth)
    box = np.array([[columns.min(), rows.min(), columns.max(), rows.max()]], np.float32)
    sides = np.tile(box[0, 2:] - box[0, :2] + 1, 2)
    noisy = box + rng.uniform(-NOISE, NOISE, (1, 4)).astype(np.float32) * sides
    place = rng.integers(len(columns))
    yield "box", Prompts(boxes=box)
    yield "noisy box", Prompts(boxes=noisy.clip(0, [*truth.shape[::-1]] * 2))
    click = np.array([[[columns[place], rows[place]]]], np.float32)
    yield "click", Prompts(points=click, labels=np.array([[1]]))


if __name__ == "__main__":
    main()
