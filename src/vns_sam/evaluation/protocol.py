"""How a model is measured: which prompt each picture gets, and what is scored.

Every picture is one object, its whole mask. Prompts are drawn from a generator seeded by the set and the name of
the picture, so a number does not depend on the order, the batch or the machine. Scores are taken at the size of
the true mask.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Literal
from zlib import crc32

import numpy as np
import torch

from vns_sam.data.pairs import Pair, check_same_size, find_pairs, read_mask
from vns_sam.errors import DataError, UsageError
from vns_sam.images.geometry import maps_to_original
from vns_sam.images.read import read_image
from vns_sam.metrics.iou import boundary_iou, iou
from vns_sam.prompts.simulate import box_from_mask, noise_box, random_points
from vns_sam.types import PromptableModel, Prompts

_NAMES = re.compile(r"(box|noise-box|points)(?::(\d+))?")


@dataclass(frozen=True)
class Protocol:
    """One kind of prompt.

    Attributes:
        kind: "box" is the tight box of the true mask; "noise-box" the same, moved and resized by up to 10 %;
            "points" are random object pixels.
        count: How many points.
        seed: Of the draws.
    """

    kind: Literal["box", "noise-box", "points"] = "box"
    count: int = 10
    seed: int = 0

    def __str__(self) -> str:
        return f"points:{self.count}" if self.kind == "points" else self.kind


@dataclass(frozen=True)
class Row:
    """Scores of one picture with one prompt, IoU and boundary IoU in [0, 1]; seconds spent decoding and scoring."""

    dataset: str
    stem: str
    prompt: str
    iou: float
    biou: float
    seconds: float


def parse_protocol(text: str, seed: int = 0) -> Protocol:
    """Reads "box", "noise-box", "points" (ten) or "points:3".

    Raises:
        UsageError: It is none of these.
    """
    match = _NAMES.fullmatch(text)
    if match is None or (match[2] and (match[1] != "points" or int(match[2]) < 1)):
        raise UsageError(f"unknown prompt '{text}'", hint="box, noise-box, points or points:3")
    kind: Literal["box", "noise-box", "points"] = match[1]  # type: ignore[assignment]
    return Protocol(kind, int(match[2] or 10), seed)


def scored_pairs(folder: str | Path) -> list[Pair]:
    """The pairs of a set that are scored: its ``test.txt``, or all where it has none.

    Raises:
        DataError: The set is missing, empty or broken, or its list names a picture that is not there.
    """
    return find_pairs(folder, "test" if (Path(folder) / "test.txt").is_file() else None)


def draw_prompt(mask: np.ndarray, protocol: Protocol, key: str) -> Prompts:
    """The prompt of one picture; ``key`` names it.

    Raises:
        DataError: The mask (H, W) bool is empty, so there is nothing to ask for.
    """
    if not mask.any():
        raise DataError(f"{key}: the true mask is empty, no prompt can be drawn")
    truth = torch.from_numpy(mask)
    generator = torch.Generator().manual_seed(crc32(f"{protocol.seed}:{key}".encode()))
    if protocol.kind == "points":
        points = random_points(truth, protocol.count, generator).numpy()
        return Prompts(points=points[None], labels=np.ones((1, len(points)), np.int64))
    boxes, _ = box_from_mask(truth[None])
    if protocol.kind == "noise-box":
        height, width = mask.shape
        moved = noise_box(boxes, generator, side=max(height, width))
        boxes = torch.minimum(moved, torch.tensor([width, height, width, height]) - 1.0)
    return Prompts(boxes=boxes.numpy())


def evaluate(model: PromptableModel, pairs: Sequence[Pair], protocols: Sequence[Protocol]) -> Iterator[list[Row]]:
    """Scores a model picture by picture, each encoded once and prompted in every way.

    Yields:
        One row for each protocol.

    Raises:
        DataError: A picture or mask cannot be read, they differ in size, or a mask is empty.
    """
    for pair in pairs:
        image, mask = read_image(pair.image), read_mask(pair.mask)
        check_same_size(pair, image, mask)
        prompts = [draw_prompt(mask, protocol, f"{pair.dataset}/{pair.stem}") for protocol in protocols]
        features = model.encode([image])
        rows = []
        for protocol, given in zip(protocols, prompts, strict=True):
            start = perf_counter()
            logits = model.decode(features, [given], [0]).mask_logits
            found = (maps_to_original(logits.float(), features.geometry[0])[0] > 0).cpu().numpy()
            scores = iou(found, mask), boundary_iou(found, mask)
            rows.append(Row(pair.dataset, pair.stem, str(protocol), *scores, perf_counter() - start))
        yield rows
