"""A model of blobs: a click gets the patch of one colour that it lies on, and half of it as another candidate."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from workshop import narrow_sam

import vns_sam.inference.automatic as automatic
from vns_sam.errors import PromptError, UsageError
from vns_sam.images.geometry import fit
from vns_sam.inference.automatic import AutomaticOptions, AutomaticSegmenter
from vns_sam.inference.everything import AutomaticPredictor
from vns_sam.types import Answers, ImageFeatures, ModelInfo, Prompts, Size


@dataclass
class BlobAnswers(Answers):
    scores: np.ndarray
    masks: list[list[np.ndarray]]
    trust: tuple[float, ...] = (0.9, 0.6)

    def logits(self, row: int, size: Size | None = None, *, direct: bool = False) -> np.ndarray:
        return self.candidate(row, 0, size)

    def candidate_scores(self, row: int) -> np.ndarray:
        return np.array(self.trust, np.float32)[: len(self.masks[row])]

    def candidate(self, row: int, number: int, size: Size | None = None) -> np.ndarray:
        mask = self.masks[row][number].astype(np.float32)
        if size is not None:
            mask = cv2.resize(mask, size[::-1], interpolation=cv2.INTER_LINEAR)
        return 10 * mask - 5


class BlobModel:
    def __init__(self, prompts: frozenset[str] = frozenset({"point", "box"})) -> None:
        self.info = ModelInfo("blobs", "blobs", prompts=prompts, candidates=2)  # type: ignore[arg-type]
        self.asked: list[int] = []

    def encode(self, images: Sequence[np.ndarray]) -> ImageFeatures:
        geometry = tuple(fit(*image.shape[:2], 64) for image in images)
        return ImageFeatures(np.zeros((len(images), 1, 4, 4)), (), geometry, pictures=tuple(images), owner=self.info)

    def decode(
        self,
        features: ImageFeatures,
        prompts: Sequence[Prompts] = (),
        image_index: Sequence[int] = (),
        *,
        candidates: bool = False,
        look_again: bool = False,
    ) -> BlobAnswers:
        self.asked.append(len(prompts))
        image = features.pictures[0]
        if not prompts:  # prompt-free: all that is not background
            return BlobAnswers(np.ones(1, np.float32), [[image.any(axis=2)]])
        masks = []
        for prompt in prompts:
            if prompt.points is not None:
                x, y = prompt.points[0, 0].round().astype(int)
            else:
                assert prompt.boxes is not None
                x, y = ((prompt.boxes[0, :2] + prompt.boxes[0, 2:]) / 2).astype(int)
            _, labels = cv2.connectedComponents((image == image[y, x]).all(axis=2).astype(np.uint8))
            whole = labels == labels[y, x]
            half = whole.copy()
            half[:, : np.flatnonzero(whole.any(axis=0))[0] + 3] = False
            masks.append([whole, half])
        return BlobAnswers(np.full(len(prompts), 0.9, np.float32), masks)


def picture(height: int = 60, width: int = 80) -> np.ndarray:
    """Two blobs on black."""
    image = np.zeros((height, width, 3), np.uint8)
    image[5:25, 10:30] = 200, 0, 0
    image[35:50, 50:70] = 0, 200, 0
    return image


OPTIONS = AutomaticOptions(points_per_side=8, largest=0.5)


def test_a_picture_is_taken_as_a_file_too(tmp_path: Path) -> None:
    Image.fromarray(picture()).save(tmp_path / "a.png")
    segmenter = AutomaticSegmenter(BlobModel(), OPTIONS)
    np.testing.assert_array_equal(segmenter(tmp_path / "a.png").masks, segmenter(picture()).masks)


def test_each_object_is_found_once() -> None:
    found = AutomaticSegmenter(BlobModel(), OPTIONS)(picture())
    assert sorted(region.box for region in found.regions) == [(10, 5, 30, 25), (50, 35, 70, 50)]
    assert found.masks.shape == (2, 60, 80)
    assert found.masks.sum(axis=(1, 2)).tolist() == [region.area for region in found.regions]
    assert found.scores.tolist() == pytest.approx([0.9, 0.9])


def test_a_predictor_of_everything_is_asked_nothing() -> None:
    predictor = AutomaticPredictor(BlobModel(), OPTIONS)
    with pytest.raises(UsageError, match="before an image was set"):
        predictor.predict()
    image = predictor.set_image(picture())
    found = predictor.predict()
    np.testing.assert_array_equal(found.boxes, [[10, 5, 30, 25], [50, 35, 70, 50]])
    np.testing.assert_array_equal(found.masks, predictor.predict_prompts(None).masks)
    assert found.image is image
    assert found.logits.dtype == np.float32
    np.testing.assert_array_equal(found.logits, np.where(found.masks, 1, -1))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(predictor.predict())).logits, found.logits)
    for given in ({"boxes": [[10, 5, 30, 25]]}, {"points": [[12, 12]]}, {"masks": picture()[..., 0] > 0}):
        with pytest.raises(PromptError, match="all objects are looked for, found a prompt"):
            predictor.predict(**given)
    with pytest.raises(PromptError, match="all objects are looked for, found a prompt"):
        predictor.predict_prompts(Prompts(boxes=np.float32([[10, 5, 30, 25]])))
    for ask in (predictor.predict, lambda **options: predictor.predict_prompts(None, **options)):
        with pytest.raises(UsageError, match="multimask=True"):
            ask(multimask=True)


def test_what_the_model_does_not_trust_is_left_out() -> None:
    found = AutomaticSegmenter(BlobModel(), AutomaticOptions(points_per_side=8, score=0.95))(picture())
    assert len(found) == 0
    assert found.masks.shape == (0, 60, 80)
    assert found.boxes.shape == (0, 4)


def test_background_is_no_object() -> None:
    everything = AutomaticOptions(points_per_side=8, largest=1.0)
    found = AutomaticSegmenter(BlobModel(), everything)(picture())
    assert len(found) == 3
    assert max(region.area for region in found.regions) == 60 * 80 - 20 * 20 - 15 * 20


def test_a_model_is_asked_in_blocks_of_one_size() -> None:
    model = BlobModel()
    AutomaticSegmenter(model, AutomaticOptions(points_per_side=5, boxes=False))(picture())
    assert set(model.asked) == {automatic.BLOCK}
    assert sum(model.asked) == 32  # 5 x 4 clicks, the last block filled up


class HalvesByClicks(BlobModel):
    """A click gets the upper ten rows of its blob, a box the whole, which is trusted as told."""

    def __init__(self, trust: float) -> None:
        super().__init__()
        self.trust = trust

    def decode(self, features: ImageFeatures, prompts: Sequence[Prompts] = (), *_: object, **__: object) -> BlobAnswers:
        wholes = [whole for whole, _ in super().decode(features, prompts).masks]
        trust = (0.9 if prompts[0].boxes is None else self.trust,)
        if prompts[0].boxes is None:
            for whole in wholes:
                whole[np.flatnonzero(whole.any(axis=1))[0] + 10 :] = False
        return BlobAnswers(np.full(len(prompts), trust[0], np.float32), [[whole] for whole in wholes], trust)


@pytest.mark.parametrize(
    ("trust", "boxes", "small", "found"),
    [
        (0.95, True, 1.0, {20: 0.95, 15: 0.95}),  # of small objects the surer answer stays
        (0.89, True, 1.0, {10: 0.9}),
        (0.95, False, 1.0, {10: 0.9}),
        (0.89, True, 0.0, {20: 0.89, 15: 0.89, 10: 0.9}),  # of large ones both
    ],
)
def test_objects_are_asked_about_with_their_box(
    trust: float, boxes: bool, small: float, found: dict[int, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(automatic, "SMALL", small)
    options = AutomaticOptions(points_per_side=8, largest=0.1, boxes=boxes)
    regions = AutomaticSegmenter(HalvesByClicks(trust), options)(picture()).regions
    assert {region.window.shape[0]: region.score for region in regions} == pytest.approx(found)
    assert len(regions) == (4 if small == 0 else 2)


def test_large_pictures_are_looked_at_in_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.zeros((64, 256, 3), np.uint8)
    image[10:14, 200:204] = 0, 0, 250  # between the clicks of the whole picture
    options = AutomaticOptions(points_per_side=20, largest=0.5, tile=64, least_area=4)
    without = AutomaticSegmenter(BlobModel(), AutomaticOptions(points_per_side=20, largest=0.5, tile=0, least_area=4))
    assert [r.box for r in without(image).regions] == []
    assert [r.box for r in AutomaticSegmenter(BlobModel(), options)(image).regions] == [(200, 10, 204, 14)]


def test_what_a_tile_cuts_is_left_to_the_whole() -> None:
    image = np.zeros((64, 256, 3), np.uint8)
    image[20:40, 20:240] = 0, 0, 250
    found = AutomaticSegmenter(BlobModel(), AutomaticOptions(points_per_side=12, largest=0.5, tile=64))(image)
    assert [region.box for region in found.regions] == [(20, 20, 240, 40)]


def views(height: int, width: int, tile: int = 1024) -> list[tuple[int, ...]]:
    found = AutomaticSegmenter(BlobModel(), AutomaticOptions(tile=tile))._views(height, width)
    return [view.shape for view in found]


def test_huge_pictures_are_looked_at_in_tiles_of_several_sides() -> None:
    assert views(1000, 1500) == [(1000, 1500)]
    assert views(2100, 4096) == [(1024, 1024)] * 15 + [(2100, 4096)]
    assert [views(6000, 6000).count(shape) for shape in ((1024, 1024), (2048, 2048), (6000, 6000))] == [64, 16, 1]
    line = views(2048, 20000)
    counted = [line.count((min(side, 2048), side)) for side in (1024, 2048, 4096, 8192, 20000)]
    assert (len(line), counted) == (102, [78, 13, 7, 3, 1])
    assert views(6000, 6000, tile=0) == [(6000, 6000)]


def test_what_each_tile_cuts_is_found_in_a_huge_picture() -> None:
    image = np.zeros((64, 512, 3), np.uint8)
    image[20:44, 37:77] = 0, 0, 250  # across the rims of two tiles, and between the clicks of the whole
    options = AutomaticOptions(points_per_side=8, largest=0.5, tile=64)
    assert [region.box for region in AutomaticSegmenter(BlobModel(), options)(image).regions] == [(37, 20, 77, 44)]


def test_of_equal_answers_the_finest_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(automatic, "LARGEST_SIDE", 64)
    image = np.zeros((64, 256, 3), np.uint8)
    image[21:34, 209:222] = 0, 0, 250
    options = AutomaticOptions(points_per_side=16, largest=0.5, tile=64, stability=0.0, box_iou=0.5, boxes=False)
    found = AutomaticSegmenter(BlobModel(), options)(image)
    assert [region.box for region in found.regions] == [(209, 21, 222, 34)]


def test_masks_of_huge_pictures_are_enlarged_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(automatic, "LARGEST_SIDE", 40)
    found = AutomaticSegmenter(BlobModel(), OPTIONS)(picture())
    boxes = sorted(region.box for region in found.regions)
    assert np.abs(np.array(boxes) - [(10, 5, 30, 25), (50, 35, 70, 50)]).max() <= 2


def test_what_hardly_stands_out_comes_first() -> None:
    image = np.full((60, 80, 3), 100, np.uint8)
    image[5:25, 10:30] = 255, 0, 0
    image[35:50, 50:70] = 104, 100, 100
    options = AutomaticOptions(points_per_side=8, largest=0.5, rank="vns")
    found = AutomaticSegmenter(BlobModel(), options)(image)
    assert [region.box for region in found.regions] == [(50, 35, 70, 50), (10, 5, 30, 25)]


def test_parts_of_what_a_prompt_free_model_finds_are_asked_about() -> None:
    image = np.zeros((60, 80, 3), np.uint8)
    image[31:36, 41:46] = 9, 9, 9  # no click of a 2 x 2 grid lies on it
    options = AutomaticOptions(points_per_side=2, largest=0.5)
    assert len(AutomaticSegmenter(BlobModel(), options)(image)) == 0
    segmenter = AutomaticSegmenter(BlobModel(), options, proposals=BlobModel(frozenset()))
    assert [region.box for region in segmenter(image).regions] == [(41, 31, 46, 36)]


def test_models_that_cannot_do_it_are_refused() -> None:
    with pytest.raises(UsageError, match="takes no clicks"):
        AutomaticSegmenter(BlobModel(frozenset()))
    with pytest.raises(UsageError, match="takes prompts"):
        AutomaticSegmenter(BlobModel(), proposals=BlobModel())


@pytest.mark.parametrize("values", [{"points_per_side": 0}, {"score": 1.5}, {"shared": 1.0}, {"tile": -1}])
def test_options_out_of_range(values: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        AutomaticOptions(**values)  # type: ignore[arg-type]


def test_the_limits_are_the_models_own_unless_told() -> None:
    model = BlobModel()
    assert AutomaticSegmenter(model).options.score == ModelInfo.least_score == 0.88
    model.info = ModelInfo("blobs", "blobs", candidates=2, least_score=0.95, least_stability=0.5)
    few = AutomaticOptions(points_per_side=8, largest=0.5)
    segmenter = AutomaticSegmenter(model, few)
    assert (segmenter.options.score, segmenter.options.stability) == (0.95, 0.5)
    assert len(segmenter(picture())) == 0
    told = AutomaticSegmenter(
        model, AutomaticOptions(points_per_side=8, largest=0.5, score=0.0, stability=0.0, box_iou=0.7)
    )
    assert (told.options.score, told.options.stability) == (0.0, 0.0)
    assert len(told(picture())) == 2


def test_tiny_models_and_what_stands_on_them_have_limits_of_their_own() -> None:
    from toy import toy_sam

    from vns_sam.sam.config import TINY_TRUST
    from vns_sam.sam.model import SamModel
    from vns_sam.vns.config import VnsSamConfig
    from vns_sam.vns.model import VnsSamModel

    tiny = narrow_sam()
    above = VnsSamModel.from_sam(narrow_sam(), VnsSamConfig.for_sam(tiny.config, inner_channels=32, head_channels=8))
    for model in (tiny, above):
        assert {name: getattr(model.info, name) for name in TINY_TRUST} == TINY_TRUST
    assert (SamModel(toy_sam()).info.least_score, SamModel(toy_sam()).info.least_stability) == (0.88, 0.95)


def test_masks_do_not_depend_on_how_many_prompts_are_decoded_at_once() -> None:
    model = narrow_sam()
    image = np.random.default_rng(3).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    options = AutomaticOptions(points_per_side=6, score=0.0, stability=0.0, largest=1.0, least_area=1)
    found = []
    for chunk in (1, 7, 64):
        model.chunk = chunk
        regions = AutomaticSegmenter(model, options)(image).regions
        found.append([(region.window, region.mask.tobytes()) for region in regions])
    assert found[0] == found[1] == found[2]
    assert found[0]
