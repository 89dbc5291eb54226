"""WS-SAM's losses: on the strokes themselves, on pseudo-labels, and on answers that are neither yes nor no."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F

from vns_sam.prompts.codes import BACKGROUND, OBJECT
from vns_sam.sam.losses import Bce, bce_iou_loss, boundary_weight


@dataclass(frozen=True)
class WsLossConfig:
    """Which terms count how much. The defaults are ours: what was meant to be in the release, and soft weights.

    Attributes:
        side_weights: Of the five maps, coarse to fine, in the terms on strokes and on pseudo-labels.
        partial: Weight of the cross-entropy on strokes.
        strokes: Where they count: in pictures "without" a kept pseudo-label, by the share of these in the batch, or in
            "all". A pseudo-label holds its picture's strokes already; counted once more, a few pixels in the middle of
            the object and far from it outweigh all the others, and outlines are not learnt.
        uncertainty: Weight of the penalty on undecided pixels.
        boundary: Whether pseudo-labels weigh more near their contour.
        bce: "mean" as released, where the pixels' weights act on the IoU alone: what a view shows beyond its picture is
            learnt as background, as in the authors' code what their rotation uncovers.
        ramp: What the penalty on undecided pixels grows over: the whole "run", or each "epoch" anew, as released.
    """

    side_weights: tuple[float, ...] = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)
    partial: float = 3.0
    strokes: Literal["without", "all"] = "without"
    uncertainty: float = 2.0
    boundary: bool = True
    bce: Bce = "weighted"
    ramp: Literal["run", "epoch"] = "run"


PRESETS: Mapping[str, WsLossConfig] = {
    "default": WsLossConfig(),
    "paper": WsLossConfig(partial=1.0, strokes="all", uncertainty=0.0, boundary=False),
    "released": WsLossConfig(strokes="all", bce="mean", ramp="epoch"),
}
"""By name. "paper" is L_pce + keep (L_wce + L_wiou); "released" is what the authors' code adds up."""


def partial_cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy over the labelled pixels of the batch; zero where there is none.

    Args:
        logits: (B, 1, H, W).
        labels: (B, 1, H, W) integer codes, 1 object, 2 background, anything else unlabelled.
    """
    known = (labels == OBJECT) | (labels == BACKGROUND)
    each = F.binary_cross_entropy_with_logits(logits, (labels == OBJECT).to(logits.dtype), reduction="none")
    return (each * known).sum() / known.sum().clamp(min=1)


def pseudo_label_loss(
    logits: torch.Tensor, target: torch.Tensor, weight: torch.Tensor, keep: torch.Tensor, bce: Bce = "weighted"
) -> torch.Tensor:
    """Weighted cross-entropy and IoU against soft pseudo-labels, mean over the batch; zero where none is kept.

    Args:
        logits: (B, 1, H, W).
        target: (B, 1, H, W) fused masks in [0, 1].
        weight: (B, 1, H, W), not negative, such as 1 - entropy.
        keep: (B,) bool, whether the picture was selected.
        bce: See :func:`vns_sam.sam.losses.bce_iou_loss`.
    """
    return (bce_iou_loss(logits, target, weight, bce)[:, 0] * keep).mean()


def undecided_loss(logits: torch.Tensor) -> torch.Tensor:
    """Mean of 1 - (2 p - 1)^2: one where p = 0.5, zero where p is 0 or 1 (UAL, Pang et al. 2022).

    Every pixel counts, as in the authors' code, what a view shows beyond its picture as well.
    """
    return (1 - (2 * logits.sigmoid() - 1).square()).mean()


def undecided_ramp(progress: float) -> float:
    """Factor of :func:`undecided_loss`, (1 - cos(pi t)) / 2, at the share t of the run or epoch that is done."""
    return (1 - math.cos(math.pi * min(max(progress, 0.0), 1.0))) / 2


def ws_loss(
    logits: Sequence[torch.Tensor],
    labels: torch.Tensor,
    target: torch.Tensor,
    weight: torch.Tensor,
    keep: torch.Tensor,
    *,
    progress: float = 1.0,
    config: WsLossConfig = PRESETS["default"],
) -> dict[str, torch.Tensor]:
    """The terms, to be added up.

    Strokes alone: no picture is kept. Full supervision: labels all zero, the masks as targets, all weights one.

    Args:
        logits: Five maps (B, 1, h, w), coarse to fine; enlarged to the labels' size.
        labels: (B, 1, H, W) sparse labels, see :func:`partial_cross_entropy`.
        target: (B, 1, H, W) pseudo-labels, see :func:`pseudo_label_loss`.
        weight: (B, 1, H, W) their weights.
        keep: (B,) bool, the selected pictures.
        progress: Share of the run, or of the epoch, that is done, see ``config.ramp``.
        config: What counts how much.

    Returns:
        Scalars ``partial``, ``pseudo`` and ``undecided``; finite whatever is labelled or kept.
    """
    size = (labels.shape[-2], labels.shape[-1])
    maps = [F.interpolate(x.float(), size, mode="bilinear", align_corners=False) for x in logits]
    if config.boundary:
        weight = weight * boundary_weight(target)
    counted = torch.ones_like(keep) if config.strokes == "all" else ~keep
    labels = labels * counted.view(-1, 1, 1, 1)
    partial = [counted.float().mean() * partial_cross_entropy(x, labels) for x in maps]
    pseudo = [pseudo_label_loss(x, target, weight, keep, config.bce) for x in maps]
    sides = maps[0].new_tensor(config.side_weights)
    return {
        "partial": config.partial * sides @ torch.stack(partial),
        "pseudo": sides @ torch.stack(pseudo),
        "undecided": config.uncertainty * undecided_ramp(progress) * undecided_loss(maps[-1]),
    }
