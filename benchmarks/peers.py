"""SAM's ViT beside transformers' ``SamModel`` as users run it: the same random weights, the same picture, in turns.

python benchmarks/peers.py [--backbone vit_b] [--boxes 1 16 64] [--rounds 3] [--dtype float32]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from transformers import SamConfig, SamModel

import vns_sam
from vns_sam.cli.bench import random_boxes
from vns_sam.evaluation.cost import hardware
from vns_sam.evaluation.timing import take_turns
from vns_sam.sam.config import VITS, vit_config
from vns_sam.sam.keys import hf_key_to_own
from vns_sam.types import Prompts


def build(backbone: str, dtype: torch.dtype) -> tuple[vns_sam.SamModel, SamModel]:
    """Ours and theirs with the same weights."""
    torch.manual_seed(0)
    numbers = {name: value for name, value in vars(VITS[backbone]).items() if name != "kind"}
    theirs = SamModel(SamConfig(vision_config=numbers, mask_decoder_config={"layer_norm_eps": 1e-5})).eval()
    for weight in theirs.parameters():  # its own initial values are so small that the last norm makes nothing of them
        weight.data.add_(0.02 * torch.randn_like(weight))
    ours = vns_sam.SamModel(vit_config(backbone)).eval()
    own = {hf_key_to_own(key): value for key, value in theirs.state_dict().items()}
    ours.load_state_dict({key: value for key, value in own.items() if key is not None}, strict=False)
    return ours.to(dtype), theirs.to(dtype)


@torch.inference_mode()
def main() -> None:
    """Prints the machine, the differences and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbone", default="vit_b", choices=VITS)
    parser.add_argument("--boxes", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    args = parser.parse_args()
    ours, theirs = build(args.backbone, getattr(torch, args.dtype))
    image = np.random.default_rng(0).integers(0, 256, (1024, 1024, 3), dtype=np.uint8)
    pixels = ours.preprocessing(image, torch.device("cpu"))[0][None].to(getattr(torch, args.dtype))
    features = ours.encode_pixels(pixels)
    embedding = theirs.get_image_embeddings(pixels)
    print(hardware(torch.device("cpu")))
    print(f"largest difference of the embedding: {(features.embedding - embedding).abs().max():.1e}")
    calls: dict[str, Callable[[], object]] = {
        "encode: ours": lambda: ours.encode_pixels(pixels),
        "encode: transformers": lambda: theirs.get_image_embeddings(pixels),
    }
    known = ours.encode([image]) if args.dtype == "float32" else None
    for count in args.boxes if known is not None else []:
        assert known is not None
        boxes = random_boxes(count, 1024, 1024)
        given = torch.from_numpy(boxes).float()[None]
        calls[f"{count} boxes: ours"] = partial(ours.decode, known, [Prompts(boxes=boxes)], [0])
        ask = partial(theirs, image_embeddings=embedding, multimask_output=False)
        calls[f"{count} boxes: transformers"] = partial(ask, input_boxes=given)
        calls[f"{count} boxes: transformers, one at a time"] = partial(_one_at_a_time, ask, given)
    times = take_turns(calls, args.rounds)
    for name, taken in times.items():
        ratio = taken.median / times[f"{name.partition(':')[0]}: ours"].median
        print(f"  {name:<44}{taken.median:>9.3f} s   {ratio:.2f} x ours")


def _one_at_a_time(ask: Callable[..., object], boxes: torch.Tensor) -> None:
    for k in range(boxes.shape[1]):
        ask(input_boxes=boxes[:, k : k + 1])


if __name__ == "__main__":
    main()
