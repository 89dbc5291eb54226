"""How good each mask is that VNS-SAM offers. Ours, not the paper's: its score is SAM's, of a mask that is not the one
it gives.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

_HIDDEN = 128
_LOOKS = 3


class MaskScores(nn.Module):
    """Predicts the IoU of M masks of a prompt from the tokens, SAM's own prediction and what the masks look like.

    Nothing flows back: learning to judge changes no mask.

    Args:
        hidden: Width of a token, d.
        masks: How many are offered, M; SAM predicts the IoU of as many.
    """

    def __init__(self, hidden: int, masks: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(2 * hidden)
        self.hidden = nn.Linear(2 * hidden + (1 + _LOOKS) * masks, _HIDDEN)
        self.dropout = nn.Dropout(0.2)
        self.out = nn.Linear(_HIDDEN, masks)

    def forward(self, tokens: torch.Tensor, predicted: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        """Judges.

        Args:
            tokens: (P, 2, d), the IoU token and the mask token of VNS-SAM after the last layer.
            predicted: (P, M) predicted IoU of SAM's masks.
            logits: (P, M, h, h) of the masks, object where > 0.

        Returns:
            (P, M) in [0, 1].
        """
        seen = torch.cat([self.norm(tokens.detach().flatten(1)), predicted.detach(), looks(logits.detach())], dim=1)
        scores: torch.Tensor = self.out(self.dropout(F.relu(self.hidden(seen)))).sigmoid()
        return scores


def looks(logits: torch.Tensor) -> torch.Tensor:
    """What masks look like, without knowing the truth: (P, M, h, h) logits to (P, 3 M).

    How much they cover (logarithm, quartered), how stable they are between the thresholds -1 and 1, and the IoU that
    their probabilities promise.
    """
    probability, found = logits.sigmoid(), (logits > 0).float()
    covered = found.mean((-2, -1))
    stable = (logits > 1).float().sum((-2, -1)) / (logits > -1).float().sum((-2, -1)).clamp(min=1)
    either = (probability + found - probability * found).sum((-2, -1)).clamp(min=1)
    promised = (probability * found).sum((-2, -1)) / either
    return torch.cat([(covered + 1e-4).log() / 4, stable, promised], dim=1)


def score_loss(scores: torch.Tensor, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean squared error of predicted IoU.

    Args:
        scores: (P, M).
        logits: (P, M, h, w) of the masks that are judged.
        target: (P, 1, H, W) in [0, 1]; the masks are enlarged to it.
    """
    with torch.no_grad():
        found = F.interpolate(logits, target.shape[-2:], mode="bilinear", align_corners=False) > 0
        true = target > 0.5
        iou = (found & true).sum((-2, -1)) / (found | true).sum((-2, -1)).clamp(min=1)
    return F.mse_loss(scores, iou)
