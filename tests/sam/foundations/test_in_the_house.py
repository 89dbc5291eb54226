"""A foundation where other models are used: as labeller, as first stage of a refinement, in a predictor, in a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from foundation_models import narrow_foundation
from workshop import IMAGES, PROMPTS

from vns_sam import Predictor
from vns_sam.dis.config import DisSamConfig
from vns_sam.dis.isnet import IsNet
from vns_sam.dis.model import DisSamModel
from vns_sam.errors import DataError, UsageError
from vns_sam.sam.model import SamModel
from vns_sam.types import ImageFeatures

FOUNDATIONS = pytest.mark.parametrize("name", ["vit", "sam2", "sam3", "mobile-sam"])


@FOUNDATIONS
def test_a_predictor_offers_three_masks_best_first(name: str) -> None:
    predictor = Predictor(narrow_foundation(name))
    predictor.set_image(IMAGES[0])
    found = predictor.predict(boxes=[[4.0, 4, 30, 30]], multimask=True)
    assert found.candidates is not None
    scores = found.candidates[0].scores
    assert found.candidates[0].masks.shape == (3, 40, 64)
    assert list(scores) == sorted(scores, reverse=True)


@FOUNDATIONS
def test_features_survive_a_file(name: str, tmp_path: Path) -> None:
    """SAM 2's finer maps count, travel and come back."""
    model = narrow_foundation(name)
    features = model.encode(IMAGES)
    assert len(features.finer) == (2 if name.startswith("sam") else 0)
    parts = (features.embedding, *features.mined, *features.finer)
    assert features.nbytes == sum(4 * part.numel() for part in parts)
    np.savez(tmp_path / "features.npz", **features.arrays())
    with np.load(tmp_path / "features.npz") as file:
        back = ImageFeatures.from_arrays(dict(file)).to(model.device)
    first, second = (model.decode(one, PROMPTS, [0, 1]) for one in (features, back))
    np.testing.assert_array_equal(first.scores, second.scores)
    alone = model.decode(features.select(1), PROMPTS[1:], [0])
    np.testing.assert_allclose(alone.scores, first.scores[2:], atol=1e-5)


@FOUNDATIONS
def test_first_stage_of_a_refinement(name: str) -> None:
    torch.manual_seed(0)
    first = narrow_foundation(name)
    config = DisSamConfig(first.name, "dis", width=0.125, image_size=64)
    model = DisSamModel(config, first, IsNet(5, config.width)).eval()
    features = model.encode(IMAGES[:1])
    answers = model.decode(features, PROMPTS[:1], [0])
    assert answers.alpha(0) is not None
    assert answers.alpha(0).shape == IMAGES[0].shape[:2]


def test_a_decoder_of_sam2_is_not_run_without_its_finer_maps() -> None:
    """It would give other masks, and nobody would notice: an exporter or a caller that does not know them is told."""
    two, one = narrow_foundation("sam2"), narrow_foundation("mobile-sam")
    rows, finer = torch.zeros(1, 16, 32), [torch.zeros(1, 4, 16, 16), torch.zeros(1, 8, 8, 8)]
    with pytest.raises(DataError, match="expected two of the encoder's finer maps, got none"):
        two.mask_decoder.upscale(rows, (4, 4))
    with pytest.raises(DataError, match="expected none of the encoder's finer maps, got 2"):
        one.mask_decoder.upscale(rows, (4, 4), finer)
    assert two.mask_decoder.upscale(rows, (4, 4), finer).as_maps().shape == (1, 4, 16, 16)


def test_what_is_decoded_must_be_ones_own() -> None:
    """SAM 2's features say whose they are, as every model's."""
    one, other = narrow_foundation("sam2"), narrow_foundation("mobile-sam")
    assert isinstance(one, SamModel)
    with pytest.raises(UsageError, match="found those of"):
        other.decode(one.encode(IMAGES[:1]), PROMPTS[:1], [0])
