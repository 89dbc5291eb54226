"""Parts of a trained model are switched off while it is measured, and what they add is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from workshop import narrow_sam, write_disks

from vns_sam.cli.main import main
from vns_sam.errors import UsageError
from vns_sam.evaluation.ablate import Ablation, ablated, find_module, parse_ablations, worth
from vns_sam.evaluation.report import ModelResult
from vns_sam.evaluation.rows import Key, Row
from vns_sam.metrics.scoring import ImageScores


class Body(nn.Module):
    """Two parts of one name in different places, and one that gives two maps."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Sequential(nn.Identity(), nn.ReLU())
        self.right = nn.ModuleDict({"low": nn.Identity(), "1": nn.ReLU()})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.left(x) + self.right["low"](x)


X = torch.arange(24.0).reshape(2, 3, 2, 2)


def test_output_is_replaced_only_inside_the_context() -> None:
    body = Body()
    with ablated(body, Ablation("right.low", "zero")):
        assert torch.equal(body(X), X)
    with ablated(body, Ablation("low", "mean")):
        assert torch.equal(body(X), X + X.mean(dim=(2, 3), keepdim=True))
    with ablated(body, Ablation("low", "shuffle")):
        shuffled = body(X) - X
    assert not torch.equal(shuffled, X)
    assert torch.equal(shuffled.flatten(2).sort(dim=2).values, X.flatten(2))
    with ablated(body, None):
        assert torch.equal(body(X), 2 * X)
    assert torch.equal(body(X), 2 * X)


def test_names_are_found_and_mistakes_told() -> None:
    body = Body()
    assert find_module(body, "low") is body.right["low"]
    with pytest.raises(UsageError) as caught:
        find_module(body, "1")
    assert caught.value.hint == "left.1 or right.1"
    with pytest.raises(UsageError) as caught:
        find_module(body, "right.lov")
    assert caught.value.hint == "right.low"
    with pytest.raises(UsageError, match="only parts of a network"):
        find_module(object(), "low")
    with pytest.raises(UsageError, match="unknown way to ablate 'none'"):
        parse_ablations(["low"], ["none"])
    assert parse_ablations(["a", "b"], ["zero", "mean"])[1] == Ablation("a", "zero")


def result(values: np.ndarray) -> ModelResult:
    rows = [Row(Key("camo", str(i), "", "box"), ImageScores({"iou": float(v)})) for i, v in enumerate(values)]
    return ModelResult("m", "digest", rows)


def test_worth_is_with_less_without() -> None:
    scores = np.linspace(0.3, 0.5, 20)
    (found,) = worth(result(scores + 0.1), result(scores))
    assert (found.change, found.low, found.high) == pytest.approx((0.1, 0.1, 0.1))
    assert found.certain


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    narrow_sam().save_pretrained(tmp_path / "narrow")
    write_disks(tmp_path / "disks", 2)
    model = str(tmp_path / "narrow")
    line = ["--quiet", "evaluate", model, "--data", str(tmp_path / "disks"), "--workers", "0", "--ablate"]
    assert main([*line, "prompt_encoder", "--ablate-by", "zero"]) == 0
    printed = capsys.readouterr().out
    assert f"| {model} less prompt_encoder (zero) |" in printed
    assert f"| prompt | set | objects | metric | {model} less prompt_encoder (zero) | {model} | change |" in printed
    assert main([*line, "nothing_like_it"]) == 2
