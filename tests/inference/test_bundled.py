"""The models in the package: there, within their size, with a card, and of use on the picture that ships with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import vns_sam
from vns_sam.images.read import read_image
from vns_sam.metrics.iou import iou
from vns_sam.sam import registry
from vns_sam.types import SecondLook

LIMITS = {"sam-tiny": 30, "vns-sam-tiny": 30, "dis-sam-tiny": 8, "ws-sam-tiny": 15}
"""MB of each; the first two together have 30."""
MOTH = Path(__file__).parents[2] / "docs" / "moth.jpg"
BOX = [[198, 98, 449, 311]]


def test_every_bundled_model_is_small_and_has_a_card() -> None:
    assert set(registry.bundled()) == set(LIMITS)
    sizes = {name: (registry.BUNDLED / name / "model.safetensors").stat().st_size / 1e6 for name in registry.bundled()}
    assert all(size <= LIMITS[name] for name, size in sizes.items())
    assert sizes["sam-tiny"] + sizes["vns-sam-tiny"] <= 30
    for name in registry.bundled():
        card = (registry.BUNDLED / name / "README.md").read_text()
        assert all(heading in card for heading in (f"# {name}", "## Data", "## Results", "## Limits"))


@pytest.fixture(scope="module")
def reference() -> np.ndarray:
    predictor = vns_sam.Predictor(vns_sam.load_model("vns-sam-tiny"))
    predictor.set_image(str(MOTH))
    return np.asarray(predictor.predict(boxes=BOX).masks[0])


def test_the_refinement_stays_with_the_object(reference: np.ndarray) -> None:
    predictor = vns_sam.Predictor(vns_sam.load_model("vns-sam-tiny+dis-sam-tiny"))
    predictor.set_image(str(MOTH))
    result = predictor.predict(boxes=BOX)
    assert result.alpha is not None
    assert result.alpha.shape == (1, *reference.shape)
    assert iou(result.masks[0], reference) > 0.8


def test_the_segmenter_finds_the_moth_without_a_prompt(reference: np.ndarray) -> None:
    predictor = vns_sam.Predictor(vns_sam.load_model("ws-sam-tiny"))
    predictor.set_image(str(MOTH))
    assert iou(predictor.predict().masks[0], reference) > 0.3


@pytest.mark.parametrize(("asked", "looks"), [("off", "off"), ("on", "on"), ("auto", "on")])
def test_the_first_stage_looks_again_before_its_mask_is_refined(asked: SecondLook, looks: SecondLook) -> None:
    image, box = read_image(MOTH), [[230, 130, 290, 190]]
    refined = vns_sam.Predictor("vns-sam-tiny+dis-sam-tiny", second_look=asked)
    first = vns_sam.Predictor("vns-sam-tiny", second_look=looks)
    for predictor in (refined, first):
        predictor.set_image(image)
    coarse = first.predict(boxes=box).masks[0]
    wanted = refined.model.refine(image, coarse, np.array(box[0], np.float32))  # type: ignore[attr-defined]
    np.testing.assert_array_equal(refined.predict(boxes=box).masks[0], wanted.alpha > wanted.threshold)
