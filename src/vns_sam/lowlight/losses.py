"""The losses of CycleGAN (Zhu et al. 2017, section 3), with least squares in place of the likelihood (section 4)."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def adversarial(scores: torch.Tensor, *, real: bool) -> torch.Tensor:
    """Mean square distance of a discriminator's scores from what it, or the generator, wants: 1 real, 0 made."""
    return F.mse_loss(scores, torch.full_like(scores, float(real)))


def discriminator(on_real: torch.Tensor, on_made: torch.Tensor) -> torch.Tensor:
    """Loss of a discriminator, halved so that it learns more slowly than the generator."""
    return (adversarial(on_real, real=True) + adversarial(on_made, real=False)) / 2


def cycle(returned: torch.Tensor, original: torch.Tensor) -> torch.Tensor:
    """L1 distance of a picture that went there and back from what it was; not yet weighted."""
    return F.l1_loss(returned, original)


def identity(kept: torch.Tensor, original: torch.Tensor) -> torch.Tensor:
    """L1 distance of a picture, given to the generator that makes its own domain, from itself (section 5.2)."""
    return F.l1_loss(kept, original)
