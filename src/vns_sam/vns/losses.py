"""VNS-SAM's training loss (section III-D, and what the authors' release computes under that name)."""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F

from vns_sam.sam.losses import Bce, bce_iou_loss, boundary_weight


class SupervisedMaps(Protocol):
    """The four supervised outputs of the decoder, each (P, 1, h, w) logits, None where an ablation left it out."""

    @property
    def mask_logits(self) -> torch.Tensor:
        """Final mask."""

    @property
    def edge_logits(self) -> torch.Tensor | None:
        """Final edge."""

    @property
    def level1_mask_logits(self) -> torch.Tensor | None:
        """Mask of level 1."""

    @property
    def level1_edge_logits(self) -> torch.Tensor | None:
        """Edge of level 1."""


def dice_loss(probability: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Dice loss with squared denominators (Milletari et al. 2016), mean over the rows.

    Args:
        probability: (P, 1, H, W) in [0, 1].
        target: (P, 1, H, W) in [0, 1].
    """
    inside = (probability * target).sum((1, 2, 3))
    total = probability.square().sum((1, 2, 3)) + target.square().sum((1, 2, 3))
    return (1 - (2 * inside + 1) / (total + 1)).mean()


def structure_loss(logits: torch.Tensor, target: torch.Tensor, bce: Bce = "mean") -> torch.Tensor:
    """F3Net's structure loss (Wei et al. 2020): cross-entropy plus IoU, weighted near the contour; mean over rows.

    Args:
        logits: (P, 1, H, W).
        target: (P, 1, H, W) in [0, 1].
        bce: "weighted" as published. "mean" as VNS-SAM was trained: its code averages the cross-entropy before
            weighting it, so that the weights cancel and only the IoU feels the contour.
    """
    return bce_iou_loss(logits, target, boundary_weight(target), bce).mean()


def vns_loss(
    maps: SupervisedMaps, label: torch.Tensor, edge: torch.Tensor, bce: Bce = "mean"
) -> dict[str, torch.Tensor]:
    """The four terms, to be added up with equal weights; maps are enlarged to the label's size.

    Args:
        maps: The decoder's output for P prompts.
        label: (P, 1, H, W) soft masks in [0, 1].
        edge: (P, 1, H, W) soft edges in [0, 1].
        bce: See :func:`structure_loss`.

    Returns:
        Scalars ``mask`` and ``level1_mask`` (structure loss), ``edge`` and ``level1_edge`` (dice); those of the maps
        that there are.
    """
    size = (label.shape[-2], label.shape[-1])

    def enlarge(x: torch.Tensor) -> torch.Tensor:
        return F.interpolate(x, size, mode="bilinear", align_corners=False)

    terms, weight = {}, boundary_weight(label)
    for level, mask_logits, edge_logits in (
        ("", maps.mask_logits, maps.edge_logits),
        ("level1_", maps.level1_mask_logits, maps.level1_edge_logits),
    ):
        if mask_logits is not None:
            terms[f"{level}mask"] = bce_iou_loss(enlarge(mask_logits), label, weight, bce).mean()
        if edge_logits is not None:
            terms[f"{level}edge"] = dice_loss(enlarge(edge_logits.sigmoid()), edge)
    return terms
