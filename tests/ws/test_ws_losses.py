"""WS-SAM's losses against their formulas, written out; and that nothing labelled or kept breaks them."""

from __future__ import annotations

import math

import pytest
import torch

from vns_sam.prompts.codes import BACKGROUND, OBJECT
from vns_sam.ws.losses import (
    PRESETS,
    WsLossConfig,
    partial_cross_entropy,
    pseudo_label_loss,
    undecided_loss,
    undecided_ramp,
    ws_loss,
)

LOGITS = torch.tensor([[[[0.5, -1.0, 2.0, 0.0]]]])
TARGET = torch.tensor([[[[1.0, 0.25, 0.75, 0.0]]]])
WEIGHT = torch.tensor([[[[1.0, 0.5, 0.0, 0.25]]]])
KEPT = torch.tensor([True])


def entropy(logit: float, target: float) -> float:
    p = 1 / (1 + math.exp(-logit))
    return -(target * math.log(p) + (1 - target) * math.log(1 - p))


def maps(batch: int = 2) -> list[torch.Tensor]:
    torch.manual_seed(0)
    return [torch.randn(batch, 1, side, side, requires_grad=True) for side in (4, 8, 16, 32, 32)]


def scene() -> tuple[torch.Tensor, torch.Tensor]:
    """Strokes and a mask of two pictures of 32 pixels."""
    labels, target = torch.zeros(2, 1, 32, 32, dtype=torch.uint8), torch.zeros(2, 1, 32, 32)
    target[:, :, 8:20, 8:20] = 1
    labels[:, :, 12, 10:16], labels[:, :, 28, 4:9] = OBJECT, BACKGROUND
    return labels, target


def test_partial_cross_entropy_by_hand() -> None:
    labels = torch.tensor([[[[OBJECT, BACKGROUND, 0, 255]]]])
    expected = (entropy(0.5, 1) + entropy(-1, 0)) / 2
    assert partial_cross_entropy(LOGITS, labels).item() == pytest.approx(expected)


def test_nothing_labelled() -> None:
    logits = LOGITS.clone().requires_grad_()
    loss = partial_cross_entropy(logits, torch.zeros(1, 1, 1, 4, dtype=torch.uint8))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert logits.grad.abs().max() == 0


def test_pseudo_label_loss_by_hand() -> None:
    rows = list(zip(LOGITS.flatten().tolist(), TARGET.flatten().tolist(), WEIGHT.flatten().tolist(), strict=True))
    bce = sum(w * entropy(x, m) for x, m, w in rows) / sum(w for *_, w in rows)
    p = [1 / (1 + math.exp(-x)) for x, *_ in rows]
    inside = sum(w * q * m for q, (_, m, w) in zip(p, rows, strict=True))
    union = sum(w * (q + m - q * m) for q, (_, m, w) in zip(p, rows, strict=True))
    expected = bce + 1 - (inside + 1) / (union + 1)
    assert pseudo_label_loss(LOGITS, TARGET, WEIGHT, KEPT).item() == pytest.approx(expected, rel=1e-6)


def test_no_gradient_where_the_weight_is_zero() -> None:
    logits = LOGITS.clone().requires_grad_()
    pseudo_label_loss(logits, TARGET, WEIGHT, KEPT).backward()
    assert logits.grad is not None
    assert (logits.grad[WEIGHT == 0] == 0).all()
    assert (logits.grad[WEIGHT > 0] != 0).all()


def test_a_picture_that_is_not_kept_has_no_part() -> None:
    other = torch.cat([LOGITS, 7 * LOGITS]), TARGET.repeat(2, 1, 1, 1), WEIGHT.repeat(2, 1, 1, 1)
    for bce in ("weighted", "mean"):
        alone = pseudo_label_loss(LOGITS, TARGET, WEIGHT, KEPT, bce)
        torch.testing.assert_close(pseudo_label_loss(*other, torch.tensor([True, False]), bce), alone / 2)


@pytest.mark.parametrize(("logit", "expected"), [(0.0, 1.0), (50.0, 0.0), (-50.0, 0.0), (math.log(3), 0.75)])
def test_undecided_loss(logit: float, expected: float) -> None:
    assert undecided_loss(torch.full((1, 1, 2, 2), logit)).item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("progress", "expected"), [(-1, 0), (0, 0), (0.5, 0.5), (1, 1), (2, 1)])
def test_undecided_ramp(progress: float, expected: float) -> None:
    assert undecided_ramp(progress) == pytest.approx(expected)


@pytest.mark.parametrize("preset", PRESETS)
def test_sides_count_as_configured(preset: str) -> None:
    config, outputs, (labels, target) = PRESETS[preset], maps(), scene()
    weight, keep = torch.ones_like(target), torch.tensor([False, False])
    terms = ws_loss(outputs, labels, target, weight, keep, progress=0.5, config=config)
    grown = [torch.nn.functional.interpolate(x, (32, 32), mode="bilinear") for x in outputs]
    shares = (0.0625, 0.125, 0.25, 0.5, 1.0)
    factor = {"paper": 1, "released": 3, "default": 3}[preset]
    expected = factor * sum(s * partial_cross_entropy(x, labels) for s, x in zip(shares, grown, strict=True))
    torch.testing.assert_close(terms["partial"], expected)
    expected = (0 if preset == "paper" else 2 * 0.5) * undecided_loss(grown[-1])
    torch.testing.assert_close(terms["undecided"], expected)


def test_strokes_of_a_picture_with_a_pseudo_label_count_in_it_alone() -> None:
    outputs, (labels, target) = maps(), scene()
    weight, keep = torch.ones_like(target), torch.tensor([True, False])
    second = [x[1:] for x in outputs]
    alone = ws_loss(second, labels[1:], target[1:], weight[1:], keep[1:])["partial"]
    torch.testing.assert_close(ws_loss(outputs, labels, target, weight, keep)["partial"], alone / 2)
    for preset in ("paper", "released"):
        of_both, of_none = (
            ws_loss(outputs, labels, target, weight, torch.tensor([kept, kept]), config=PRESETS[preset])["partial"]
            for kept in (True, False)
        )
        torch.testing.assert_close(of_both, of_none)


def test_presets_differ_where_the_release_and_the_paper_do() -> None:
    outputs, (labels, target) = maps(), scene()
    weight, keep = torch.rand_like(target), torch.tensor([True, True])
    pseudo = {name: ws_loss(outputs, labels, target, weight, keep, config=PRESETS[name])["pseudo"] for name in PRESETS}
    assert len({round(value.item(), 4) for value in pseudo.values()}) == 3
    flat = WsLossConfig(boundary=False)
    torch.testing.assert_close(ws_loss(outputs, labels, target, weight, keep, config=flat)["pseudo"], pseudo["paper"])


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize(("labelled", "weighted", "kept"), [(0, 0, 0), (1, 1, 0), (0, 1, 1), (1, 0, 1)])
def test_finite_whatever_is_labelled_or_kept(preset: str, labelled: int, weighted: int, kept: int) -> None:
    outputs, (labels, target) = maps(), scene()
    keep = torch.full((2,), bool(kept))
    terms = ws_loss(
        outputs, labels * labelled, target, torch.ones_like(target) * weighted, keep, config=PRESETS[preset]
    )
    total = torch.stack([*terms.values()]).sum()
    total.backward()
    gradients = [x.grad for x in outputs]
    assert all(g is not None and g.isfinite().all() for g in gradients)
    assert total.isfinite()
    counted = labelled and not (preset == "default" and kept)
    assert (terms["partial"].item() == 0) == (not counted)
    if not kept:
        assert terms["pseudo"].item() == 0
