"""How good each mask is that VNS-SAM offers. Ours, not the paper's: its score is SAM's, of a mask that is not the one
it gives.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from vns_sam.sam.unprompted import expected_iou

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
        scores: torch.Tensor = self.out(self.dropout(F.relu(self.hidden(seen.to(self.hidden.weight.dtype))))).sigmoid()
        return scores


def looks(logits: torch.Tensor) -> torch.Tensor:
    """What masks look like, without knowing the truth: (P, M, h, h) logits to (P, 3 M).

    How much they cover (logarithm, quartered), how stable they are between the thresholds -1 and 1, and the IoU that
    their probabilities promise.
    """
    covered = (logits > 0).float().mean((-2, -1))
    stable = (logits > 1).float().sum((-2, -1)) / (logits > -1).float().sum((-2, -1)).clamp(min=1)
    promised = expected_iou(logits.flatten(0, 1)[:, None]).reshape(covered.shape)
    return torch.cat([(covered + 1e-4).log() / 4, stable, promised], dim=1)
