"""The two stages together: any first stage, what the second sees and answers, and what is odd."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fakes import FakeModel
from workshop import narrow_sam

from vns_sam.dis.coarse import coarse_answers
from vns_sam.dis.config import DisSamConfig
from vns_sam.dis.isnet import IsNet
from vns_sam.dis.model import DisSamModel
from vns_sam.errors import CheckpointError, PromptError, UsageError
from vns_sam.images.windows import Window
from vns_sam.types import ImageFeatures, PromptableModel, Prompts

CONFIG = DisSamConfig("fake", width=0.1, image_size=64, stretch=False)


class CopyMask(IsNet):
    """Answers with the mask it is given, and remembers what it saw."""

    def __init__(self) -> None:
        super().__init__(5, 0.1)
        self.seen: list[torch.Tensor] = []

    def mask_logits(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append(x)
        return 20 * x[:, 3:4] - 10


@pytest.fixture
def model() -> DisSamModel:
    return DisSamModel(CONFIG, FakeModel(), CopyMask()).eval()


def picture(height: int = 96, width: int = 128) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def boxes(*rows: Sequence[float]) -> Prompts:
    return Prompts(boxes=np.array(rows, np.float32))


def test_several_objects_of_several_pictures_in_one_call(model: DisSamModel) -> None:
    images = [picture(), picture(60, 40)]
    features = model.encode(images)
    prompts = [boxes([16, 32, 64, 80], [0, 0, 32, 32]), boxes([8, 8, 24, 40])]
    output = model.decode(features, prompts, [0, 1])
    assert model.first.encoded == [(96, 128, 3), (60, 40, 3)]
    assert [m.alpha.shape for m in output.mattes] == [(96, 128), (96, 128), (60, 40)]
    expected = np.zeros((96, 128), bool)
    expected[32:80, 16:64] = True
    assert ((output.mattes[0].alpha > 0.5) != expected).mean() < 0.01
    alone = model.decode(features, [boxes([8, 8, 24, 40])], [1])
    np.testing.assert_array_equal(alone.mattes[0].alpha, output.mattes[2].alpha)
    np.testing.assert_array_equal(output.logits(0) > 0, output.mattes[0].alpha > 0.5)
    assert (output.logits(0, (48, 64)) > 0).sum() == pytest.approx(24 * 24, rel=0.1)


def test_the_network_sees_five_channels(model: DisSamModel) -> None:
    image = picture()
    model.decode(model.encode([image]), [boxes([16, 32, 64, 80])], [0])
    (seen,) = model.network.seen
    assert seen.shape == (1, 5, 64, 64)
    assert (seen[:, :3].min() >= -0.5, seen[:, :3].max() <= 0.5) == (True, True)
    assert seen[0, 3].mean().item() == pytest.approx(48 * 48 / (96 * 128), rel=0.05)
    assert set(seen[0, 4].unique().tolist()) == {0.0, 1.0}
    assert (seen[0, 4] - seen[0, 3]).abs().max() <= 0.5


@pytest.mark.parametrize(("field", "channel"), [("mask_channel", 3), ("box_channel", 4)])
def test_a_channel_that_is_left_out_is_zero(model: DisSamModel, field: str, channel: int) -> None:
    model.config = replace(CONFIG, **{field: False})
    model.refine(picture(), np.ones((96, 128), bool))
    assert model.network.seen[0][0, channel].abs().max() == 0
    assert model.network.seen[0][0, 7 - channel].max() == 1


def test_without_a_box_the_masks_own_is_drawn(model: DisSamModel) -> None:
    mask = np.zeros((96, 128), bool)
    mask[24:48, 32:96] = True
    model.refine(picture(), mask)
    drawn = model.network.seen[0][0, 4]
    assert torch.nonzero(drawn.any(1))[:, 0].tolist() == list(range(16, 32))
    assert torch.nonzero(drawn.any(0))[:, 0].tolist() == list(range(16, 48))


def test_nothing_found_and_no_box_is_an_empty_answer(model: DisSamModel) -> None:
    matte = model.refine(picture(), np.zeros((96, 128), bool))
    assert matte.alpha.shape == (96, 128)
    assert (matte.alpha.max(), len(model.network.seen)) == (0, 0)
    assert (matte.logits < 0).all()


def test_nothing_found_in_a_box_leaves_the_box(model: DisSamModel) -> None:
    model.refine(picture(), np.zeros((96, 128), bool), np.array([10, 10, 60, 50]))
    assert (model.network.seen[0][0, 3].max(), model.network.seen[0][0, 4].max()) == (0, 1)


def test_a_mask_of_another_size_is_refused(model: DisSamModel) -> None:
    with pytest.raises(PromptError, match=r"128 x 96 pixels as its picture, found \(50, 40\)"):
        model.refine(picture(), np.ones((40, 50), bool))


def test_features_of_another_model_are_refused(model: DisSamModel) -> None:
    features = model.first.encode([picture()])
    with pytest.raises(UsageError, match=r"expected features of 'dis-sam' \(\w+\), found those of 'fake'"):
        model.decode(features, [boxes([0, 0, 9, 9])], [0])


@pytest.mark.parametrize("box", [[0, 0, 1, 1], [127, 95, 128, 96], [60.2, 40.1, 60.4, 40.3]])
@pytest.mark.parametrize("margin", [None, 0.5])
def test_a_box_of_one_pixel(model: DisSamModel, box: list[float], margin: float | None) -> None:
    model.config = replace(CONFIG, margin=margin)
    output = model.decode(model.encode([picture()]), [boxes(box)], [0])
    assert np.isfinite(output.mattes[0].alpha).all()
    assert model.network.seen[0][0, 4].sum() >= 1


def test_a_huge_picture_is_worked_on_reduced(model: DisSamModel) -> None:
    image = np.zeros((500, 10_000, 3), np.uint8)
    features = model.encode([image])
    output = model.decode(features, [boxes([2000, 100, 6000, 400])], [0])
    alpha = output.mattes[0].alpha
    assert (alpha.shape, alpha.dtype) == ((500, 10_000), np.float32)
    assert alpha[250, 4000] > 0.9
    assert alpha[250, 8000] < 0.1
    whole = model.refine(image, np.ones((500, 10_000), bool))
    assert whole.alpha.min() > 0.9


def test_a_second_look_at_a_huge_picture_is_at_its_own_resolution(model: DisSamModel) -> None:
    image = np.zeros((600, 9000, 3), np.uint8)
    image[300:303, 1000:8000] = 255  # three pixels thin: one and a half where the picture is reduced to 4096
    seen: list[tuple[int, int]] = []

    def look(picture: np.ndarray, mask: np.ndarray, box: np.ndarray, window: Window) -> np.ndarray:
        seen.append(window.shape)
        part = picture[window.index][..., 0].astype(np.float32) / 255
        return part if max(window.shape) <= 1024 else 0.4 * part

    model.look = look  # type: ignore[method-assign]
    coarse = np.zeros((600, 9000), bool)
    coarse[298:305, 900:8100] = True
    twice = model.refine(image, coarse, look_again=True)
    assert seen[0] == (600, 9000)
    assert {max(shape) for shape in seen[1:]} <= {1024}
    assert 8 < len(seen) <= 1 + 16 * 9
    assert ((twice.alpha > 0.5) != (image[..., 0] > 0)).sum() == 0
    features = model.encode([image])
    answers = model.decode(features, [boxes([900, 298, 8100, 305])], [0], look_again=True)
    assert answers.alpha(0).shape == (600, 9000)


def test_margin_shows_the_object_larger(model: DisSamModel) -> None:
    model.config = replace(CONFIG, margin=0.5)
    mask = np.zeros((960, 1280), bool)
    mask[100:140, 200:220] = True
    matte = model.refine(picture(960, 1280), mask, np.array([200, 100, 220, 140]))
    assert model.network.seen[0][0, 3].mean() > 0.1
    assert ((matte.alpha > 0.5) != mask).sum() < 40
    assert matte.alpha[400:].max() == 0


def test_a_second_look_sees_thin_things(model: DisSamModel) -> None:
    class Bright(CopyMask):
        def mask_logits(self, x: torch.Tensor) -> torch.Tensor:
            self.seen.append(x)
            return 40 * x[:, :1]

    image = np.zeros((512, 512, 3), np.uint8)
    image[200:300, 200:300] = 255
    image[100:200, 248:252] = 255
    truth = image[..., 0] > 0
    model.network = Bright()
    once = model.refine(image, truth)
    twice = model.refine(image, truth, look_again=True)
    assert len(model.network.seen) > 2
    wrong = [((m.alpha > 0.5) != truth).mean() for m in (once, twice)]
    assert wrong[1] < 0.5 * wrong[0]


def test_a_second_look_takes_up_the_mask_of_an_unsure_first_one(model: DisSamModel) -> None:
    model.config = replace(CONFIG, cut="otsu")
    unsure = CopyMask()
    unsure.mask_logits = lambda x: CopyMask.mask_logits(unsure, x).clamp(max=-0.7)  # alpha is a third at most
    model.network = unsure
    mask = np.zeros((512, 512), bool)
    mask[100:400, 150:350] = True
    matte = model.refine(picture(512, 512), mask, look_again=True)
    assert min(float(seen[:, 3].max()) for seen in unsure.seen) == 1
    assert ((matte.logits > 0) != mask).mean() < 0.02


def test_output_is_stretched_if_asked(model: DisSamModel) -> None:
    model.network.mask_logits = lambda x: x[:, 3:4] - 3.0
    mask = np.zeros((96, 128), bool)
    mask[24:72, 32:96] = True
    assert model.refine(picture(), mask).alpha.max() < 0.2
    model.config = replace(CONFIG, stretch=True, cut="otsu")
    matte = model.refine(picture(), mask)
    assert (matte.alpha.min(), matte.alpha.max()) == (0, 1)
    assert ((matte.alpha > matte.threshold) == (matte.logits > 0)).all()
    assert ((matte.logits > 0) != mask).mean() < 0.02


def test_the_choice_of_the_coarse_mask() -> None:
    sam = narrow_sam()
    features = sam.encode([picture(), picture(60, 40)])
    prompts = [boxes([16, 32, 64, 80], [0, 0, 32, 32]), Prompts(points=np.ones((1, 1, 2)), labels=np.ones((1, 1)))]
    given = sam.decode(features, prompts, [0, 1], candidates=True)
    scores = np.column_stack([given.scores, *(np.stack([given.candidate_scores(row) for row in range(3)]).T)])
    assert scores.shape == (3, 4)
    for choice, picked in (("single", [0, 0, 0]), ("first", [1, 1, 1]), ("best-iou", scores.argmax(1).tolist())):
        found = coarse_answers(sam, features, prompts, [0, 1], choice)
        for row, number in enumerate(picked):
            expected = given.candidate(row, number - 1) if number else given.logits(row)
            np.testing.assert_array_equal(found.logits(row), expected)
            assert found.scores[row] == scores[row, number]


@pytest.mark.parametrize("choice", ["first", "single", "best-iou"])
def test_a_first_stage_with_one_mask_has_no_choice(choice: Any) -> None:
    fake = FakeModel()
    features: ImageFeatures = fake.encode([picture()])
    found = coarse_answers(fake, features, [boxes([16, 32, 64, 80])], [0], choice)
    expected = fake.decode(features, [boxes([16, 32, 64, 80])], [0])
    np.testing.assert_array_equal(found.logits(0), expected.logits(0))


@pytest.mark.parametrize("residual", [False, True])
def test_saved_and_loaded(residual: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = DisSamModel(replace(CONFIG, cut="otsu", residual=residual), narrow_sam()).eval()
    model.save_pretrained(tmp_path)
    again = DisSamModel.from_pretrained(tmp_path, narrow_sam())
    assert again.config == model.config
    assert not again.training
    prompts = [boxes([16, 32, 64, 80])]
    outputs = [m.decode(m.encode([picture()]), prompts, [0]) for m in (model, again)]
    np.testing.assert_allclose(outputs[0].logits(0), outputs[1].logits(0), rtol=1e-4, atol=1e-5)


def test_after_another_first_stage(model: DisSamModel) -> None:
    assert isinstance(model, PromptableModel)
    other = model.with_first(narrow_sam())
    assert (other.name, other.config.base) == ("narrow+dis-sam", "narrow")
    assert other.network is model.network


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "must hold 'base'"),
        ({"base": "a", "widht": 1}, "widht"),
        ({"base": "a", "cut": "third"}, "cut must be"),
        ({"base": "a", "residual": True, "mask_channel": False}, "expected a mask channel"),
    ],
)
def test_a_config_that_is_wrong(values: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        DisSamConfig.from_dict({"model_type": "dis-sam", **values})


def test_a_field_that_a_user_mistypes() -> None:
    with pytest.raises(UsageError, match="no field 'marign'") as caught:
        DisSamConfig.make(base="a", marign=1)
    assert "margin" in caught.value.hint


class Deny(IsNet):
    """Gives the object's pixels a quarter of certainty, whatever it sees."""

    def __init__(self) -> None:
        super().__init__(5, 0.1)

    def mask_logits(self, x: torch.Tensor) -> torch.Tensor:
        return torch.full_like(x[:, :1], float(np.log(0.25 / 0.75)))


@pytest.mark.parametrize(("guard", "kept"), [(True, True), (False, False)])
def test_a_mask_that_is_denied_stays_where_a_guard_is_set(guard: bool, kept: bool) -> None:
    model = DisSamModel(replace(CONFIG, guard=guard), FakeModel(), Deny()).eval()
    mask = np.zeros((96, 128), bool)
    mask[32:80, 16:64] = True
    matte = model.refine(picture(), mask, np.array([16, 32, 64, 80], np.float32))
    assert np.array_equal(matte.logits > 0, mask) is kept
    assert matte.alpha.max() == pytest.approx(1.0 if kept else 0.25, abs=1e-6)


def test_a_guard_judges_the_answer_as_it_was_before_it_is_stretched(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def remember(image: np.ndarray, coarse: np.ndarray, alpha: np.ndarray, found: np.ndarray) -> bool:
        seen.append((alpha, found))
        return True

    monkeypatch.setattr("vns_sam.dis.refining.is_believed", remember)
    model = DisSamModel(replace(CONFIG, stretch=True, guard=True), FakeModel(), CopyMask()).eval()
    model.network.mask_logits = lambda x: 10 * x[:, 3:4] - 11.1  # nowhere surer than a quarter
    mask = np.zeros((96, 128), bool)
    mask[32:80, 16:64] = True
    matte = model.refine(picture(), mask)
    alpha, found = seen[0]
    assert alpha.max() == pytest.approx(0.25, abs=0.01)
    assert matte.alpha.max() == 1
    assert np.array_equal(found, matte.alpha > 0.5)


def test_a_guard_does_not_touch_what_is_confirmed(model: DisSamModel) -> None:
    guarded = DisSamModel(replace(CONFIG, guard=True), FakeModel(), CopyMask()).eval()
    mask = np.ones((96, 128), bool)
    assert np.array_equal(guarded.refine(picture(), mask).alpha, model.refine(picture(), mask).alpha)


@pytest.mark.parametrize(("stored", "guard"), [(0.8, True), (None, False), (True, True), (False, False)])
def test_a_guard_of_an_older_file_is_read(stored: float | bool | None, guard: bool) -> None:
    assert DisSamConfig.from_dict({"model_type": "dis-sam", "base": "a", "guard": stored}).guard is guard
