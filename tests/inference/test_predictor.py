from __future__ import annotations

import copy
import pickle
from pathlib import Path

import numpy as np
import pytest
from backends import Backend
from fakes import FakeModel
from PIL import Image

from vns_sam.errors import DataError, PromptError, UsageError
from vns_sam.formats.registry import FORMATS, encode, plan_outputs
from vns_sam.formats.result import Result, outline_ious
from vns_sam.images.windows import mask_boxes
from vns_sam.inference import answers
from vns_sam.inference.predictor import Predictor
from vns_sam.prompts.validate import make_prompts
from vns_sam.sam.answers import MapAnswers
from vns_sam.types import PromptableModel, PromptKind, Prompts, SecondLook

IMAGE = np.zeros((96, 128, 3), np.uint8)


def predictor(**options: bool) -> Predictor:
    made = Predictor(FakeModel(**options))
    made.set_image(IMAGE)
    return made


def test_the_fake_is_a_promptable_model() -> None:
    assert isinstance(FakeModel(), PromptableModel)


def test_rows_answer_their_prompts_at_the_original_size() -> None:
    result = predictor().predict(boxes=[[16, 32, 64, 80], [64, 0, 128, 48]])
    assert result.masks.shape == (2, 96, 128)
    assert result.masks.dtype == bool
    assert result.logits.dtype == np.float32
    np.testing.assert_array_equal(result.boxes, [[16, 32, 64, 80], [64, 0, 128, 48]])
    np.testing.assert_array_equal(result.masks, result.logits > 0)
    np.testing.assert_allclose(result.scores, [0.9, 0.8])
    assert result.edges is None


def test_ragged_points_boxes_with_points_and_masks() -> None:
    one = predictor()
    points = one.predict(points=[[[20, 20]], [[100, 60], [5, 5]]], labels=[[1], [1, 0]])
    assert points.masks[0, 20, 20]
    assert points.masks[1, 60, 100]
    assert not points.masks[1, 5, 5]
    both = one.predict(boxes=[[16, 32, 64, 80]], points=[[[20, 40]]])
    np.testing.assert_array_equal(both.boxes, [[16, 32, 64, 80]])
    mask = np.zeros((1, 96, 128), bool)
    mask[0, 32:64, 32:96] = True
    again = one.predict(masks=mask)
    assert (again.masks == mask).mean() > 0.99


def test_edges_are_probabilities_at_full_size() -> None:
    result = predictor(edges=True).predict(boxes=[[k, 0, 64 + k, 90] for k in range(7)])
    assert result.edges is not None
    assert result.edges.shape == (7, 96, 128)
    np.testing.assert_allclose(result.edges, 1 / (1 + np.exp(-result.logits)), atol=1e-6)


def test_one_encoding_serves_many_prompts_and_one_pixel_is_enough() -> None:
    one = Predictor(FakeModel())
    np.testing.assert_array_equal(one.set_image(Image.new("L", (1, 1), 9)), [[[9, 9, 9]]])
    for _ in range(3):
        assert one.predict(boxes=[[0, 0, 1, 1]]).masks.all()
    assert one.model.encoded == [(1, 1, 3)]  # type: ignore[attr-defined]


def test_misuse_is_told() -> None:
    one = Predictor(FakeModel())
    with pytest.raises(UsageError, match="before an image"):
        one.predict(boxes=[[0, 0, 1, 1]])
    one.set_image(IMAGE)
    with pytest.raises(DataError, match="no image at"):
        one.set_image("absent.png")
    assert one.image is not None
    with pytest.raises(PromptError, match="no prompt"):
        one.predict()
    with pytest.raises(PromptError, match="reversed"):
        one.predict(boxes=[[9, 9, 1, 1]])


def test_boxes_of_masks() -> None:
    masks = np.zeros((2, 5, 6), bool)
    masks[0, 1:3, 2:6] = True
    np.testing.assert_array_equal(mask_boxes(masks), [[2, 1, 6, 3], [0, 0, 0, 0]])


def test_a_frame_may_be_filled_with_the_next_picture_before_it_is_asked_about() -> None:
    frame = bright_square()
    one = Predictor(Backend(), second_look="on")
    pixels = one.set_image(frame)
    before = one.predict(boxes=[[20, 36, 34, 50]])
    frame[:] = 200
    after = one.predict(boxes=[[20, 36, 34, 50]])
    np.testing.assert_array_equal(after.logits, before.logits)
    assert after.image is pixels
    np.testing.assert_array_equal(pixels, bright_square())


def test_a_call_answers_about_the_picture_in_which_its_prompts_were_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Predictor(Backend(), second_look="off")
    one.set_image(bright_square())

    def checked(*size: int, **given: object) -> Prompts:
        one.set_image(np.zeros((10, 10, 3), np.uint8))  # as another thread may
        return make_prompts(*size, **given)

    monkeypatch.setattr("vns_sam.inference.predictor.make_prompts", checked)
    found = one.predict(boxes=[[16, 32, 64, 80]])
    assert found.masks.shape == (1, 96, 128)
    assert found.masks[0].sum() == pytest.approx(48 * 48, rel=0.1)
    np.testing.assert_array_equal(found.image, bright_square())


def bright_square() -> np.ndarray:
    """A picture of a green square."""
    image = IMAGE.copy()
    image[32:80, 16:64, 1] = 200
    return image


def bright(prompts: frozenset[PromptKind]) -> Predictor:
    """A predictor of what is green, with a picture of a green square."""
    one = Predictor(Backend(prompts=prompts), second_look="off")
    one.set_image(bright_square())
    return one


def test_a_model_without_prompts_is_asked_nothing_and_takes_none() -> None:
    one = bright(frozenset())
    assert one.predict().masks[0].sum() == pytest.approx(48 * 48, rel=0.1)
    with pytest.raises(PromptError, match="'backend' takes no prompt, found a box"):
        one.predict(boxes=[[16, 32, 64, 80]])


def test_a_model_with_prompts_is_asked_something_that_it_takes() -> None:
    one = bright(frozenset({"box"}))
    with pytest.raises(PromptError):
        one.predict()
    with pytest.raises(PromptError, match="'backend' takes box, found a point"):
        one.predict(points=[[[3, 3]]])
    assert len(one.predict(boxes=[[16, 32, 64, 80]])) == 1


def test_the_class_of_a_prompt_is_that_of_its_mask_and_the_picture_goes_along(tmp_path: Path) -> None:
    Image.fromarray(IMAGE).save(tmp_path / "frog.png")
    one = Predictor(FakeModel(), second_look="off")
    one.set_image(tmp_path / "frog.png")
    prompts = Prompts(boxes=np.array([[16, 32, 64, 80]], np.float32), classes=("owl",))
    found = one.predict_prompts(prompts)
    assert (found.classes, found.name, found.candidates) == (("owl",), "frog.png", None)
    assert found.image is one.image
    found = one.predict_prompts(prompts, multimask=True)
    assert found.candidates is not None
    assert len(found.candidates) == 1
    assert one.set_image(IMAGE) is one.image
    assert one.predict_prompts(prompts).name == ""


@pytest.mark.parametrize("second_look", ["off", "on"])
def test_a_large_prediction_is_the_same_and_makes_its_floats_when_asked(
    second_look: SecondLook, monkeypatch: pytest.MonkeyPatch
) -> None:
    boxes = [[16, 32, 64, 80], [64, 0, 128, 48], [2, 2, 8, 8]]
    plain = Predictor(FakeModel(edges=True), second_look=second_look)
    plain.set_image(IMAGE)
    expected = plain.predict(boxes=boxes)
    monkeypatch.setattr(answers, "PIXELS_KEPT", 0)
    found = plain.predict(boxes=boxes)
    assert repr(found) == f"LargePrediction(3 masks of 128 x 96 pixels, scores={expected.scores})"
    assert not {"masks", "logits", "edges"} & vars(found).keys()
    np.testing.assert_array_equal(found.masks, expected.masks)
    np.testing.assert_array_equal(found.boxes, expected.boxes)
    np.testing.assert_array_equal(found.scores, expected.scores)
    assert found.alpha is None
    packed = pickle.dumps(found)
    np.testing.assert_array_equal(copy.deepcopy(found).logits, expected.logits)
    np.testing.assert_array_equal(found.logits, expected.logits)
    np.testing.assert_array_equal(found.edges, expected.edges)
    for back in (pickle.loads(packed), pickle.loads(pickle.dumps(pickle.loads(packed)))):
        np.testing.assert_array_equal(back.masks, expected.masks)
        np.testing.assert_array_equal(back.boxes, expected.boxes)
        np.testing.assert_array_equal(back.image, IMAGE)
        assert [piece.area for piece in back.pieces] == [mask.sum() for mask in expected.masks]
        with pytest.raises(UsageError, match=r"made from the model's features, which are not pickled"):
            _ = back.logits
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(found)).logits, expected.logits)  # they were made


def test_a_large_prediction_is_written_as_a_small_one_and_never_holds_its_masks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    predictor = Predictor(FakeModel(edges=True), second_look="off")
    predictor.set_image(IMAGE)
    boxes = [[16, 32, 64, 80], [10, 10, 13, 13], [0, 0, IMAGE.shape[1], IMAGE.shape[0]]]
    small = predictor.predict(boxes=boxes)
    monkeypatch.setattr(answers, "PIXELS_KEPT", 0)
    large = predictor.predict(boxes=boxes)
    kinds = [kind for kind in FORMATS if kind not in ("alpha", "candidates", "npz")]
    written = []
    for found in (small, large):
        plan = plan_outputs("frog.jpg", kinds, len(boxes))
        written.append(encode(Result("frog.jpg", found, pixels=IMAGE), plan))
        assert outline_ious(Result("frog.jpg", found, pixels=IMAGE, simplify=2.0))[0] > 0.9
    assert written[0] == written[1]
    assert large._repr_png_() == small._repr_png_()
    assert "masks" not in vars(large)


def test_the_masks_of_a_large_prediction_need_no_map_at_full_size(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Predictor(FakeModel(edges=True), second_look="off")
    one.set_image(IMAGE)
    monkeypatch.setattr(answers, "PIXELS_KEPT", 0)
    monkeypatch.setattr(MapAnswers, "logits", lambda *_, **__: pytest.fail("logits were made"))
    monkeypatch.setattr(MapAnswers, "edges", lambda *_, **__: pytest.fail("edges were made"))
    assert one.predict(boxes=[[16, 32, 64, 80]]).masks[0, 40, 20]
