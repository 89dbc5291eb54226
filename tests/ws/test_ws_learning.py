"""The segmenter and its losses together learn: from masks within seconds, from strokes alone a little slower."""

from __future__ import annotations

import pytest
import torch
from small import small_model

from vns_sam.prompts.codes import BACKGROUND, OBJECT
from vns_sam.ws.losses import ws_loss

SIDE = 64


def iou(found: torch.Tensor, true: torch.Tensor) -> float:
    return ((found & true).sum() / (found | true).sum()).item()


def test_learns_from_masks() -> None:
    torch.manual_seed(0)
    model = small_model().train()
    pixels, target = torch.randn(2, 3, 64, 64) * 0.5, torch.zeros(2, 1, 64, 64)
    target[0, :, 8:40, 8:40], target[1, :, 30:60, 20:60] = 1, 1
    labels = torch.zeros(2, 1, 64, 64, dtype=torch.uint8)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(20):
        optimizer.zero_grad()
        output = model(pixels + target)
        terms = ws_loss(output.logits, labels, target, torch.ones_like(target), torch.tensor([True, True]))
        torch.stack([*terms.values()]).sum().backward()
        optimizer.step()
    assert iou(output.prediction > 0, target > 0) > 0.8


def concealed() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Four discs of horizontal waves on vertical ones, alike in colour: pictures, masks and strokes."""
    y, x = torch.meshgrid(torch.arange(float(SIDE)), torch.arange(float(SIDE)), indexing="ij")
    pictures, masks, labels = [], [], []
    for k, (row, column, radius) in enumerate([(24, 24, 14), (40, 36, 16), (30, 42, 12), (36, 22, 15)]):
        mask = (y - row) ** 2 + (x - column) ** 2 < radius**2
        waves = torch.where(mask, (1.2 * x + k).sin(), (1.2 * y + k).sin())
        pictures.append(waves + 0.2 * torch.randn(3, SIDE, SIDE))
        label = torch.zeros(SIDE, SIDE, dtype=torch.uint8)
        label[row, column - radius // 2 : column + radius // 2] = OBJECT
        label[[3, 60], 8:56], label[8:56, 3], label[8:56, 60] = BACKGROUND, BACKGROUND, BACKGROUND
        masks.append(mask[None])
        labels.append(label[None])
    return torch.stack(pictures), torch.stack(masks), torch.stack(labels)


@pytest.mark.slow
def test_learns_concealed_objects_from_strokes_alone() -> None:
    torch.manual_seed(0)
    pictures, masks, labels = concealed()
    model = small_model().train()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    nothing, none_kept = torch.zeros(4, 1, SIDE, SIDE), torch.zeros(4, dtype=torch.bool)
    for _ in range(80):
        # rolled about, so that the place of a stroke says nothing
        shift = tuple(torch.randint(0, SIDE, (2,)).tolist())
        optimizer.zero_grad()
        output = model(pictures.roll(shift, (2, 3)))
        terms = ws_loss(output.logits, labels.roll(shift, (2, 3)), nothing, nothing, none_kept, progress=0)
        assert terms["pseudo"] == 0
        terms["partial"].backward()
        optimizer.step()
    with torch.no_grad():
        assert iou(model.eval()(pictures).prediction > 0, masks) > 0.8
