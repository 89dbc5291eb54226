"""SAM's ViT beside transformers' ``SamModel`` as users run it: the same random weights, the same picture, in turns.

python benchmarks/peers.py [--backbone vit_b] [--boxes 16 64] [--rounds 3] [--dtypes float32 bfloat16]
python benchmarks/peers.py --save results/peers.json

Boxes are asked in float32. Memory is the peak of a fresh process that makes the model and encodes the picture once.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from measured import save_rows, score_of
from transformers import SamConfig, SamModel

import vns_sam
from vns_sam.cli.bench import random_boxes
from vns_sam.evaluation.cost import hardware
from vns_sam.evaluation.results import ResultRow, Score
from vns_sam.evaluation.timing import Times, in_fresh_process, take_turns
from vns_sam.sam.config import VITS, vit_config
from vns_sam.sam.keys import hf_key_to_own
from vns_sam.types import Prompts

OURS, THEIRS, SINGLES = "vns-sam", "transformers", "transformers, one at a time"
FRESH = {
    OURS: "peers.make_ours(sys.argv[2]).encode_pixels(pixels)",
    THEIRS: "peers.make_theirs(sys.argv[2]).get_image_embeddings(pixels)",
}
BEFORE = "import sys, torch\nsys.path.insert(0, sys.argv[1])\nimport peers\npixels = torch.zeros(1, 3, 1024, 1024)\n"
"""What a fresh process does; it is given the folder of this file and a backbone."""


def make_ours(backbone: str) -> vns_sam.SamModel:
    """Ours, with weights of its own."""
    return vns_sam.SamModel(vit_config(backbone)).eval()


def make_theirs(backbone: str) -> SamModel:
    """Theirs. Its own random weights are so small that the last norm makes nothing of them."""
    torch.manual_seed(0)
    numbers = {name: value for name, value in vars(VITS[backbone]).items() if name != "kind"}
    theirs = SamModel(SamConfig(vision_config=numbers, mask_decoder_config={"layer_norm_eps": 1e-5})).eval()
    for weight in theirs.parameters():
        weight.data.add_(0.02 * torch.randn_like(weight))
    return theirs


def build(backbone: str, dtype: torch.dtype) -> tuple[vns_sam.SamModel, SamModel]:
    """Ours and theirs with the same weights."""
    ours, theirs = make_ours(backbone), make_theirs(backbone)
    own = {hf_key_to_own(key): value for key, value in theirs.state_dict().items()}
    ours.load_state_dict({key: value for key, value in own.items() if key is not None}, strict=False)
    return ours.to(dtype), theirs.to(dtype)  # type: ignore[arg-type]  # its decorator hides self


@torch.inference_mode()
def main() -> int:
    """Prints the machine, the differences and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="vit_b", choices=VITS)
    parser.add_argument("--boxes", type=int, nargs="*", default=[16, 64])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dtypes", nargs="+", default=["float32"], choices=["float32", "bfloat16"])
    parser.add_argument("--save", type=Path)
    args = parser.parse_args()
    print(hardware(torch.device("cpu")))
    rows: list[ResultRow] = []
    for dtype in args.dtypes:
        rows += tell(args.backbone, compare(args, dtype), dtype)
    rows += tell(args.backbone, memory(args.backbone), "float32")
    if args.save:
        save_rows(args.save, rows, f"SAM's {args.backbone} beside transformers (sdpa), 1024 px")
    return 0


def compare(args: argparse.Namespace, dtype: str) -> dict[str, Times]:
    """Seconds by what is done and, behind a colon, whose model does it."""
    ours, theirs = build(args.backbone, getattr(torch, dtype))
    image = np.random.default_rng(0).integers(0, 256, (1024, 1024, 3), dtype=np.uint8)
    pixels = ours.preprocessing(image, torch.device("cpu"))[0][None].to(getattr(torch, dtype))
    features, embedding = ours.encode_pixels(pixels), theirs.get_image_embeddings(pixels)
    print(f"{dtype}: largest difference of the embedding: {(features.embedding - embedding).abs().max():.1e}")
    calls: dict[str, Callable[[], object]] = {
        f"encode: {OURS}": lambda: ours.encode_pixels(pixels),
        f"encode: {THEIRS}": lambda: theirs.get_image_embeddings(pixels),
    }
    if dtype == "float32" and args.boxes:
        known = ours.encode([image])
        ask = partial(theirs, image_embeddings=embedding, multimask_output=False)
        for count in args.boxes:
            boxes = random_boxes(count, 1024, 1024)
            given = torch.from_numpy(boxes).float()[None]
            calls[f"{count} boxes: {OURS}"] = partial(ours.decode, known, [Prompts(boxes=boxes)], [0])
            calls[f"{count} boxes: {THEIRS}"] = partial(ask, input_boxes=given)
            calls[f"{count} boxes: {SINGLES}"] = partial(_one_at_a_time, ask, given)
    return take_turns(calls, args.rounds)


def memory(backbone: str) -> dict[str, Times]:
    """GiB at the peak of a process that encodes one picture, as :func:`compare` gives seconds."""
    given = [str(Path(__file__).parent), backbone]
    program = {who: f"{BEFORE}with torch.inference_mode(): {what}" for who, what in FRESH.items()}
    taken = {who: in_fresh_process(told, given).peak_mib / 2**10 for who, told in program.items()}
    return {f"memory of encoding: {who}": Times((gib,)) for who, gib in taken.items()}


def tell(backbone: str, found: dict[str, Times], dtype: str) -> Iterator[ResultRow]:
    """Prints and yields each measurement, with how many times ours it is."""
    for name, taken in found.items():
        what, _, who = name.partition(": ")
        ratio = taken.median / found[f"{what}: {OURS}"].median
        unit = "GiB" if what.startswith("memory") else "s"
        print(f"  {dtype} {what}: {who:<30}{taken.median:>9.3f} {unit:<4}{ratio:.2f} x ours", flush=True)
        yield ResultRow(who, f"{backbone} {dtype}", what, {"taken": score_of(taken), "ratio": Score(round(ratio, 3))})


def _one_at_a_time(ask: Callable[..., object], boxes: torch.Tensor) -> None:
    for k in range(boxes.shape[1]):
        ask(input_boxes=boxes[:, k : k + 1])


if __name__ == "__main__":
    sys.exit(main())
