"""The loss of SAM's decoder: by hand where that is possible, and in the right order elsewhere."""

from __future__ import annotations

import math

import pytest
import torch

from vns_sam.sam.losses import mask_loss, sam_loss

SIDE = 32


def square(low: int = 8, high: int = 24) -> torch.Tensor:
    target = torch.zeros(SIDE, SIDE)
    target[low:high, low:high] = 1
    return target


def logits_of(target: torch.Tensor, strength: float = 8) -> torch.Tensor:
    return strength * (2 * target - 1)


def test_mask_loss_by_hand() -> None:
    loss = mask_loss(torch.zeros(2, SIDE, SIDE), torch.zeros(2, SIDE, SIDE))
    jaccard = 1 - 1 / (0.5 * SIDE**2 + 1)  # nothing intersects; the union is half of every pixel
    assert loss.tolist() == pytest.approx([math.log(2) + jaccard] * 2)


def test_mask_loss_by_hand_around_one_pixel() -> None:
    target = torch.zeros(SIDE, SIDE)
    target[16, 16] = 1
    centre, around = 1 + 5 * (1 - 1 / 225), 1 + 5 / 225  # a window of 15 x 15 holds one object pixel
    total = centre + 224 * around + (SIDE**2 - 225)
    inside = 0.5 * centre
    union = 0.5 * total + centre - inside
    expected = math.log(2) + 1 - (inside + 1) / (union + 1)
    assert mask_loss(torch.zeros(SIDE, SIDE), target).item() == pytest.approx(expected, rel=1e-5)


def test_better_masks_cost_less() -> None:
    target = square()
    answers = [square(), square(9, 24), square(12, 20), torch.zeros(SIDE, SIDE), 1 - square()]
    losses = [mask_loss(logits_of(answer), target).item() for answer in answers]
    assert losses == sorted(losses)
    assert losses[0] < 0.01
    assert losses[1] > losses[0] + 0.1


def test_errors_near_the_contour_cost_more() -> None:
    inner, rim = (logits_of(square()).clone() for _ in range(2))
    inner[16, 16] *= -1
    rim[8, 16] *= -1
    assert mask_loss(rim, square()) > mask_loss(inner, square())


def test_each_map_has_its_own_loss() -> None:
    targets = torch.stack([square(), square(2, 10)])
    logits = torch.randn(2, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    together = mask_loss(logits, targets)
    alone = torch.stack([mask_loss(a, b) for a, b in zip(logits, targets, strict=True)])
    torch.testing.assert_close(together, alone)


def test_sam_loss_takes_the_single_mask_the_best_other_and_all_scores() -> None:
    target = square()
    answers = [square(12, 20), torch.zeros(SIDE, SIDE), square(), 1 - square()]
    logits = torch.stack([logits_of(answer) for answer in answers])[None]
    iou = torch.tensor([[64 / 256, 0.0, 1.0, 0.0]])
    terms = sam_loss(logits, iou + 0.1, target[None])
    assert terms["mask"].item() == pytest.approx(mask_loss(logits[0, 0], target).item())
    assert terms["multimask"].item() == pytest.approx(0.3 * mask_loss(logits[0, 2], target).item(), abs=1e-6)
    assert terms["score"].item() == pytest.approx(0.01, rel=1e-4)


def test_only_the_best_of_the_others_learns() -> None:
    answers = [square(), square(9, 24), square(12, 20), torch.zeros(SIDE, SIDE)]
    logits = torch.stack([logits_of(answer, 2) for answer in answers])[None].requires_grad_()
    sam_loss(logits, torch.zeros(1, 4), square()[None])["multimask"].backward()
    assert logits.grad is not None
    assert logits.grad.abs().amax((0, 2, 3)).gt(0).tolist() == [False, True, False, False]


def test_an_empty_target_gives_finite_losses() -> None:
    logits = torch.full((1, 4, SIDE, SIDE), -30.0, requires_grad=True)
    terms = sam_loss(logits, torch.zeros(1, 4), torch.zeros(1, SIDE, SIDE))
    torch.stack(list(terms.values())).sum().backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert all(value.item() == pytest.approx(0, abs=1e-4) for value in terms.values())
