"""One encode of each foundation at its own size beside transformers' class of the same network, alternating in one run.

python benchmarks/foundations.py [--calls N] [--threads N] [NAME ...]   random weights: time does not depend on them
python benchmarks/foundations.py --memory [NAME ...]                     what an encode takes beside the weights
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from vns_sam.sam.architectures import HieraConfig, RopeVitConfig
from vns_sam.sam.config import SamConfig, VitConfig, vit_config
from vns_sam.sam.foundations.names import CONFIGS, named_config
from vns_sam.sam.foundations.sam3 import sam3_config
from vns_sam.sam.model import SamModel

Encode = Callable[[torch.Tensor], object]
SLIM = {"slimsam-77": (168, 696), "slimsam-50": (384, 1536)}
"""Width and MLP of the pruned ViTs that people take on a CPU."""
QUARTER = "sam3-quarter"
"""SAM 3 with a quarter of its blocks, all of them as published, for whoever has less time."""
NAMES = [*SLIM, *(name for name in CONFIGS if name != "mobile-sam")]


def config_of(name: str) -> SamConfig:
    """The numbers of a foundation."""
    if name == QUARTER:
        return sam3_config(RopeVitConfig(depth=8, global_blocks=(1, 3, 5, 7)))
    if name not in SLIM:
        return named_config(name)
    width, mlp = SLIM[name]
    return vit_config(VitConfig(width, 12, 12, (2, 5, 8, 11), mlp_ratio=mlp / width))


def transformers_vit(numbers: VitConfig) -> Encode:
    """Transformers' image embedding of a SAM with these numbers, by its fastest attention."""
    from transformers import SamConfig as HfConfig
    from transformers import SamModel as HfModel

    vision = {
        "hidden_size": numbers.hidden_size,
        "num_hidden_layers": numbers.num_hidden_layers,
        "num_attention_heads": numbers.num_attention_heads,
        "global_attn_indexes": [*numbers.global_attn_indexes],
        "mlp_dim": round(numbers.hidden_size * numbers.mlp_ratio),
    }
    return HfModel._from_config(HfConfig(vision_config=vision), attn_implementation="sdpa").eval().get_image_embeddings


def transformers_sam2(numbers: HieraConfig) -> Encode:
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
    config = Sam2Config(vision_config={**vision, "backbone_channel_list": [*reversed(numbers.widths)]})
    return Sam2Model._from_config(config, attn_implementation="sdpa").eval().get_image_embeddings


def transformers_sam3(numbers: RopeVitConfig) -> Encode:
    """Transformers' image features of SAM 3's tracker, whose published numbers are its defaults but for the depth."""
    from transformers.models.sam3_tracker.configuration_sam3_tracker import Sam3TrackerConfig
    from transformers.models.sam3_tracker.modeling_sam3_tracker import Sam3TrackerModel

    vit = {"num_hidden_layers": numbers.depth, "global_attn_indexes": [*numbers.global_blocks]}
    backbone = {"model_type": "sam3_vit_model", **vit}
    config = Sam3TrackerConfig(vision_config={"model_type": "sam3_vision_model", "backbone_config": backbone})
    return Sam3TrackerModel._from_config(config, attn_implementation="sdpa").eval().get_image_embeddings


def transformers_of(config: SamConfig) -> Encode:
    """Transformers' class of the same network."""
    if isinstance(config.backbone, VitConfig):
        return transformers_vit(config.backbone)
    if isinstance(config.backbone, HieraConfig):
        return transformers_sam2(config.backbone)
    if isinstance(config.backbone, RopeVitConfig):
        return transformers_sam3(config.backbone)
    raise SystemExit(f"transformers has no class to compare {config.name} with")


def alone(name: str, who: str, threads: int) -> None:
    """Prints what one encode takes beside the weights, in MiB: what a process of its own has at most, less before."""
    torch.set_num_threads(threads)
    config = config_of(name)
    encode = SamModel(config).eval().encode_pixels if who == "ours" else transformers_of(config)
    pixels = torch.randn(1, 3, config.image_size, config.image_size)
    before = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    with torch.inference_mode():
        encode(pixels)
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    print((int(peak.split()[1]) * 1024 - before) // 2**20)


def peaks(name: str, threads: int) -> tuple[int, int]:
    """:func:`alone` of the package and of transformers."""
    command = [sys.executable, __file__, name, "--threads", str(threads), "--alone"]
    ours, theirs = (int(subprocess.check_output([*command, who]).split()[-1]) for who in ("ours", "transformers"))
    return ours, theirs


def main() -> None:
    """Prints medians in milliseconds, and how many times as fast the package is: the median and the quartiles of pairs
    of neighbouring calls. ``--cpu-time`` counts the process's own time, which other work on the machine hardly moves.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=NAMES, metavar="NAME", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--calls", type=int, default=7, help="of each, after one that is not timed")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cpu-time", action="store_true", help="of the process, with one thread")
    parser.add_argument("--memory", action="store_true", help="instead of time: MiB of one encode beside the weights")
    parser.add_argument("--alone", choices=("ours", "transformers"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    clock, threads = (time.process_time, 1) if args.cpu_time else (time.perf_counter, args.threads)
    torch.set_num_threads(threads)
    for name in args.names:
        if args.alone:
            alone(name, args.alone, threads)
        elif args.memory:
            ours, theirs = peaks(name, threads)
            print(f"{name:11} {ours:6} MiB   transformers {theirs:6} MiB   {theirs / ours:.2f} x")
        else:
            print(compare(name, args.calls, clock))


def compare(name: str, calls: int, clock: Callable[[], float]) -> str:
    """One line of times."""
    config = config_of(name)
    ours, theirs = SamModel(config).eval().encode_pixels, transformers_of(config)
    pixels = torch.randn(1, 3, config.image_size, config.image_size)
    times: list[list[float]] = [[], []]
    with torch.inference_mode():
        for call in range(calls + 1):
            for place, encode in ((0, ours), (1, theirs)) if call % 2 else ((1, theirs), (0, ours)):
                start = clock()
                encode(pixels)
                if call:
                    times[place].append(clock() - start)
    mine, other = (1000 * statistics.median(one) for one in times)
    ratios = sorted(theirs / own for own, theirs in zip(*times, strict=True))
    low, middle, high = (ratios[round(part * (len(ratios) - 1))] for part in (0.25, 0.5, 0.75))
    return f"{name:11} {mine:8.0f} ms   transformers {other:8.0f} ms   {middle:.2f} x ({low:.2f} .. {high:.2f})"


if __name__ == "__main__":
    main()
