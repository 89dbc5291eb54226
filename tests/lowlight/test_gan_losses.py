"""The losses of CycleGAN against their definitions."""

from __future__ import annotations

import pytest
import torch

from vns_sam.lowlight import losses


def test_least_squares() -> None:
    scores = torch.tensor([0.0, 1.0, 3.0])
    assert losses.adversarial(scores, real=True).item() == pytest.approx((1 + 0 + 4) / 3)
    assert losses.adversarial(scores, real=False).item() == pytest.approx((0 + 1 + 9) / 3)


def test_discriminator_is_halved() -> None:
    assert losses.discriminator(torch.ones(2), torch.zeros(2)).item() == 0
    assert losses.discriminator(torch.zeros(2), torch.ones(2)).item() == 1


@pytest.mark.parametrize("loss", [losses.cycle, losses.identity])
def test_l1(loss: object) -> None:
    assert loss(torch.tensor([1.0, -1.0]), torch.tensor([0.0, 2.0])).item() == 2  # type: ignore[operator]
