import cv2
import numpy as np
import pytest

from vns_sam.data.synthesis.scribbles import annotation_rng, draw_boxes, draw_points, draw_scribbles
from vns_sam.errors import DataError


def blob(height: int = 200, width: int = 300) -> np.ndarray:
    mask = np.zeros((height, width), np.uint8)
    cv2.ellipse(mask, (150, 90), (80, 40), 20, 0, 360, 1, -1)
    return mask > 0


def two() -> np.ndarray:
    mask = np.zeros((200, 300), np.uint8)
    cv2.circle(mask, (60, 60), 30, 1, -1)
    cv2.circle(mask, (230, 150), 25, 1, -1)
    return mask > 0


def line() -> np.ndarray:
    mask = np.zeros((60, 60), bool)
    mask[30, 10:50] = True
    return mask


def pixel() -> np.ndarray:
    mask = np.zeros((40, 50), bool)
    mask[0, 0] = True
    return mask


def nearly_all() -> np.ndarray:
    mask = np.ones((50, 40), bool)
    mask[-1, -1] = False
    return mask


SHAPES = [blob, two, line, pixel, nearly_all]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("stem", ["a", "b", "c"])
def test_every_stroke_is_on_its_true_side(shape: object, stem: str) -> None:
    mask = shape()
    codes = draw_scribbles(mask, annotation_rng("pond", stem))
    assert set(np.unique(codes)) - {0} == {1, 2}
    assert mask[codes == 1].all()
    assert not mask[codes == 2].any()


@pytest.mark.parametrize("stem", ["a", "b", "c", "d"])
def test_strokes_mark_little_and_stay_off_the_border(stem: str) -> None:
    mask = blob()
    codes = draw_scribbles(mask, annotation_rng("pond", stem))
    assert 0.005 < (codes == 1).sum() / mask.sum() < 0.15
    assert 0.002 < (codes == 2).sum() / (~mask).sum() < 0.10
    depth = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5)
    assert depth[codes == 1].mean() > 0.3 * depth.max()


def test_each_object_has_its_stroke_click_and_box() -> None:
    mask = two()
    left = np.zeros_like(mask)
    left[:, :150] = True
    rng = annotation_rng("pond", "two")
    codes = draw_scribbles(mask, rng)
    assert (codes[left] == 1).any()
    assert (codes[~left] == 1).any()
    assert sorted(label for _, _, label in draw_points(mask, rng)) == [0, 1, 1]
    assert len(draw_boxes(mask, rng)) == 2


@pytest.mark.parametrize("shape", SHAPES)
def test_clicks_are_true(shape: object) -> None:
    mask = shape()
    for x, y, label in draw_points(mask, annotation_rng("pond", "a")):
        assert mask[y, x] == label


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("stem", ["a", "b", "c"])
def test_boxes_lie_in_the_picture_and_have_room(shape: object, stem: str) -> None:
    mask = shape()
    for x0, y0, x1, y1 in draw_boxes(mask, annotation_rng("pond", stem)):
        assert 0 <= x0 < x1 <= mask.shape[1]
        assert 0 <= y0 < y1 <= mask.shape[0]


def test_a_box_is_nearly_tight() -> None:
    mask = blob()
    ys, xs = np.nonzero(mask)
    tight = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
    boxes = [draw_boxes(mask, annotation_rng("pond", str(k)))[0] for k in range(20)]
    assert np.abs(np.array(boxes) - tight).max() < 0.06 * np.ptp(xs)
    assert len(set(boxes)) > 1


def test_draws_follow_set_stem_and_seed_only() -> None:
    def drawn(*seed: object) -> bytes:
        return draw_scribbles(blob(), annotation_rng(*seed)).tobytes()

    assert drawn("pond", "a") == drawn("pond", "a", 0)
    assert len({drawn("pond", "a"), drawn("pond", "b"), drawn("lake", "a"), drawn("pond", "a", 1)}) == 4


@pytest.mark.parametrize(("mask", "said"), [(np.zeros((9, 9), bool), "no object"), (np.ones((9, 9), bool), "no back")])
def test_nothing_to_mark(mask: np.ndarray, said: str) -> None:
    for draw in (draw_scribbles, draw_points, draw_boxes):
        with pytest.raises(DataError, match=said):
            draw(mask, annotation_rng("pond", "a"))
