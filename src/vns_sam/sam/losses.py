"""The loss of SAM's decoder, trained from scratch on few pictures; and the contour-weighted loss below it, which other
systems share.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F

Bce = Literal["mean", "weighted"]


def boundary_weight(target: torch.Tensor, window: int = 31) -> torch.Tensor:
    """Weights from 1 to 6 that rise near the contour: 1 + 5 |mean around - target| (F3Net, Wei et al. 2020).

    The mean is the sum along rows, then along columns, each as a difference of two running sums: no work grows with the
    window, and for masks, whole or area-averaged, every sum is exact. Beyond the rim there are zeros.

    Args:
        target: (..., h, w) in [0, 1].
        window: Side of the square that the mean is taken over, odd.
    """
    around, rim = target.to(torch.promote_types(target.dtype, torch.float32)), window // 2
    for axis, pad in ((-1, (rim + 1, rim)), (-2, (0, 0, rim + 1, rim))):
        sums, side = F.pad(around, pad).cumsum(axis), target.shape[axis]
        around = sums.narrow(axis, window, side) - sums.narrow(axis, 0, side)
    return 1 + 5 * (around / window**2 - target).abs()


def bce_iou_loss(
    logits: torch.Tensor, target: torch.Tensor, weight: torch.Tensor, bce: Bce = "weighted"
) -> torch.Tensor:
    """Cross-entropy plus soft IoU distance 1 - (I + 1) / (U + 1), both with a weight for each pixel.

    Args:
        logits: (..., h, w).
        target: (..., h, w) in [0, 1].
        weight: (..., h, w), not negative. Where it is zero a pixel has no part; where all are, the loss is zero.
        bce: "weighted", or "mean": the plain mean, where the weights act on the IoU alone.

    Returns:
        (...) one value for each map.
    """
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    if bce == "weighted":
        entropy = (weight * entropy).sum((-2, -1)) / weight.sum((-2, -1)).clamp(min=1e-6)
    else:
        entropy = entropy.mean((-2, -1))
    probability = logits.sigmoid()
    inside = (weight * probability * target).sum((-2, -1))
    union = (weight * (probability + target)).sum((-2, -1)) - inside
    return entropy + 1 - (inside + 1) / (union + 1)


def mask_loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Cross-entropy, five times heavier near the contour, plus the soft Jaccard distance.

    SAM's own focal and dice losses (Kirillov et al. 2023, section 3) want a long training; this pair, the structure
    loss of F3Net (Wei et al. 2020) with a window of 15 pixels instead of 31, learns faster.

    Args:
        logits: (..., h, w).
        target: (..., h, w) in [0, 1]; an axis of 1 stands for all maps along it.

    Returns:
        (...) one value for each map.
    """
    return bce_iou_loss(logits, target.expand_as(logits), boundary_weight(target, 15))


def sam_loss(logits: torch.Tensor, scores: torch.Tensor, target: torch.Tensor) -> dict[str, torch.Tensor]:
    """Losses of P prompts: the single mask, the best of the three others (section 3), and the predicted IoU.

    Args:
        logits: (P, 4, h, w) of all mask tokens.
        scores: (P, 4) predicted IoU.
        target: (P, h, w) in [0, 1].

    Returns:
        Scalars ``mask``, ``multimask`` and ``score``, to be added up.
    """
    each = mask_loss(logits, target[:, None])
    return {
        "mask": each[:, 0].mean(),
        "multimask": 0.3 * each[:, 1:].amin(dim=1).mean(),
        "score": score_loss(scores, logits, target[:, None]),
    }


def score_loss(scores: torch.Tensor, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean squared error of predicted IoU.

    Args:
        scores: (P, M).
        logits: (P, M, h, w) of the masks that are judged, object where > 0.
        target: (P, 1, h, w) in [0, 1].
    """
    with torch.no_grad():
        found, true = logits > 0, target > 0.5
        union = (found | true).sum((-2, -1)).clamp(min=1)
        iou = (found & true).sum((-2, -1)) / union
    return F.mse_loss(scores, iou)
