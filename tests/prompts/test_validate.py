from __future__ import annotations

import logging
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from vns_sam.errors import PromptError
from vns_sam.formats.png import read_masks
from vns_sam.prompts.validate import count_objects, make_prompts, whole_picture

NAN, INF = float("nan"), float("inf")


def prompts(**given: Any) -> Any:
    return make_prompts(100, 200, **given)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "no prompt given"),
        ({"boxes": [[50, 10, 20, 40]]}, "reversed"),
        ({"boxes": [[10, 40, 20, 10]]}, "reversed"),
        ({"boxes": [[10, 10, 10, 40]]}, "empty"),
        ({"boxes": [[10, 40, 20, 40]]}, "empty"),
        ({"boxes": [[200, 0, 240, 40]]}, "outside the image, which is 200 x 100"),
        ({"boxes": [[-40, 0, -1, 40]]}, "outside"),
        ({"boxes": [[-40, 0, 0, 40]]}, "outside"),
        ({"boxes": [[0, -40, 40, 0]]}, "outside"),
        ({"boxes": [[0, 100, 40, 140]]}, "outside"),
        ({"boxes": [[0, 0, 0.5, 0.5]]}, "fractions"),
        ({"boxes": [[NAN, 0, 10, 10]]}, "not finite"),
        ({"boxes": [[0, 0, INF, 10]]}, "not finite"),
        ({"boxes": [[0.25, 0.5, 0.75, 1]]}, "fractions"),
        ({"boxes": [[1, 2, 3]]}, r"shape \(P, 4\)"),
        ({"boxes": []}, "boxes hold no object"),
        ({"boxes": np.zeros((0, 4)), "fractions": True}, "boxes hold no object"),
        ({"masks": torch.zeros(0, 100, 200)}, "masks hold no object"),
        ({"boxes": [[1, 2, 3], [1, 2, 3, 4]]}, "rows of equal length"),
        ({"boxes": "all"}, "numbers"),
        ({"points": [[[200, 10]]]}, "outside the image"),
        ({"points": [[[10, -1]]]}, "outside the image"),
        ({"points": [[[NAN, 1]]]}, "not finite"),
        ({"points": [[[1, 2, 3]]]}, r"shape \(N, 2\)"),
        ({"points": [[]]}, r"shape \(N, 2\)"),
        ({"points": []}, "points hold no object"),
        ({"points": 7}, "list or an array"),
        ({"points": [[[1, 2], [3, 4]]], "labels": [[1]]}, "one label"),
        ({"points": [[[1, 2]]], "labels": [[1], [1]]}, "one label"),
        ({"points": [[[1, 2]]], "labels": [[2]]}, "got 2"),
        ({"points": [[[1, 2], [3, 4]]], "labels": [[0, 2]]}, "got 2"),
        ({"points": [[[1, 2]]], "labels": [[0.5]]}, "got 0.5"),
        ({"labels": [[1]]}, "without points"),
        ({"boxes": [[0, 0, 9, 9]] * 2, "points": [[[1, 2]]]}, "same number of rows"),
        ({"masks": np.ones((1, 50, 200))}, r"\(P, 100, 200\)"),
        ({"masks": np.full((1, 100, 200), 3.0)}, r"\[0, 1\]"),
        ({"masks": np.full((1, 100, 200), 1.5)}, r"\[0, 1\]"),
        ({"masks": np.full((1, 100, 200), NAN)}, r"\[0, 1\]"),
        ({"masks": np.zeros((1, 100, 200))}, "marks no pixel"),
        ({"boxes": [[0.1, 0.2, 0.5]], "fractions": True}, r"shape \(P, 4\)"),
        ({"boxes": [0.1, 0.2, 0.5, 0.6, 0.7], "fractions": True}, r"shape \(P, 4\)"),
        ({"points": [[[0.1, 0.2, 0.3]]], "fractions": True}, r"shape \(N, 2\)"),
    ],
)
def test_nonsense_is_one_clear_line(given: dict[str, Any], says: str) -> None:
    with pytest.raises(PromptError, match=says) as caught:
        prompts(**given)
    assert "\n" not in caught.value.message


def test_fractions_are_told_as_the_pixels_they_may_mean() -> None:
    with pytest.raises(PromptError) as caught:
        prompts(boxes=[[0.25, 0.5, 0.75, 1]])
    assert caught.value.hint.startswith("50 50 150 100, in the 200 x 100 pixels")


def test_a_small_box_that_is_larger_than_a_pixel_is_in_pixels() -> None:
    np.testing.assert_array_equal(prompts(boxes=[[0.5, 0.5, 1.5, 1.5]]).boxes, [[0.5, 0.5, 1.5, 1.5]])


@pytest.mark.parametrize(
    ("points", "meant"),
    [
        ([[[0.58, 0.49]]], "116 49"),
        ([[30, 40]], None),
        ([[[0.5, 1.0], [0, 0]]], "100 99"),
        ([[[30, 40]], [[0.25, 0.5]]], "50 50"),
        ([[[0, 0], [1, 1]]], None),
        ([[[0.5, 0.5], [30, 40]]], None),
    ],
)
@pytest.mark.parametrize("box", [None, [10, 10, 90, 90]])
def test_clicks_as_fractions_are_told_as_the_pixels_they_may_mean(
    points: list[Any], meant: str | None, box: list[int] | None
) -> None:
    given = {
        "points": points,
        "boxes": None if box is None else [box] * (len(points) if np.ndim(points[0]) == 2 else 1),
    }
    if meant is None:
        assert prompts(**given).points is not None
        return
    with pytest.raises(PromptError, match="first pixel: expected points in pixels, found fractions") as caught:
        prompts(**given)
    assert caught.value.hint == f"{meant}, in the 200 x 100 pixels of this picture"


@pytest.mark.parametrize("kind", [np.bool_, np.uint8, np.float32])
def test_masks_take_what_they_become(kind: type) -> None:
    given = np.ones((6, 300, 400), kind)
    tracemalloc.start()
    made = make_prompts(300, 400, masks=given).masks
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert made is not None
    assert made.dtype == np.float32
    assert made.all()
    assert peak < 1.2 * made.nbytes


def test_masks_in_grey_values_are_divided_as_exactly_as_can_be() -> None:
    grey = np.arange(256, dtype=np.uint8).repeat(100).reshape(1, 100, 256)
    np.testing.assert_array_equal(make_prompts(100, 256, masks=grey).masks, (grey / 255).astype(np.float32))


def test_a_line_of_one_pixel_and_stated_fractions_have_clicks_in_the_first_pixel() -> None:
    line = make_prompts(1, 1, points=[[[0.5, 0.5]]])
    stated = prompts(points=[[[0.001, 0.002]]], fractions=True)
    assert line.points is not None
    assert stated.points is not None
    np.testing.assert_allclose(line.points, [[[0.5, 0.5]]])
    np.testing.assert_allclose(stated.points, [[[0.2, 0.2]]])


def test_the_whole_picture_is_from_its_first_pixel_to_its_last() -> None:
    np.testing.assert_array_equal(whole_picture(100, 200).boxes, [[0, 0, 199, 99]])


def test_objects_may_have_no_class() -> None:
    assert prompts(boxes=[[1, 2, 30, 40]] * 3, classes=["leaf", None, ""]).classes == ("leaf", "", "")


@pytest.mark.parametrize(
    "convert", [list, np.array, torch.tensor, lambda box: torch.tensor(box).float().requires_grad_()]
)
def test_lists_arrays_and_tensors(convert: Any) -> None:
    np.testing.assert_array_equal(prompts(boxes=convert([[1, 2, 30, 40]])).boxes, [[1, 2, 30, 40]])
    assert prompts(boxes=convert([1, 2, 30, 40])).boxes.dtype == np.float32
    assert prompts(points=convert([[[1, 2], [3, 4]]])).points.shape == (1, 2, 2)


def test_a_box_that_sticks_out_is_clipped_and_told(caplog: pytest.LogCaptureFixture) -> None:
    prompts(boxes=[[0, 0, 200, 100]])
    assert not caplog.text
    with caplog.at_level(logging.WARNING, "vns_sam"):
        result = prompts(boxes=[[-5, 10, 250, 90]])
    np.testing.assert_array_equal(result.boxes, [[0, 10, 200, 90]])
    assert "clipped" in caplog.text


def test_labels_default_to_object_and_ragged_rows_are_padded() -> None:
    result = prompts(points=[[[1, 2]], [[3, 4], [5, 6]]], labels=[[0], [1, 0]])
    np.testing.assert_array_equal(result.labels, [[0, -1], [1, 0]])
    np.testing.assert_array_equal(prompts(points=[[[1, 2], [3, 4]], [[5, 6]]]).labels, [[1, 1], [1, -1]])
    np.testing.assert_array_equal(prompts(points=[[1, 2], [3, 4]], labels=[1, 0]).labels, [[1, 0]])


@pytest.mark.parametrize(("kind", "scale"), [(bool, 1), (np.uint8, 1), (np.uint8, 255), (np.float32, 1)])
def test_masks_of_every_kind_mean_the_same(kind: Any, scale: int) -> None:
    mask = np.zeros((100, 200))
    mask[20:40] = scale
    result = prompts(masks=mask.astype(kind)).masks
    assert result.shape == (1, 100, 200)
    assert result.max() == 1
    assert result.dtype == np.float32
    np.testing.assert_array_equal(prompts(masks=mask.astype(kind).tolist()).masks, result)


def test_whole_numbers_above_1_are_of_255() -> None:
    assert prompts(masks=np.full((100, 200), 2, np.uint8)).masks.max() == np.float32(2 / 255)


def test_masks_of_files_are_their_objects(tmp_path: Path) -> None:
    ids = np.zeros((100, 200), np.uint8)
    ids[10:20, 30:40], ids[50:60, 70:90] = 1, 2
    files = [str(tmp_path / name) for name in ("ids.png", "one.png", "small.png")]
    for file, values in zip(files, (ids, (ids == 1) * np.uint8(255), np.full((5, 6), 255, np.uint8)), strict=True):
        Image.fromarray(values).save(file)
    found = prompts(masks=[(files[0], "", 1), (files[1], "", 0)]).masks
    np.testing.assert_array_equal(found, [ids == 2, ids == 1])
    with pytest.raises(PromptError, match="one size"):
        prompts(masks=[(files[0], "", 1), (files[2], "", 0)])


def test_a_file_of_many_masks_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = np.arange(100 * 200, dtype=np.uint16).reshape(100, 200) // 2000
    Image.fromarray(ids).save(tmp_path / "ids.png")
    read: list[str] = []
    monkeypatch.setattr("vns_sam.prompts.validate.read_masks", lambda path: read.append(path) or read_masks(path))
    found = prompts(masks=[(str(tmp_path / "ids.png"), "", index) for index in range(9)]).masks
    np.testing.assert_array_equal(found, [ids == k for k in range(1, 10)])
    assert len(read) == 1


MASK = np.ones((100, 200), bool)


@pytest.mark.parametrize("kind", [lambda given: given, np.asarray, torch.tensor], ids=["lists", "arrays", "tensors"])
@pytest.mark.parametrize(
    ("given", "count"),
    [
        ({"boxes": [16, 32, 64, 80]}, 1),
        ({"boxes": [[16, 32, 64, 80]]}, 1),
        ({"boxes": [[16, 32, 64, 80], [1, 2, 3, 4]]}, 2),
        ({"points": [[5, 6], [7, 8], [1, 2]], "labels": [1, 0, 0]}, 1),
        ({"points": [[[5, 6]], [[7, 8]], [[1, 2]]]}, 3),
        ({"masks": MASK.tolist()}, 1),
        ({"masks": [MASK.tolist(), MASK.tolist()]}, 2),
    ],
)
def test_objects_are_counted_as_they_are_checked(kind: Any, given: dict[str, Any], count: int) -> None:
    given = {name: kind(value) for name, value in given.items()}
    assert count_objects(given) == len(prompts(**given)) == count


def test_objects_of_rows_of_several_lengths_and_of_files_are_counted(tmp_path: Path) -> None:
    assert count_objects({"points": [[[1, 2], [3, 4]], [[5, 6]]], "labels": [[1, 0], [1]]}) == 2
    assert count_objects({"masks": [("a.png", "", 0)]}) == 1
    assert count_objects({"masks": [("a.png", "", 0), ("a.png", "", 1)], "classes": ["owl", "fox"]}) == 2


@pytest.mark.parametrize("given", [{}, {"boxes": []}, {"boxes": "all"}, {"points": 7}, {"labels": [[1], [1]]}])
def test_nonsense_counts_as_one_object_until_it_is_told(given: dict[str, Any]) -> None:
    assert count_objects(given) == 1


def test_a_pixel_is_a_valid_picture() -> None:
    assert len(make_prompts(1, 1, boxes=[[0, 0, 1, 1]], points=[[[0, 0]]])) == 1


def test_fractions_are_of_width_and_height() -> None:
    found = make_prompts(100, 200, boxes=[[0.25, 0.5, 0.75, 1]], points=[[[0.1, 0.2]]], labels=[[1]], fractions=True)
    assert found.boxes is not None
    assert found.points is not None
    assert found.boxes.tolist() == [[50, 50, 150, 100]]
    np.testing.assert_allclose(found.points, [[[20, 20]]], rtol=1e-6)


@pytest.mark.parametrize(
    ("labels", "told"), [([[0, 0], [1, 1]], "object 0 "), ([[1, 0], [0, 0]], "object 1 "), ([[1, 0], [0, 1]], "")]
)
def test_an_object_with_background_points_alone_is_told(
    caplog: pytest.LogCaptureFixture, labels: list[list[int]], told: str
) -> None:
    with caplog.at_level(logging.WARNING, "vns_sam"):
        make_prompts(height=20, width=20, points=[[[2, 2], [8, 8]], [[12, 2], [4, 9]]], labels=labels)
    assert (f"{told}has background points alone" in caplog.text) if told else not caplog.text
