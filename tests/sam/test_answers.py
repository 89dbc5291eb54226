"""What networks say of themselves, whose features they decode, and the way from their maps to full size."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from workshop import IMAGES, NARROW, PROMPTS, narrow_sam

from vns_sam.errors import UsageError
from vns_sam.hq.model import HqSamModel
from vns_sam.images.geometry import fit, maps_to_original, masks_to_model
from vns_sam.sam.answers import MapAnswers
from vns_sam.sam.config import vit_config
from vns_sam.sam.model import SamModel
from vns_sam.sam.promptable import PromptableNetwork
from vns_sam.types import Geometry, ImageFeatures, Prompts
from vns_sam.vns.config import VnsSamConfig
from vns_sam.vns.model import VnsSamModel


def vns(seed: int = 0) -> VnsSamModel:
    sam = narrow_sam(seed)
    return VnsSamModel.from_sam(sam, VnsSamConfig.for_sam(sam.config, inner_channels=8, head_channels=8)).eval()


MODELS = {"sam": narrow_sam, "vns": vns, "hq": lambda: HqSamModel.from_sam(narrow_sam()).eval()}


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> PromptableNetwork:
    return MODELS[request.param]()


def test_what_a_network_is(model: PromptableNetwork) -> None:
    info = model.info
    assert (info.name, info.input_side, info.prompts) == (model.name, 64, {"box", "point", "mask"})
    assert info.candidates == (3 if model.name == "narrow" else 4)
    assert info.edges == isinstance(model, VnsSamModel)
    assert model.info is info


def test_the_digest_follows_the_weights() -> None:
    model = narrow_sam()
    before = model.info.digest
    assert copy.deepcopy(model).info.digest == narrow_sam().info.digest == before
    with torch.no_grad():
        next(model.parameters()).add_(1)
    assert model.info.digest != before
    assert narrow_sam(seed=1).info.digest != before


def test_the_candidates_of_a_prompt(model: PromptableNetwork) -> None:
    features = model.encode(IMAGES)
    answers = model.decode(features, PROMPTS, [0, 1], candidates=True)
    plain = model.decode(features, PROMPTS, [0, 1])
    for row in range(4):
        np.testing.assert_array_equal(answers.logits(row), plain.logits(row))
        offered = answers.candidates(row)
        assert offered.masks.shape == (model.info.candidates, *IMAGES[row // 2].shape[:2])
        assert (np.diff(offered.scores) <= 0).all()
        best = int(np.argmax(answers.candidate_scores(row)))
        np.testing.assert_array_equal(offered.masks[0], answers.candidate(row, best) > 0)
        if model.info.candidates == 4:  # the method's own mask is the first of its candidates
            np.testing.assert_array_equal(answers.candidate(row, 0), answers.logits(row))
    assert plain.candidates(0).masks.shape[0] == 1


def test_features_are_decoded_by_their_own_model_alone() -> None:
    sam, other = narrow_sam(), vns()
    for one, two in ((sam, other), (other, sam), (sam, narrow_sam(seed=1))):
        with pytest.raises(UsageError, match=rf"of '{two.name}' \(\w+\), found those of '{one.name}'"):
            two.decode(one.encode(IMAGES), PROMPTS, [0, 1])
    twin = narrow_sam()
    np.testing.assert_array_equal(
        twin.decode(sam.encode(IMAGES), PROMPTS, [0, 1]).scores, sam.decode(sam.encode(IMAGES), PROMPTS, [0, 1]).scores
    )


def test_features_are_kept_in_a_file(model: PromptableNetwork, tmp_path: Path) -> None:
    features = model.encode(IMAGES)
    np.savez(tmp_path / "kept.npz", **features.arrays())
    with np.load(tmp_path / "kept.npz") as stored:
        back = ImageFeatures.from_arrays(dict(stored))
    assert (back.model, back.geometry, len(back)) == (model.info.digest, features.geometry, 2)
    assert back.nbytes == features.nbytes == sum(one.nbytes for one in (features.embedding, *features.mined))
    first, again = (model.decode(some, PROMPTS, [0, 1]) for some in (features, back))
    np.testing.assert_array_equal([first.logits(1), first.logits(0)], [again.logits(1), again.logits(0)])
    with pytest.raises(UsageError, match="none called 'geometry'"):
        ImageFeatures.from_arrays({"embedding": back.embedding})


def test_inference_carries_no_levels_and_training_does(model: PromptableNetwork) -> None:
    assert model.encode(IMAGES).levels == ()
    assert len(model.encode_pixels(torch.zeros(1, 3, 64, 64)).levels) == 4


def test_one_picture_of_several(model: PromptableNetwork) -> None:
    features = model.encode(IMAGES)
    second = features.select(1)
    assert (len(second), second.geometry, second.model) == (1, features.geometry[1:], features.model)
    alone = model.decode(second, PROMPTS[1:], [0])
    together = model.decode(features, PROMPTS, [0, 1])
    np.testing.assert_allclose(alone.logits(0), together.logits(2), atol=1e-5)


def test_inputs_of_several_sizes_do_not_touch_each_other() -> None:
    sam = SamModel(replace(NARROW, image_size=128, fit="tight")).eval()
    model = VnsSamModel.from_sam(sam, VnsSamConfig.for_sam(sam.config, inner_channels=8, head_channels=8)).eval()
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (*size, 3), dtype=np.uint8) for size in ((40, 64), (64, 30), (64, 64), (40, 64))]
    mask = Prompts(masks=rng.random((1, 64, 30)).astype(np.float32))
    asked, index = [*PROMPTS, mask, PROMPTS[0], PROMPTS[1]], [0, 1, 1, 3, 2]
    features = model.encode(images)
    assert [place.input for place in features.geometry] == [(96, 128), (128, 64), (128, 128), (96, 128)]
    assert features.embedding.shape[2:] == (8, 8)
    kept = ImageFeatures.from_arrays(features.arrays())
    for given in (features, kept):
        together, row = model.decode(given, asked, index, candidates=True), 0
        for prompts, image in zip(asked, index, strict=True):
            alone = model.decode(model.encode([images[image]]), [prompts], [0], candidates=True)
            for k in range(len(prompts)):
                assert together.logits(row).shape == images[image].shape[:2]
                np.testing.assert_allclose(together.logits(row), alone.logits(k), atol=1e-5)
                np.testing.assert_allclose(together.candidate(row, 2), alone.candidate(k, 2), atol=1e-5)
                edges, own = together.edges(row), alone.edges(k)
                assert edges is not None
                assert own is not None
                np.testing.assert_allclose(edges, own, atol=1e-5)
                row += 1
    assert features.over((96, 64)).embedding.shape[2:] == (6, 4)


def test_positions_that_are_bound_to_a_square_want_a_square() -> None:
    with pytest.raises(UsageError, match="cannot be 'tight'"):
        replace(vit_config("vit_b"), fit="tight")


@pytest.mark.parametrize(("height", "width"), [(48, 64), (300, 200), (20, 90)])
def test_tensors_and_arrays_come_back_alike(height: int, width: int) -> None:
    rng = np.random.default_rng(0)
    geometry: Geometry = fit(height, width, 64)
    maps = rng.standard_normal((3, 1, 16, 16)).astype(np.float32)
    tensor = maps_to_original(torch.from_numpy(maps), geometry)
    np.testing.assert_allclose(maps_to_original(maps, geometry), tensor.numpy(), atol=2e-5)
    masks = rng.random((2, height, width)).astype(np.float32)
    square = masks_to_model(torch.from_numpy(masks), geometry, (16, 16))
    np.testing.assert_allclose(masks_to_model(masks, geometry, (16, 16)), square.numpy(), atol=1e-5)


def test_a_row_at_any_size() -> None:
    maps = torch.linspace(-4, 4, 256).view(1, 1, 16, 16)
    answers = MapAnswers(maps, np.ones(1, np.float32), (Geometry(64, 64, 64, 64, 64, 64),), maps.clone())
    assert answers.logits(0).shape == (64, 64)
    assert answers.logits(0, (10, 20)).shape == (10, 20)
    direct = answers.logits(0, (32, 32), direct=True)
    np.testing.assert_allclose(direct, torch.nn.functional.interpolate(maps, (32, 32), mode="bilinear")[0, 0])
    edges = answers.edges(0, (10, 20))
    np.testing.assert_allclose(edges, 1 / (1 + np.exp(-answers.logits(0, (10, 20)))), atol=1e-6)
    assert answers.alpha(0) is None
