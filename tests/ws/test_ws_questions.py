"""A segmenter is asked as other models are asked, but for the prompt: it takes none."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small import small_model

from vns_sam.errors import PromptError
from vns_sam.inference.predictor import Predictor
from vns_sam.types import ImageFeatures, PromptBatch, Prompts


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def test_the_whole_picture_gets_what_segment_says() -> None:
    model, image = small_model(), picture(40, 70)
    predictor = Predictor(model)
    predictor.set_image(image)
    prediction = predictor.predict()
    np.testing.assert_allclose(1 / (1 + np.exp(-prediction.logits[0])), model.segment(image), atol=1e-5)
    assert prediction.masks.shape == (1, 40, 70)
    with pytest.raises(PromptError, match="'ws-sam' takes no prompt, found a box"):
        predictor.predict(boxes=[[0, 0, 70, 40]])


def test_pictures_of_different_sizes_together() -> None:
    model, images = small_model(), [picture(40, 70), picture(90, 30)]
    features = model.encode(images)
    output = model.decode(features, (), [1, 0])
    torch.testing.assert_close(output.mask_logits, features.embedding[[1, 0]])
    assert [output.logits(row).shape for row in range(2)] == [(90, 30), (40, 70)]
    assert output.scores.shape == (2,)
    everything = model.decode(features)
    np.testing.assert_array_equal(everything.logits(1), output.logits(0))
    with pytest.raises(PromptError, match="image index must be 0 to 1, got 2"):
        model.decode(features, (), [2])


@pytest.mark.parametrize(
    "prompts",
    [
        Prompts(boxes=np.array([[0, 0, 30, 39]], np.float32)),
        Prompts(boxes=np.array([[0, 0, 69, 39]], np.float32)),
        Prompts(points=np.zeros((1, 1, 2), np.float32), labels=np.ones((1, 1), int)),
        Prompts(masks=np.ones((1, 40, 70), np.float32)),
        Prompts(boxes=np.array([[0, 0, 70, 40]], np.float32), masks=np.ones((1, 40, 70), np.float32)),
    ],
)
def test_other_questions_are_refused(prompts: Prompts) -> None:
    model = small_model()
    with pytest.raises(PromptError, match="takes no prompt"):
        model.decode(model.encode([picture(40, 70)]), [prompts], [0])


def test_the_score_is_the_iou_to_expect() -> None:
    logits = torch.tensor([[[[9.0, 9.0], [-9.0, -9.0]]], [[[0.1, -0.1], [-0.1, -0.1]]], [[[-99.0] * 2] * 2]])
    batch = PromptBatch(torch.arange(3), boxes=torch.zeros(3, 4))
    sure, unsure, empty = small_model().decode_batch(ImageFeatures(logits, (), ()), batch).scores.tolist()
    assert sure > 0.99
    p, q = torch.tensor([0.1, -0.1]).sigmoid().tolist()
    assert unsure == pytest.approx(p / (1 + 3 * q))
    assert empty == 0
