"""The losses of DIS-SAM (section III-D) and of IS-Net's ground-truth encoder, as published and as released."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F

Ortho = Literal["paper", "released"]

BCE_WEIGHT, IOU_WEIGHT = 20.0, 0.5
ORTHO_WEIGHT: dict[Ortho, float] = {"paper": 1e-6, "released": 1e-8}


def iou_loss(probability: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Soft IoU distance 1 - (I + 1) / (U + 1), mean over the rows.

    Args:
        probability: (B, 1, H, W) in [0, 1].
        target: (B, 1, H, W) in [0, 1].
    """
    inside = (probability * target).sum((1, 2, 3))
    union = (probability + target).sum((1, 2, 3)) - inside
    return (1 - (inside + 1) / (union + 1)).mean()


def side_loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """20 x cross-entropy + 0.5 x IoU distance of one side output.

    Args:
        logits: (B, 1, H, W), of which the release stores the sigmoid; the logit does not saturate.
        target: (B, 1, H, W) soft mask in [0, 1].
    """
    entropy = F.binary_cross_entropy_with_logits(logits.float(), target)
    return BCE_WEIGHT * entropy + IOU_WEIGHT * iou_loss(logits.float().sigmoid(), target)


def feature_loss(found: Sequence[torch.Tensor], wanted: Sequence[torch.Tensor]) -> torch.Tensor:
    """Intermediate supervision: the squared errors of the six maps, each averaged over its elements, summed."""
    terms = [F.mse_loss(ours.float(), theirs.float()) for ours, theirs in zip(found, wanted, strict=True)]
    return torch.stack(terms).sum()


def ortho_loss(parameters: Iterable[tuple[str, torch.Tensor]], kind: Ortho = "paper") -> torch.Tensor:
    """Distance of the weights from orthogonal rows.

    Args:
        parameters: Names and values, as ``named_parameters()`` gives them.
        kind: "paper": 1e-6 times the Frobenius norms of W W^T - I over the convolutions. "released": 1e-8 times the
            sum of its absolute entries over everything that is no bias, the scales of batch norms included (99 % of
            the sum at the start).

    Returns:
        A scalar.
    """
    terms = []
    for name, value in parameters:
        if "bias" in name or (kind == "paper" and value.ndim < 4):
            continue
        rows = value.float().flatten(1) if value.ndim > 1 else value.float()[:, None]
        gap = rows @ rows.T - torch.eye(len(rows), device=rows.device)
        terms.append(gap.abs().sum() if kind == "released" else torch.linalg.matrix_norm(gap))
    return ORTHO_WEIGHT[kind] * torch.stack(terms).sum()


def dis_loss(
    logits: Sequence[torch.Tensor],
    target: torch.Tensor,
    features: Sequence[torch.Tensor] = (),
    wanted: Sequence[torch.Tensor] = (),
) -> dict[str, torch.Tensor]:
    """The terms that depend on the pictures, to be added up.

    Args:
        logits: Six side outputs (B, 1, H, W).
        target: (B, 1, H, W) soft masks in [0, 1].
        features: IS-Net's six maps; none where the ground-truth encoder itself is trained.
        wanted: The ground-truth encoder's maps of ``target``.

    Returns:
        Scalars ``mask`` (the first side, what the release logs as "tar"), ``sides`` (the five others) and, with
        maps, ``features``.
    """
    sides = torch.stack([side_loss(side, target) for side in logits])
    terms = {"mask": sides[0], "sides": sides[1:].sum()}
    return {**terms, "features": feature_loss(features, wanted)} if wanted else terms
