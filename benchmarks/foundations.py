"""One encode of each foundation at its own size beside transformers' class of the same network, alternating in one run.

python benchmarks/foundations.py [--calls N] [NAME ...]          random weights: the time does not depend on them
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from vns_sam.sam.architectures import HieraConfig
from vns_sam.sam.foundations.names import CONFIGS, named_config
from vns_sam.sam.model import SamModel

NAMES = [name for name in CONFIGS if name.startswith("sam2")]


def transformers_sam2(numbers: HieraConfig) -> Callable[[torch.Tensor], object]:
    """Transformers' image features of a SAM 2 with these numbers."""
    from transformers.models.sam2.configuration_sam2 import Sam2Config
    from transformers.models.sam2.modeling_sam2 import Sam2Model

    backbone = {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": numbers.widths[0],
        "embed_dim_per_stage": [*numbers.widths],
        "blocks_per_stage": [*numbers.depths],
        "num_attention_heads_per_stage": [*numbers.heads],
        "global_attention_blocks": [*numbers.global_blocks],
        "window_size_per_stage": [*numbers.windows],
        "window_positional_embedding_background_size": [numbers.background, numbers.background],
    }
    vision = {"model_type": "sam2_vision_model", "backbone_config": backbone}
    model = Sam2Model(Sam2Config(vision_config={**vision, "backbone_channel_list": [*reversed(numbers.widths)]}))
    return model.eval().get_image_embeddings


def main() -> None:
    """Prints medians in milliseconds and how many times as fast the package is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=NAMES, metavar="NAME", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--calls", type=int, default=5, help="of each, after one that is not timed")
    args = parser.parse_args()
    for name in args.names:
        config = named_config(name)
        if not isinstance(config.backbone, HieraConfig):
            parser.error(f"transformers has no class to compare {name} with here")
        ours, theirs = SamModel(config).eval().encode_pixels, transformers_sam2(config.backbone)
        pixels = torch.randn(1, 3, config.image_size, config.image_size)
        times: tuple[list[float], list[float]] = ([], [])
        with torch.inference_mode():
            for call in range(args.calls + 1):
                for place, encode in enumerate((ours, theirs)):
                    start = time.perf_counter()
                    encode(pixels)
                    if call:
                        times[place].append(time.perf_counter() - start)
        mine, other = (1000 * statistics.median(one) for one in times)
        print(f"{name:10} {mine:8.0f} ms   transformers {other:8.0f} ms   {other / mine:.2f} x")


if __name__ == "__main__":
    main()
