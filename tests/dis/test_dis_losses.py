"""The losses: the release's numbers, values worked out by hand, and one training step's gradients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from vns_sam.dis.isnet import GtEncoder, IsNet
from vns_sam.dis.losses import dis_loss, feature_loss, iou_loss, ortho_loss, side_loss


def forward(net: IsNet, x: torch.Tensor) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    features = net.features(x)
    return net.side_logits(features, x), features


@torch.no_grad()
def test_terms_equal_the_release(
    isnet: IsNet, gt_encoder: GtEncoder, release: dict[str, torch.Tensor], numbers: dict[str, Any]
) -> None:
    label, expected = release["label_128"], numbers["loss"]
    logits, features = forward(isnet, release["x_128"])
    entropy = [torch.nn.functional.binary_cross_entropy_with_logits(side, label).item() for side in logits]
    assert entropy == pytest.approx(expected["bce_per_side"], rel=1e-5)
    assert [iou_loss(side.sigmoid(), label).item() for side in logits] == pytest.approx(
        expected["iou_per_side"], rel=1e-5
    )
    for mode in ("eval", "train"):
        wanted = gt_encoder.train(mode == "train").features(label)
        each = [feature_loss([a], [b]).item() for a, b in zip(features, wanted, strict=True)]
        assert each == pytest.approx(expected[f"mse_per_feat_gtenc_{mode}"], rel=1e-4)
        terms = dis_loss(logits, label, features, wanted)
        assert terms["mask"].item() == pytest.approx(expected["loss0_side1_20bce+0.5iou"], rel=1e-5)
        total = sum(terms.values()).item()
        assert total == pytest.approx(expected[f"total_without_ortho_gtenc_{mode}"], rel=1e-5)


@torch.no_grad()
def test_the_encoders_own_loss_equals_the_release(
    gt_encoder: GtEncoder, release: dict[str, torch.Tensor], numbers: dict[str, Any]
) -> None:
    label = release["label_128"]
    terms = dis_loss(gt_encoder.side_logits(gt_encoder.features(label), label), label)
    assert terms["mask"].item() == pytest.approx(numbers["loss"]["gtenc_eval_loss0"], rel=1e-5)
    assert sum(terms.values()).item() == pytest.approx(numbers["loss"]["gtenc_eval_sum6"], rel=1e-5)


@pytest.mark.parametrize("name", ["isnet5", "gtenc"])
@torch.no_grad()
def test_ortho_equals_the_release(name: str, isnet: IsNet, gt_encoder: GtEncoder, numbers: dict[str, Any]) -> None:
    net, expected = {"isnet5": isnet, "gtenc": gt_encoder}[name], numbers["ortho"]
    found = ortho_loss(net.named_parameters(), "released").item()
    assert found == pytest.approx(expected[f"released_reg1e-8_fp32_{name}"], rel=1e-5)
    found = ortho_loss(net.named_parameters(), "paper").item()
    assert found == pytest.approx(1e-6 * expected[f"float64_{name}"]["fro_conv"], rel=1e-5)


def test_ortho_at_the_default_initialisation_equals_the_release(numbers: dict[str, Any]) -> None:
    torch.manual_seed(0)
    net, expected = IsNet(), numbers["ortho"]["default_init_isnet5"][0]
    found = ortho_loss(net.named_parameters(), "released").item()
    assert found == pytest.approx(expected["released_ortho_default_init"], rel=1e-5)
    assert ortho_loss(net.named_parameters()).item() == pytest.approx(1e-6 * expected["fro_conv"], rel=1e-5)


def test_gradients_of_a_training_step_equal_the_release(
    isnet: IsNet, gt_encoder: GtEncoder, release: dict[str, torch.Tensor], numbers: dict[str, Any], fixtures_dir: Path
) -> None:
    label, expected = release["label_128"], numbers["train_step"]
    with torch.no_grad():
        wanted = gt_encoder.train().features(label)
    logits, features = forward(isnet.train(), release["x_128"])
    terms = dis_loss(logits, label, features, wanted)
    assert terms["mask"].item() == pytest.approx(expected["loss0"], rel=1e-4)
    total = sum(terms.values()) + ortho_loss(isnet.named_parameters(), "released")
    assert total.item() == pytest.approx(expected["total"], rel=1e-4)
    total.backward()
    gradients = {name: p.grad for name, p in isnet.named_parameters() if p.grad is not None}
    # Batch norms over eight values pass rounding on to the first layers: float32 and float64 differ by 0.6 % there.
    norm = torch.stack([g.norm() for g in gradients.values()]).norm().item()
    assert norm == pytest.approx(expected["grad_total_l2"], rel=0.015)
    for name, value in expected["grad_l2"].items():
        assert gradients[name].norm().item() == pytest.approx(value, rel=0.015), name
    recorded = load_file(fixtures_dir / "dis" / "train_step_grads.safetensors")
    for name, limit in (("side1.weight", 1e-3), ("conv_in.weight", 0.06)):
        value = recorded[f"grad_{name}"]
        assert ((gradients[name] - value).norm() / value.norm()).item() < limit, name


def test_values_by_hand() -> None:
    target = torch.tensor([[1.0, 0.0]]).reshape(1, 1, 1, 2)
    assert iou_loss(target, target).item() == 0
    assert iou_loss(1 - target, target).item() == pytest.approx(1 - 1 / 3)
    half = side_loss(torch.zeros(1, 1, 1, 2), target).item()
    assert half == pytest.approx(20 * 0.693147 + 0.5 * (1 - 1.5 / 2.5), rel=1e-5)
    assert ortho_loss([("a.weight", torch.eye(3).reshape(3, 3, 1, 1))]).item() == 0
    gamma = [("bn.weight", torch.tensor([1.0, 1.0])), ("bn.bias", torch.tensor([7.0, 7.0]))]
    assert ortho_loss(gamma, "released").item() == pytest.approx(2e-8)


def test_saturated_sides_have_a_gradient() -> None:
    logits = torch.full((1, 1, 4, 4), -200.0, requires_grad=True)
    side_loss(logits, torch.ones(1, 1, 4, 4)).backward()
    assert logits.grad is not None
    assert (logits.grad < 0).all()
