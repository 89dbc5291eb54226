"""VNS-SAM's losses against their formulas, written out naively."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vns_sam.sam.losses import Bce
from vns_sam.vns.losses import dice_loss, structure_loss


def naive_structure(logits: np.ndarray, target: np.ndarray, bce: Bce) -> float:
    padded = np.pad(target, 15)
    mean = np.array([[padded[y : y + 31, x : x + 31].mean() for x in range(40)] for y in range(40)])
    weight = 1 + 5 * np.abs(mean - target)
    p = 1 / (1 + np.exp(-logits))
    entropy = -(target * np.log(p) + (1 - target) * np.log(1 - p))
    entropy = entropy.mean() if bce == "mean" else (weight * entropy).sum() / weight.sum()
    inside, both = (weight * p * target).sum(), (weight * (p + target)).sum()
    return float(entropy + 1 - (inside + 1) / (both - inside + 1))


@pytest.mark.parametrize("bce", ["mean", "weighted"])
def test_structure_loss(bce: Bce) -> None:
    rng = np.random.default_rng(0)
    logits, target = rng.normal(size=(2, 40, 40)), np.zeros((2, 40, 40))
    target[0, 5:20, 10:30], target[1, 30:, :7] = 1, 0.5
    expected = np.mean([naive_structure(x, y, bce) for x, y in zip(logits, target, strict=True)])
    found = structure_loss(torch.from_numpy(logits)[:, None], torch.from_numpy(target)[:, None], bce)
    assert found.item() == pytest.approx(expected, rel=1e-9)


def test_the_two_cross_entropies_differ() -> None:
    target = torch.zeros(1, 1, 40, 40)
    target[..., 10:20, 10:20] = 1
    logits = 3 * (2 * target - 1) * torch.linspace(0.1, 1, 40)
    assert structure_loss(logits, target, "mean") != structure_loss(logits, target, "weighted")


def test_dice_loss() -> None:
    target = torch.tensor([[[[1.0, 1, 0, 0]]]])
    assert dice_loss(target, target).item() == pytest.approx(0)
    # 2 * 0.5 + 1 over 0.25 + 0.25 + 2 + 1
    half = torch.tensor([[[[0.5, 0, 0.5, 0]]]])
    assert dice_loss(half, target).item() == pytest.approx(1 - 2 / 3.5)
