"""The head that judges VNS-SAM's masks: what it sees, and that it changes no mask."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from narrow import CONFIG, fill, inputs

from vns_sam.sam.losses import score_loss
from vns_sam.vns.decoder import VnsMaskDecoder
from vns_sam.vns.scores import MaskScores, looks


@pytest.fixture
def judging() -> VnsMaskDecoder:
    with torch.no_grad():
        return fill(VnsMaskDecoder(replace(CONFIG, own_scores=True, mask_threshold=0.5)))


def test_what_a_mask_looks_like() -> None:
    logits = torch.full((1, 2, 4, 4), -9.0)
    logits[0, 0, :2] = 9.0  # half of the map, surely
    logits[0, 1, 0, 0], logits[0, 1, 0, 1], logits[0, 1, 0, 2] = 2.0, 0.5, -0.5
    covered, stable, promised = looks(logits).reshape(3, 2)
    torch.testing.assert_close(covered.mul(4).exp(), torch.tensor([0.5001, 2 / 16 + 1e-4]))
    torch.testing.assert_close(stable, torch.tensor([1.0, 1 / 3]))
    assert promised[0] > 0.99
    sure, unsure, doubtful = (torch.tensor(value).sigmoid().item() for value in (2.0, 0.5, -0.5))
    assert promised[1].item() == pytest.approx((sure + unsure) / (2 + doubtful), abs=0.002)


@torch.no_grad()
def test_masks_stay_what_they_are(judging: VnsMaskDecoder) -> None:
    given = inputs()
    plain = fill(VnsMaskDecoder(replace(judging.config, own_scores=False)))
    maps = judging(**given)
    mined = judging.mine(given.pop("levels"))
    before = plain.decode_final(**given, mined=mined, candidates=True)
    after = judging.decode_final(**given, mined=mined, candidates=True)
    torch.testing.assert_close(after.candidate_logits, before.candidate_logits)
    torch.testing.assert_close(after.candidate_logits, maps.offered)
    torch.testing.assert_close(after.candidate_scores, maps.scores)
    torch.testing.assert_close(after.edge_logits, before.edge_logits)
    torch.testing.assert_close(after.mask_logits, before.mask_logits)
    torch.testing.assert_close(after.scores, maps.scores[:, 0])
    unasked = judging.decode_final(**given, mined=mined)
    torch.testing.assert_close(unasked.mask_logits, before.mask_logits)
    assert unasked.candidate_logits is None


def test_learning_to_judge_moves_nothing_else(judging: VnsMaskDecoder) -> None:
    maps = judging.train()(**inputs())
    target = torch.zeros(3, 1, 16, 16)
    target[..., :8] = 1
    score_loss(maps.scores, maps.offered, target).backward()
    moved = {key.split(".")[0] for key, value in judging.named_parameters() if value.grad is not None}
    assert moved == {"mask_scores"}


def test_the_loss_is_the_squared_error_of_the_iou() -> None:
    logits = torch.full((1, 2, 4, 4), -1.0)
    logits[0, 0, :, :2] = 1.0  # the left half
    logits[0, 1] = 1.0  # everything
    target = torch.zeros(1, 1, 4, 4)
    target[..., :2] = 1
    loss = score_loss(torch.tensor([[1.0, 0.8]]), logits, target)
    assert loss.item() == pytest.approx(((1 - 1) ** 2 + (0.8 - 0.5) ** 2) / 2)


def test_scores_lie_between_0_and_1() -> None:
    head = MaskScores(8, 4).eval()
    scores = head(100 * torch.randn(5, 2, 8), torch.randn(5, 4), torch.randn(5, 4, 6, 6))
    assert scores.shape == (5, 4)
    assert ((scores >= 0) & (scores <= 1)).all()
