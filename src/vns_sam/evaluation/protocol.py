"""Which prompt each object gets. Prompts are drawn from the true mask by a generator seeded with the names of set,
picture and object, so a number depends neither on the order nor on the batch, the machine or the number of processes.

VNS-SAM, section V-A: box, noisy box of scale 0.1, ten points. HQ-SAM's coarse masks and the corrective clicks of
interactive segmentation (Sofiiuk et al. 2022) come on top.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal, get_args
from zlib import crc32

import numpy as np
import torch
import torch.nn.functional as F

from vns_sam.errors import DataError, UsageError
from vns_sam.prompts.simulate import box_from_mask, noise_box, noise_mask, random_points
from vns_sam.prompts.validate import whole_picture
from vns_sam.types import Prompts

Kind = Literal["box", "noise-box", "points", "mask", "image", "clicks"]
COUNTS: dict[Kind, int] = {"points": 10, "clicks": 20}
"""Kinds that count something, and how many by default."""

_FORM = re.compile(r"([a-z-]+)(?::(\d+)(?:-(\d+))?)?")
HINT = "box, noise-box, points, points:3, points:1-10, mask, image or clicks:20"


@dataclass(frozen=True)
class Protocol:
    """One kind of prompt.

    Attributes:
        kind: "box" is the tight box of the true mask; "noise-box" the same, its centre moved by up to 5 % and its sides
            changed by up to 10 % of their length; "points" are random object pixels; "mask" is the true mask with noise
            along its contour; "image" is the box around the whole picture, which tells nothing; "clicks" are placed one
            after the other, each where what is still wrong is deepest.
        count: How many points, or clicks at most.
        seed: Of the draws.
    """

    kind: Kind = "box"
    count: int = 10
    seed: int = 0

    def __str__(self) -> str:
        return f"{self.kind}:{self.count}" if self.kind in COUNTS else self.kind


def parse_protocols(texts: Sequence[str], seed: int = 0) -> list[Protocol]:
    """Reads names such as "box", "points" (ten), "points:3", "points:1-10" (ten protocols) or "clicks:20".

    Returns:
        Each protocol once, in order.

    Raises:
        UsageError: A name is none of these.
    """
    return list(dict.fromkeys(protocol for text in texts for protocol in _parse(text, seed)))


def _parse(text: str, seed: int) -> Iterator[Protocol]:
    match = _FORM.fullmatch(text)
    kinds = get_args(Kind)
    if match is None or match[1] not in kinds:
        near = get_close_matches(text.split(":")[0], kinds, 1)
        raise UsageError(f"unknown prompt '{text}'", hint=near[0] if near else HINT)
    kind: Kind = match[1]  # type: ignore[assignment]
    if match[2] and kind not in COUNTS:
        raise UsageError(f"prompt '{kind}' takes no count, got '{text}'", hint=HINT)
    low = int(match[2] or COUNTS.get(kind, 1))
    high = int(match[3] or low)
    if not 1 <= low <= high:
        raise UsageError(f"prompt '{text}' must count from 1 upwards", hint=HINT)
    yield from (Protocol(kind, count if kind in COUNTS else 10, seed) for count in range(low, high + 1))


def draw_prompt(truth: np.ndarray, protocol: Protocol, key: str) -> Prompts:
    """The prompt of one object; for "clicks" the first click's place is not drawn here but found by the runner.

    Args:
        truth: (H, W) bool.
        protocol: Which prompt.
        key: Name of the object.

    Raises:
        DataError: The mask is empty, so there is nothing to ask for.
    """
    height, width = truth.shape
    if protocol.kind == "image":
        return whole_picture(height, width)
    if not truth.any():
        raise DataError(f"{key}: the true mask is empty, no prompt can be drawn")
    mask = torch.from_numpy(truth)
    generator = torch.Generator().manual_seed(crc32(f"{protocol.seed}:{key}".encode()))
    if protocol.kind == "points":
        points = random_points(mask, protocol.count, generator).numpy()
        return Prompts(points=points[None], labels=np.ones((1, len(points)), np.int64))
    if protocol.kind == "mask":
        coarse = noise_mask(mask[None, None].float(), generator)
        return Prompts(masks=F.interpolate(coarse, (height, width), mode="bilinear", align_corners=False)[0].numpy())
    boxes, _ = box_from_mask(mask[None])
    if protocol.kind == "noise-box":
        moved = noise_box(boxes, generator, side=max(height, width))
        boxes = torch.minimum(moved, torch.tensor([width, height, width, height]) - 1.0)
    return Prompts(boxes=boxes.numpy())
