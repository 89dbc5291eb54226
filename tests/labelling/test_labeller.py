import cv2
import numpy as np
import pytest
from labelling_colours import ColourModel, frog_picture, frog_strokes

from vns_sam.data.sparse import SparseLabel, rasterise
from vns_sam.dis.mattes import Matte, MatteAnswers
from vns_sam.errors import UsageError
from vns_sam.labelling.labeller import LabelSettings, label_picture
from vns_sam.metrics.iou import iou

IMAGE, MASK = frog_picture()
STROKES = SparseLabel("scribble", frog_strokes())


@pytest.mark.parametrize("preset", ["none", "d4", "ws12", "full24"])
def test_all_views_find_the_object_in_its_place(preset: str) -> None:
    found = label_picture(ColourModel(), IMAGE, STROKES, LabelSettings(views=preset))
    assert iou(found.fused >= 0.5, MASK) > 0.97
    assert found.believed == len(found.answers)


def test_turned_views_agree_bit_by_bit() -> None:
    found = label_picture(ColourModel(), IMAGE, STROKES, LabelSettings(views="d4", clamp=False))
    assert set(np.unique(found.fused)) == {0, 1}


def test_points_and_boxes() -> None:
    points = rasterise((48, 64), "t", points=[[20, 25], [60, 5]], labels=[1, 0])
    boxes = rasterise((48, 64), "t", boxes=[[8, 10, 40, 34]])
    for label in (points, boxes):
        found = label_picture(ColourModel(), IMAGE, label, LabelSettings())
        assert iou(found.fused >= 0.5, MASK) > 0.97
        assert found.believed == 12


def test_two_boxes_give_their_union() -> None:
    image = np.full((48, 64, 3), 60, np.uint8)
    image[5:20, 5:20], image[28:44, 40:60] = 200, 140
    label = rasterise((48, 64), "t", boxes=[[5, 5, 20, 20], [40, 28, 60, 44]])
    found = label_picture(ColourModel(), image, label, LabelSettings())
    assert iou(found.fused >= 0.5, image[..., 0] > 100) > 0.95


def test_a_blind_view_is_not_believed_and_not_joined() -> None:
    with_gates = label_picture(ColourModel(blind=[2, 5]), IMAGE, STROKES, LabelSettings(clamp=False))
    assert [k for k, answer in enumerate(with_gates.answers) if not answer.believed] == [2, 5]
    assert with_gates.levels == 10
    without = label_picture(ColourModel(blind=[2, 5]), IMAGE, STROKES, LabelSettings(gates=None, clamp=False))
    assert without.believed == 12
    assert with_gates.fused[30, 20] == 1
    assert without.fused[30, 20] == pytest.approx(10 / 12)


def test_where_no_view_is_believed_all_are_joined_and_told() -> None:
    found = label_picture(ColourModel(blind=range(12)), IMAGE, STROKES, LabelSettings(clamp=False))
    assert (found.believed, found.levels) == (0, 12)
    assert not found.fused.any()


def test_marks_are_what_the_annotator_said() -> None:
    codes = frog_strokes()
    codes[46, :5] = 1  # where the model sees nothing
    label = SparseLabel("scribble", codes)
    settings = LabelSettings(gates=None)
    assert label_picture(ColourModel(), IMAGE, label, settings).fused[46, :5].min() == 1
    open_ = LabelSettings(gates=None, clamp=False)
    assert label_picture(ColourModel(), IMAGE, label, open_).fused[46, :5].max() < 1


@pytest.mark.parametrize("fuse", ["vote", "prob"])
def test_look_alikes_without_a_mark_are_dropped(fuse: str) -> None:
    image = IMAGE.copy()
    image[5:15, 48:60] = 200
    found = label_picture(ColourModel(), image, STROKES, LabelSettings(fuse=fuse))
    assert found.fused[5:15, 48:60].max() < 0.01
    whole = label_picture(ColourModel(), image, STROKES, LabelSettings(fuse=fuse, marked_only=False))
    assert whole.fused[8:12, 52:56].min() > 0.9


def test_batches_do_not_change_the_answer() -> None:
    one, all_ = (label_picture(ColourModel(), IMAGE, STROKES, LabelSettings(), batch=n).fused for n in (1, 12))
    assert (one == all_).all()


class MatteModel(ColourModel):
    """Answers at full size, as a refiner does."""

    def decode(self, features: object, prompts: object, image_index: object, **_: bool) -> MatteAnswers:
        output = super().decode(features, prompts, image_index)
        mattes = []
        for k, row in enumerate(output.mask_logits):
            one = features.geometry[image_index[k]]
            fitted = row[0, : one.fitted_height, : one.fitted_width].numpy() > 0
            ys = (np.arange(one.height) + 0.5) * one.fitted_height / one.height
            xs = (np.arange(one.width) + 0.5) * one.fitted_width / one.width
            mattes.append(Matte(fitted[ys.astype(int)][:, xs.astype(int)].astype(np.float32)))
        return MatteAnswers(tuple(mattes), output.scores)


def test_a_refined_answer_is_used_where_there_is_one() -> None:
    found = label_picture(MatteModel(), IMAGE, STROKES, LabelSettings())
    assert iou(found.fused >= 0.5, MASK) > 0.97


def test_no_points_no_prompt() -> None:
    with pytest.raises(UsageError, match="at least 1 point"):
        LabelSettings(points=0)


@pytest.mark.parametrize("preset", ["none", "d4", "ws12"])
def test_a_second_look_sharpens_a_small_object_in_every_view(preset: str) -> None:
    mask = cv2.circle(np.zeros((300, 400), np.uint8), (101, 203), 17, 1, -1).astype(bool)
    image = np.where(mask[..., None], np.uint8(200), np.uint8(60)).repeat(3, axis=2)
    label = rasterise(mask.shape, "t", points=[[101, 203]], labels=[1])
    coarse, sharp = ColourModel(), ColourModel()
    first = label_picture(coarse, image, label, LabelSettings(preset, "prob"))
    again = label_picture(sharp, image, label, LabelSettings(preset, "prob", second_look="on"))
    assert iou(again.fused >= 0.5, mask) > iou(first.fused >= 0.5, mask) + 0.02
    assert sharp.encoded == 2 * coarse.encoded
