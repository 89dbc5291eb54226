"""Prompts simulated from masks, as VNS-SAM is trained and tested: boxes, noisy boxes, points, coarse masks.

The paper (sections III-D and V-A) names the kinds; their exact form is that of the authors' code.
Coordinates are XY pixels of the mask that is given. A mask is (..., H, W), bool, or float in [0, 1] where the
object is above 0.5. Every function draws from the generator it is given and from nothing else.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F

from vns_sam.types import PromptBatch

NO_BOX = (1e8, 1e8, 0.0, 0.0)
"""What the authors' code takes as the box of an empty mask."""

RESIDUE_THRESHOLD = 0.01
RESIDUE_STRIDE = 8

Kind = Literal["box", "points", "mask"]


def box_from_mask(mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Finds the tight box of each mask.

    Args:
        mask: (..., H, W).

    Returns:
        Boxes (..., 4) float32 XYXY whose corners are the outermost object pixels (inclusive), zeros where a
        mask is empty; and (...,) bool, whether there is an object.
    """
    inside = _inside(mask)
    columns, rows = inside.any(dim=-2), inside.any(dim=-1)
    low = [_first(columns), _first(rows)]
    high = [columns.shape[-1] - 1 - _first(columns.flip(-1)), rows.shape[-1] - 1 - _first(rows.flip(-1))]
    valid = columns.any(dim=-1)
    return torch.stack(low + high, dim=-1).float() * valid[..., None], valid


def official_box(mask: torch.Tensor) -> torch.Tensor:
    """Finds the tight box of each mask as the authors do: (..., 4), ``NO_BOX`` where a mask is empty."""
    boxes, valid = box_from_mask(mask)
    return torch.where(valid[..., None], boxes, boxes.new_tensor(NO_BOX))


def noise_box(
    boxes: torch.Tensor, generator: torch.Generator, *, scale: float = 0.1, side: float = 1024
) -> torch.Tensor:
    """Moves each box by at most half its size times ``scale`` and changes its size by at most ``scale``.

    Args:
        boxes: (P, 4) XYXY.
        generator: Source of P x 4 uniform draws.
        scale: Strength; 0.1 in the paper.
        side: Side of the square input in pixels, to which the result is clamped; the authors clamp at 1024.

    Returns:
        (P, 4) XYXY in [0, side].
    """
    draws = torch.rand(boxes.shape, generator=generator, device=generator.device).to(boxes) * 2 - 1
    size = boxes[:, 2:] - boxes[:, :2]
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2 + draws[:, :2] * (size / 2) * scale
    half = (size + draws[:, 2:] * size * scale) / 2
    return torch.cat([centre - half, centre + half], dim=1).clamp(0, side)


def random_points(mask: torch.Tensor, count: int, generator: torch.Generator) -> torch.Tensor:
    """Draws object pixels uniformly, without replacement.

    Args:
        mask: (H, W).
        count: How many; 10 in the paper.
        generator: Source of one permutation of the object's pixels.

    Returns:
        (N, 2) float32 XY; N is smaller than ``count`` where the object has fewer pixels.
    """
    pixels = torch.nonzero(_inside(mask))
    order = torch.randperm(len(pixels), generator=generator, device=generator.device)[:count]
    return pixels[order.to(pixels.device)].flip(1).float()


def noise_mask(mask: torch.Tensor, generator: torch.Generator, *, side: int = 256) -> torch.Tensor:
    """Makes coarse masks: normal noise of variance 1 wherever a mask has detail, then a threshold.

    Detail is where a mask differs by 0.01 or more from itself reduced eight times and enlarged again.

    Args:
        mask: (P, 1, H, W), bool or float in [0, 1].
        generator: Source of P x 1 x side x side normal draws.
        side: Side of the result in pixels, a multiple of 8.

    Returns:
        (P, 1, side, side) float32 in {0, 1}. The authors' prompt encoder sees it as 0 and 255.
    """
    soft = _resize(mask.float(), side)
    residue = (soft - _resize(_resize(soft, side // RESIDUE_STRIDE), side)).abs() >= RESIDUE_THRESHOLD
    noise = torch.randn(soft.shape, generator=generator, device=generator.device).to(soft)
    return (soft + noise * residue > 0.5).float()


def sample_official_prompts(labels: torch.Tensor, generator: torch.Generator, *, points: int = 10) -> list[PromptBatch]:
    """Draws one prompt for each image as the authors train: box, points or coarse mask, equally likely.

    Where the images cannot all give the same number of points, none of the batch gets points. An empty label
    gets ``NO_BOX`` or an empty coarse mask; if every label is empty, points are left out too.

    Args:
        labels: (B, 1, S, S) soft labels 0 to 255 in the model's square input, S a multiple of 32; for boxes
            and points the object is above 128.
        generator: Source of all draws.
        points: Points of one prompt.

    Returns:
        One batch for each kind that occurs; ``image_index`` is the row of ``labels``.
    """
    inside = labels[:, 0] > 128
    counts = {min(points, int(n)) for n in inside.sum(dim=(1, 2))}
    same_count = len(counts) == 1 and 0 not in counts
    kinds: list[Kind] = ["box", "points", "mask"] if same_count else ["box", "mask"]
    return _sample(labels, inside, range(len(labels)), kinds, points, generator, official_box)


def sample_paper_prompts(labels: torch.Tensor, generator: torch.Generator, *, points: int = 10) -> list[PromptBatch]:
    """Draws one prompt for each image as the paper says: box, points or coarse mask, equally likely.

    Each image decides for itself: a small object gives as many points as it has pixels, an empty label no
    prompt. Arguments and result are those of :func:`sample_official_prompts`; points of different number form
    batches of their own, and the list is empty where all labels are.
    """
    inside = labels[:, 0] > 128
    rows = [row for row in range(len(labels)) if inside[row].any()]
    return _sample(
        labels,
        inside,
        rows,
        ["box", "points", "mask"],
        points,
        generator,
        lambda mask: box_from_mask(mask)[0],
    )


def _sample(
    labels: torch.Tensor,
    inside: torch.Tensor,
    rows: Sequence[int],
    kinds: Sequence[Kind],
    points: int,
    generator: torch.Generator,
    to_box: Callable[[torch.Tensor], torch.Tensor],
) -> list[PromptBatch]:
    choice = torch.randint(len(kinds), (len(rows),), generator=generator, device=generator.device).tolist()
    by_kind: dict[Kind, list[int]] = defaultdict(list)
    for row, kind in zip(rows, choice, strict=True):
        by_kind[kinds[kind]].append(row)
    batches = []
    if chosen := by_kind["box"]:
        batches.append(PromptBatch(_index(chosen, labels), boxes=to_box(inside[chosen])))
    if chosen := by_kind["mask"]:
        coarse = noise_mask(labels[chosen] / 255, generator, side=labels.shape[-1] // 4)
        batches.append(PromptBatch(_index(chosen, labels), masks=coarse))
    drawn: dict[int, list[tuple[int, torch.Tensor]]] = defaultdict(list)
    for row in by_kind["points"]:
        xy = random_points(inside[row], points, generator)
        drawn[len(xy)].append((row, xy))
    for members in drawn.values():
        stacked = torch.stack([xy for _, xy in members])
        ones = torch.ones(stacked.shape[:2], dtype=torch.long, device=stacked.device)
        batches.append(PromptBatch(_index([row for row, _ in members], labels), points=stacked, labels=ones))
    return batches


def _inside(mask: torch.Tensor) -> torch.Tensor:
    return mask if mask.dtype == torch.bool else mask > 0.5


def _first(hits: torch.Tensor) -> torch.Tensor:
    """Index of the first True along the last axis, 0 where there is none."""
    return hits.to(torch.uint8).argmax(dim=-1)


def _resize(maps: torch.Tensor, side: int) -> torch.Tensor:
    return F.interpolate(maps, (side, side), mode="bilinear", align_corners=False)


def _index(rows: Sequence[int], like: torch.Tensor) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.long, device=like.device)
