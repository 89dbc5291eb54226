"""What a model costs: parameters, work and time (Table XV)."""

from __future__ import annotations

import copy
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from vns_sam.sam import registry
from vns_sam.sam.foundations.names import named_config
from vns_sam.sam.promptable import PromptableNetwork
from vns_sam.sam.zoo import blank_sam
from vns_sam.types import PromptBatch, Prompts

_MIB = 2**20


@dataclass(frozen=True)
class Cost:
    """The cost of one picture and one prompt.

    Attributes:
        name: The model.
        parameters, trainable: Numbers of parameters.
        encode_flops, decode_flops: Floating-point operations of convolutions, matrix products and attention for one
            picture and for one box, as ``torch.utils.flop_counter`` counts them: a multiplication with its addition
            is two. The paper, as the field, counts such a pair once.
        encode_seconds, decode_seconds: Medians; None for a model without weights.
    """

    name: str
    parameters: int
    trainable: int
    encode_flops: int
    decode_flops: int
    encode_seconds: float | None = None
    decode_seconds: float | None = None

    @property
    def mib(self) -> float:
        """Size as float32 in MiB, the paper's "M"."""
        return self.parameters * 4 / _MIB

    @property
    def trainable_mib(self) -> float:
        """Size of what is trained as float32 in MiB."""
        return self.trainable * 4 / _MIB

    @property
    def multiply_adds(self) -> int:
        """Multiplications with their additions for one picture and one box, what the paper calls FLOPs."""
        return (self.encode_flops + self.decode_flops) // 2

    @property
    def pictures_per_second(self) -> float | None:
        """Pictures with one box each, one after the other."""
        if self.encode_seconds is None or self.decode_seconds is None:
            return None
        return 1 / (self.encode_seconds + self.decode_seconds)


def cost(model: PromptableNetwork, image: np.ndarray, *, calls: int = 5) -> Cost:
    """Counts and times a model on the device it is on.

    Args:
        model: A model in eval mode; on the meta device it is counted only.
        image: The picture to time with, (H, W, 3) uint8 RGB; the box is its middle, or all of it for a model that
            takes no prompt.
        calls: Timed calls, after one that is not.
    """
    counted = list(model.parameters())
    total = sum(p.numel() for p in counted)
    trained = sum(p.numel() for p in counted if p.requires_grad)
    encode_flops, decode_flops = _count(model)
    if model.device.type == "meta":
        return Cost(model.name, total, trained, encode_flops, decode_flops)
    height, width = image.shape[:2]
    prompts = [Prompts(boxes=np.array([[width / 4, height / 4, 3 * width / 4, 3 * height / 4]]))]
    asked = (prompts, [0]) if model.info.prompts else ()
    features = model.encode([image])
    return Cost(
        model.name,
        total,
        trained,
        encode_flops,
        decode_flops,
        median_seconds(lambda: model.encode([image]), calls, model.device),
        median_seconds(lambda: model.decode(features, *asked), calls, model.device),
    )


def weightless(foundation: str, device: str | torch.device = "meta") -> Iterator[PromptableNetwork]:
    """The rows of Table XV on a SAM, and VNS-SAM with the encoder adapter; nothing is loaded.

    Args:
        foundation: A name in :data:`vns_sam.sam.foundations.names.CONFIGS`.
        device: On the meta device they can be counted; elsewhere they have random weights and can be timed, one model
            after the other.

    Raises:
        UsageError: It is another name.
    """
    named_config(foundation)
    hq, vns = (registry.resolve(registry.MODELS[kind]) for kind in ("hq-sam", "vns-sam"))

    def on_it(adapter: bool) -> PromptableNetwork:
        sam = blank_sam(foundation)
        name = f"vns-{foundation}" + (" + adapter" if adapter else "")
        network: PromptableNetwork = vns.from_sam(sam, vns.config_class.for_sam(sam.config, name=name, adapter=adapter))
        return network

    makers: list[Callable[[], PromptableNetwork]] = [
        lambda: blank_sam(foundation),
        lambda: hq.from_sam(blank_sam(foundation)),
        lambda: on_it(False),
        lambda: on_it(True),
    ]
    for make in makers:
        with torch.device(device):
            model = make().eval()
        yield model


def median_seconds(call: Callable[[], object], calls: int, device: torch.device | None = None) -> float:
    """Median time of ``calls`` calls, after one that is not counted; waits for the device's work to end."""
    asynchronous = device is not None and device.type in ("cuda", "mps", "xpu")
    times = []
    for _ in range(calls + 1):
        start = time.perf_counter()
        call()
        if asynchronous:
            torch.accelerator.synchronize()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def hardware(device: torch.device) -> str:
    """What times were measured on, in one line."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}"
    cores, threads = os.cpu_count(), torch.get_num_threads()
    return f"{_processor()}, {cores} cores, torch {torch.__version__}, {threads} threads"


def _count(model: PromptableNetwork) -> tuple[int, int]:
    """Operations of encoding a picture and decoding a box, counted on a copy without weights: there attention is
    made of matrix products on every machine, and nothing is computed.
    """
    weights = {id(p): nn.Parameter(p.to("meta"), requires_grad=False) for p in model.parameters()}
    copied = copy.deepcopy(model, {**weights, **{id(b): b.to("meta") for b in model.buffers()}}).eval()
    side = model.preprocessing.image_size
    with torch.device("meta"), torch.no_grad():
        box = PromptBatch(torch.zeros(1, dtype=torch.long), boxes=torch.zeros(1, 4))
        with FlopCounterMode(display=False) as encoding:
            features = copied.encode_pixels(torch.zeros(1, 3, side, side))
        with FlopCounterMode(display=False) as decoding:
            copied.decode_batch(features, box)
    return encoding.get_total_flops(), decoding.get_total_flops()


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
