"""A refined answer is scored at the picture's own size, not at that of the first stage's square."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch
from fakes import SIDE, FakeModel

from vns_sam.dis.mattes import Matte, MatteAnswers
from vns_sam.evaluation.frames import frame
from vns_sam.images.geometry import fit
from vns_sam.inference.answers import Asker
from vns_sam.sam.answers import MapAnswers


@pytest.mark.parametrize(("resize", "shape"), [("fit", (300, 400)), ("square", (1024, 1024))])
def test_thin_lines_survive(resize: Literal["fit", "square"], shape: tuple[int, int]) -> None:
    view = frame(np.zeros((300, 400, 3), np.uint8), resize)
    alpha = np.zeros(shape, np.float32)
    alpha[:, shape[1] // 2 : shape[1] // 2 + 4] = 1
    scores, geometry = np.ones(1, np.float32), (fit(*view.image.shape[:2], SIDE),)
    found = view.answer(Asker(FakeModel()), MatteAnswers((Matte(alpha),), scores), 0, None)
    assert found.shape == (300, 400)
    assert (found[:, 201] > 0).all()
    assert 300 <= (found > 0).sum() <= 1500
    maps = MapAnswers(torch.full((1, 1, SIDE, SIDE), -5.0), scores, geometry)
    plain = view.answer(Asker(FakeModel()), maps, 0, None)
    assert (plain.shape, (plain > 0).any()) == ((300, 400), np.False_)


def test_logits_of_a_matte() -> None:
    logits = Matte(np.array([[0.0, 0.2, 0.25, 0.5, 1.0]], np.float32), 0.25).logits
    assert (logits > 0).tolist() == [[False, False, False, True, True]]
    assert logits[0, 3] == pytest.approx(np.log(3), rel=1e-5)
    assert np.isfinite(logits).all()
