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
from vns_sam.evaluation.ablate import (
    ALL_SETS,
    Ablation,
    ablated,
    check_runs,
    find_module,
    parse_ablations,
    worth,
    worth_rows,
)
from vns_sam.evaluation.report import ModelResult
from vns_sam.evaluation.results import read_results
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


def test_tokens_are_places_and_parts_go_together() -> None:
    rows = torch.arange(12.0).reshape(2, 3, 2)
    body = Body()
    with ablated(body, Ablation("low", "mean")):
        assert torch.equal(body(rows), rows + rows.mean(dim=1, keepdim=True))
    with ablated(body, Ablation("low", "shuffle")):
        shuffled = body(rows) - rows
    assert torch.equal(shuffled.sort(dim=1).values, rows)
    assert not torch.equal(shuffled, rows)
    with ablated(body, Ablation("left+right.low", "zero")):
        assert torch.equal(body(X), torch.zeros_like(X))
    with ablated(nn.ModuleDict({"each": body.right, "list": nn.ModuleList([body.left])}), Ablation("list", "zero")):
        assert torch.equal(body(X), X)


def test_parts_that_say_nothing_are_refused() -> None:
    model = narrow_sam()
    check_runs(model, [Ablation("prompt_encoder", "zero"), Ablation("mask_decoder.transformer", "mean")])
    with pytest.raises(UsageError, match=r"does not run 'prompt_encoder\.point_embed'"):
        check_runs(model, [Ablation("prompt_encoder.point_embed", "zero")])
    head = Ablation("mask_decoder.iou_prediction_head", "mean")
    with pytest.raises(UsageError, match="gives one vector, which has no places to take the mean of"):
        check_runs(model, [head])
    check_runs(model, [Ablation(head.module, "zero")])


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


def test_sets_are_also_taken_together() -> None:
    def two_sets(camo: float, kvasir: float) -> ModelResult:
        rows = [
            Row(Key(name, str(i), "", "box"), ImageScores({"iou": value}))
            for name, value, count in (("camo", camo, 9), ("kvasir", kvasir, 3))
            for i in range(count)
        ]
        return ModelResult("m", "digest", rows)

    rows = list(worth_rows(two_sets(0.8, 0.4), two_sets(0.6, 0.4), Ablation("low", "zero")))
    assert {(row.model, row.prompt) for row in rows} == {("m: low", "box: zero")}
    assert [(row.set, row.count) for row in rows] == [("camo", 9), ("kvasir", 3), (ALL_SETS, 12)]
    together = rows[-1].scores["worth_iou"]
    assert together.mean == pytest.approx(0.15)
    assert together.low is not None
    assert together.high is not None
    assert 0.0 < together.low < 0.15 < together.high <= 0.2


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    narrow_sam().save_pretrained(tmp_path / "narrow")
    write_disks(tmp_path / "disks", 2)
    model = str(tmp_path / "narrow")
    line = ["--quiet", "evaluate", model, "--data", str(tmp_path / "disks"), "--workers", "0", "--ablate"]
    assert main([*line, "prompt_encoder", "--ablate-by", "zero"]) == 0
    printed = capsys.readouterr().out
    assert f"| {model} less prompt_encoder (zero) |" in printed
    assert f"| prompt | set | objects | metric | {model} less prompt_encoder (zero) | {model} | change |" in printed
    assert main([*line, "prompt_encoder", "--ablate-by", "zero", "--save", str(tmp_path / "worth.json")]) == 0
    saved = read_results(tmp_path / "worth.json")
    (part,) = [row for row in saved.rows if "worth_iou" in row.scores]
    assert (part.model, part.prompt) == (f"{model}: prompt_encoder", "box: zero")
    assert main([*line, "nothing_like_it"]) == 2
