"""What has the protocol goes everywhere: a model without a network, without torch, without a class of the package."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from backends import SIDE, Backend
from fakes import FakeModel
from jobs import do
from workshop import write_disks

from vns_sam.data.sparse import rasterise
from vns_sam.errors import PromptError, UsageError
from vns_sam.evaluation.suite import Measure, make_suite
from vns_sam.inference.folder import FolderRun, SegmentJob
from vns_sam.inference.load import refine_with
from vns_sam.inference.predictor import Predictor
from vns_sam.labelling.labeller import LabelSettings, label_picture
from vns_sam.metrics.iou import iou
from vns_sam.prompts.validate import make_prompts
from vns_sam.types import ModelInfo, PromptableModel


def disk() -> tuple[np.ndarray, np.ndarray]:
    """A picture (300, 400, 3) with a small bright disk, and the disk."""
    mask = cv2.circle(np.zeros((300, 400), np.uint8), (101, 203), 17, 1, -1).astype(bool)
    return np.where(mask[..., None], np.uint8(200), np.uint8(60)).repeat(3, axis=2), mask


def test_it_is_a_model() -> None:
    assert isinstance(Backend(), PromptableModel)


def test_it_predicts_and_looks_again_at_what_is_small() -> None:
    image, mask = disk()
    found = {}
    for look in ("off", "auto"):
        model = Backend()
        predictor = Predictor(model, second_look=look)
        predictor.set_image(image)
        found[look] = predictor.predict(boxes=[[80, 180, 125, 225]]).masks[0]
        assert len(model.encoded) == (1 if look == "off" else 2)
    assert iou(found["auto"], mask) > max(0.95, iou(found["off"], mask))


def test_its_candidates_come_best_first() -> None:
    image, mask = disk()
    predictor = Predictor(Backend())
    predictor.set_image(image)
    result = predictor.predict(boxes=[[80, 180, 125, 225], [0, 0, 400, 300]], multimask=True)
    assert result.candidates is not None
    assert [offered.scores.tolist() for offered in result.candidates] == [pytest.approx([0.9, 0.5])] * 2
    everything, bright = result.candidates[1].masks
    assert everything.all()
    assert iou(bright, mask) > 0.7
    assert predictor.predict(boxes=[[0, 0, 9, 9]]).candidates is None


def test_without_a_prompt_it_finds_what_there_is() -> None:
    image, mask = disk()
    predictor = Predictor(Backend(prompts=frozenset()))
    predictor.set_image(image)
    assert iou(predictor.predict().masks[0], mask) > 0.7
    with pytest.raises(PromptError, match="'backend' takes no prompt, found a box"):
        predictor.predict(boxes=[[0, 0, 9, 9]])


def test_a_kind_of_prompt_that_it_does_not_take() -> None:
    predictor = Predictor(Backend(prompts=frozenset({"box"})))
    predictor.set_image(disk()[0])
    with pytest.raises(PromptError, match="'backend' takes box, found a point"):
        predictor.predict(points=[[[3, 4]]])


def test_a_folder_of_another_backend_of_that_name_is_not_taken_for_its_own(tmp_path: Path) -> None:
    image, _ = disk()
    (tmp_path / "photos").mkdir()
    cv2.imwrite(str(tmp_path / "photos" / "disk.png"), image)
    run = FolderRun(tmp_path / "photos", tmp_path / "out", {"disk.png": {"boxes": [[80, 180, 125, 225]]}})

    def outcomes(threshold: float, *, force: bool = False) -> list[bool]:
        job = SegmentJob(run, lambda: Predictor(Backend(threshold)))
        return [outcome.skipped for outcome in do(job, force=force)]

    assert outcomes(110) == [False]
    before = (tmp_path / "out" / "disk_mask.png").read_bytes()
    assert outcomes(110) == [True]
    with pytest.raises(UsageError, match="threshold-110"):
        outcomes(250)
    assert outcomes(250, force=True) == [False]
    assert (tmp_path / "out" / "disk_mask.png").read_bytes() != before


def test_it_is_evaluated_with_every_prompt(tmp_path: Path) -> None:
    measure = Measure(prompts=("box", "points:2", "mask", "image", "clicks:2"))
    suite = make_suite([write_disks(tmp_path / "disks", 2)], measure)
    run = suite.run(Backend(), "backend", tmp_path / "out")
    list(run)
    means = suite.report([run]).models[0].means()
    assert all(means[prompt]["disks"]["iou"] > 0.9 for prompt in ("box", "points:2", "mask", "image", "clicks:2"))
    report = suite.report([run])
    assert "Second look: backend" in report.to_markdown()
    assert report.to_json()["models"]["backend"]["second_look"] is True


def test_without_prompts_it_is_evaluated_on_whole_pictures(tmp_path: Path) -> None:
    folder = write_disks(tmp_path / "disks", 2)
    model = Backend(prompts=frozenset())
    run = make_suite([folder], Measure(prompts=("image",))).run(model, "backend")
    list(run)
    assert run.result().means()["image"]["disks"]["iou"] > 0.9
    beside = make_suite([folder]).run(model, "backend")  # beside models that are asked with boxes
    list(beside)
    assert beside.result().means()["box"] == run.result().means()["image"]


def test_it_labels() -> None:
    image, mask = disk()
    label = rasterise(mask.shape, "t", points=[[101, 203]], labels=[1])
    found = label_picture(Backend(), image, label, LabelSettings("d4", "prob"))
    assert iou(found.fused >= 0.5, mask) > 0.7
    boxed = rasterise(mask.shape, "t", boxes=[[80, 180, 125, 225]])
    student = Backend(prompts=frozenset())
    assert iou(label_picture(Backend(), image, boxed, LabelSettings("d4"), student=student).fused >= 0.5, mask) > 0.7


def test_its_masks_are_refined() -> None:
    image, mask = disk()
    refined = refine_with(Backend(), "dis-sam-tiny")
    assert (refined.info.name, refined.info.look_again, refined.info.alpha) == ("backend+dis-sam-tiny", "first", True)
    assert refined.info.digest != refine_with(Backend(90), "dis-sam-tiny").info.digest
    predictor = Predictor(refined)
    predictor.set_image(image)
    result = predictor.predict(boxes=[[80, 180, 125, 225]], multimask=True)
    assert iou(result.masks[0], mask) > 0.8
    assert result.alpha is not None
    assert result.candidates is not None
    assert result.candidates[0].masks.shape == (2, 300, 400)
    with pytest.raises(UsageError, match="takes no prompt"):
        refine_with(Backend(prompts=frozenset()), "dis-sam-tiny")
    with pytest.raises(UsageError, match="refines its masks itself"):
        refine_with(refined, "dis-sam-tiny")


def test_two_predictors_share_a_model_and_no_option() -> None:
    """A server has one model and many requests."""
    image = np.random.default_rng(0).integers(0, 256, (600, 800, 3), np.uint8)
    model = refine_with(Backend(), "dis-sam-tiny")
    model.config = replace(model.config, guard=False, second_look="windows")  # each changes something on noise
    box = [[50, 50, 750, 550]]
    once, twice = Predictor(model, second_look="off"), Predictor(model, second_look="on")
    for predictor in (once, twice):
        predictor.set_image(image)
    first = once.predict(boxes=box).logits
    assert not np.array_equal(twice.predict(boxes=box).logits, first)
    np.testing.assert_array_equal(once.predict(boxes=box).logits, first)


def test_features_of_another_backend_are_refused() -> None:
    features = Backend(90).encode([disk()[0]])
    with pytest.raises(UsageError, match=r"of 'backend' \(threshold-110\), found .* \(threshold-90\)"):
        Backend(110).decode(features, [], [])


def test_a_digest_is_made_when_it_is_asked_for_once() -> None:
    made: list[int] = []

    def digest() -> str:
        made.append(1)
        return "abc"

    info = ModelInfo("m", digest)
    assert not made
    assert (info.digest, info.digest, len(made)) == ("abc", "abc", 1)
    assert info == ModelInfo("m", "abc")
    assert pickle.loads(pickle.dumps(ModelInfo("m", "abc"))) == info
    assert replace(info, candidates=3).digest == "abc"
    assert Backend().info.input_side == SIDE


def test_the_boxes_of_a_result_are_prompts() -> None:
    """Right and bottom are exclusive on both ways, at the rim of the picture too."""
    predictor = Predictor(FakeModel())
    predictor.set_image(np.zeros((96, 128, 3), np.uint8))
    result = predictor.predict(boxes=[[64, 32, 128, 96], [0, 0, 128, 96], [2, 4, 66, 20]])
    np.testing.assert_array_equal(result.boxes, [[64, 32, 128, 96], [0, 0, 128, 96], [2, 4, 66, 20]])
    again = predictor.predict(boxes=result.boxes)
    np.testing.assert_array_equal(again.masks, result.masks)
    np.testing.assert_array_equal(make_prompts(96, 128, boxes=result.boxes).boxes, result.boxes)
