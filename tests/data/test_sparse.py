import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vns_sam.data.label_maps import read_label_map
from vns_sam.data.sparse import SparseLabels, inside_boxes, rasterise, write_boxes, write_points
from vns_sam.errors import DataError

SHAPE = (6, 8)


def label_map(path: Path, values: object = None) -> Path:
    codes = np.zeros(SHAPE, np.uint8)
    codes[2, 1:4], codes[5, :] = 1, 2
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(codes if values is None else np.asarray(values, np.uint8)).save(path)
    return path


def test_reads_codes_as_they_are(tmp_path: Path) -> None:
    codes = read_label_map(label_map(tmp_path / "a.png"), SHAPE)
    assert codes.dtype == np.uint8
    assert [(codes == code).sum() for code in (0, 1, 2)] == [37, 3, 8]


def palette_map(path: Path, indices: object, palette: list[int], **saved: object) -> Path:
    picture = Image.fromarray(np.asarray(indices, np.uint8), "P")
    picture.putpalette(palette)
    picture.save(path, **saved)
    return path


VOC = [0, 0, 0, 128, 0, 0, 0, 128, 0]
CODES = [[0, 0, 1, 1], [0, 2, 0, 0]]


@pytest.mark.parametrize(
    ("indices", "palette"),
    [
        (CODES, VOC),
        (CODES, [value for gray in range(256) for value in (gray, gray, gray)]),
        (CODES, [0, 0, 0] * 256),
        ([[255, 255, 1, 1], [255, 0, 255, 255]], [*VOC, *[0] * 756, 224, 224, 192]),
    ],
)
def test_a_palette_of_a_tool_for_masks_holds_codes_by_index(
    tmp_path: Path, indices: list[list[int]], palette: list[int]
) -> None:
    codes = read_label_map(palette_map(tmp_path / "a.png", indices, palette))
    assert codes.tolist() == CODES


@pytest.mark.parametrize(
    "palette",
    [
        [255, 255, 255, 0, 0, 255, 255, 0, 0],
        [255, 0, 0, 0, 0, 255, 0, 0, 0],
        [0, 0, 0, 0, 0, 255, 255, 0, 0],
    ],
)
def test_the_order_of_colours_in_a_palette_says_nothing(tmp_path: Path, palette: list[int]) -> None:
    path = palette_map(tmp_path / "a.png", CODES, palette)
    with pytest.raises(DataError, match=r"found colours \(#") as caught:
        read_label_map(path)
    assert "name the colours" in str(caught.value.hint)
    transparent = palette_map(tmp_path / "b.png", [[0, 0, 1, 1]], palette, transparency=0)
    assert read_label_map(transparent).tolist() == [[0, 0, 1, 1]]


def test_a_palette_of_grays_means_its_values(tmp_path: Path) -> None:
    inverted = palette_map(tmp_path / "a.png", [[0, 1, 1, 1]], [255, 255, 255, 0, 0, 0])
    assert read_label_map(inverted).tolist() == [[1, 0, 0, 0]]
    with pytest.raises(DataError, match="a palette of grays, which are a trimap, too"):
        read_label_map(palette_map(tmp_path / "b.png", CODES, [0, 0, 0, 128, 128, 128, 255, 255, 255]))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.full(SHAPE, 255), "found 255"),
        (np.zeros((8, 6)), "8 x 6 pixels at .*, found 6 x 8"),
        (np.arange(48).reshape(SHAPE), r"found 0, 1, 2, 3, 4, 5, \.\.\."),
        (np.stack([np.eye(6, 8), np.zeros(SHAPE), np.zeros(SHAPE)], -1), "found colours"),
    ],
)
def test_a_wrong_map_is_told_by_name(tmp_path: Path, values: np.ndarray, said: str) -> None:
    path = label_map(tmp_path / "frog.png", values)
    with pytest.raises(DataError, match=said) as caught:
        read_label_map(path, SHAPE)
    assert "frog.png" in caught.value.message


FIVE = [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0, 0, 0, 128, 128, 0, 128, 0, 128, 128, 128, 128, 128]


@pytest.mark.parametrize(
    ("indices", "palette", "colours", "expected"),
    [
        ([[0, 0, 1, 5]], FIVE, {(5, 5, 5): 1}, [[0, 0, 0, 1]]),
        ([[0, 0, 1, 5]], FIVE, {(5, 5, 5): 1, (0, 0, 0): 2}, [[2, 2, 0, 1]]),
        ([[0, 0, 1, 5]], FIVE, {(1, 1, 1): 1, (0, 0, 0): 2}, [[2, 2, 1, 0]]),
        ([[0, 0, 1, 5]], FIVE, {(50, 50, 50): 1, (7, 7, 7): 2}, [[0, 0, 0, 0]]),
        ([[0, 0, 1, 5]], FIVE, {(128, 0, 128): 1, (0, 0, 0): 2}, [[2, 2, 0, 1]]),
        ([[0, 0, 7, 5]], FIVE, {(128, 128, 128): 1}, [[0, 0, 1, 0]]),
        ([[0, 0, 7, 5]], FIVE, {(7, 7, 7): 1}, [[0, 0, 1, 0]]),
        (CODES, [0, 0, 0] * 256, {(2, 2, 2): 1, (1, 1, 1): 2}, [[0, 0, 2, 2], [0, 1, 0, 0]]),
        (CODES, [0, 0, 0] * 256, {(0, 0, 0): 1}, [[1, 1, 0, 0], [1, 0, 1, 1]]),
        ([[0, 1, 2, 2]], [0, 0, 0, 0, 0, 0, 255, 255, 255], {(255, 255, 255): 1, (0, 0, 0): 2}, [[2, 2, 1, 1]]),
        ([[0, 1, 2, 2]], [255, 255, 255, 0, 0, 255, 255, 0, 0], {(1, 1, 1): 1}, [[0, 0, 0, 0]]),
    ],
)
def test_grays_name_the_codes_of_a_palette_that_holds_codes(
    tmp_path: Path,
    indices: list[list[int]],
    palette: list[int],
    colours: dict[tuple[int, int, int], int],
    expected: list[list[int]],
) -> None:
    assert read_label_map(palette_map(tmp_path / "a.png", indices, palette), None, colours).tolist() == expected


def test_other_codes_of_such_a_palette_are_told_as_codes(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"found 0, 1, 5 in Pascal VOC's palette") as caught:
        read_label_map(palette_map(tmp_path / "a.png", [[0, 0, 1, 5]], FIVE))
    assert caught.value.hint == "name the codes: vns-sam data import-labels DIR --object 5 ..."


@pytest.mark.parametrize(
    ("name", "values", "options"),
    [
        ("a.png", [[(9, 9, 9)] * 4, [(255, 0, 0)] * 3 + [(0, 0, 255)]], '--object "#ff0000" --background "#0000ff"'),
        ("a.png", [[(255, 255, 255)] * 3, [(250, 255, 255)] * 2 + [(0, 90, 0)]], '--object "#005a00"'),
        (
            "a.png",
            [[(0, 0, 0, 0)] * 2, [(255, 0, 0, 255), (0, 0, 255, 255)]],
            '--object "#0000ff" --background "#ff0000"',
        ),
        ("a.jpg", [[0] * 16] * 19 + [[255] * 16] * 13, "--object 255"),
        ("a.jpg", [[0] * 16] * 19 + [[9] * 16] * 2, "--object COLOUR"),
    ],
)
def test_the_hint_names_colours_of_the_map_itself(tmp_path: Path, name: str, values: object, options: str) -> None:
    Image.fromarray(np.asarray(values, np.uint8)).save(tmp_path / name)
    with pytest.raises(DataError) as caught:
        read_label_map(tmp_path / name)
    assert str(caught.value.hint).endswith(f"name the colours: vns-sam data import-labels DIR {options} ...")


def test_no_map_and_no_picture(tmp_path: Path) -> None:
    (tmp_path / "b.png").write_text("no picture")
    for name, said in (("a.png", "no file"), ("b.png", "no picture")):
        with pytest.raises(DataError, match=said):
            read_label_map(tmp_path / name)


def test_points_become_pixels() -> None:
    label = rasterise(SHAPE, "t", points=[[1, 2], [6.9, 0.2]], labels=[1, 2])
    assert label.kind == "point"
    assert label.codes[2, 1] == 1
    assert label.codes[0, 6] == 2
    assert (label.codes > 0).sum() == 2


def test_a_point_in_the_first_pixel_beside_others_is_one() -> None:
    label = rasterise(SHAPE, "t", points=[[0.4, 0.5], [6.9, 0.2]])
    assert np.argwhere(label.codes == 1).tolist() == [[0, 0], [0, 6]]
    assert rasterise(SHAPE, "t", points=[[0, 0], [1, 1]]).codes[1, 1] == 1
    assert rasterise(SHAPE, "t", points=[[0.5, 0.5]], fractions=True).codes[3, 4] == 1


def test_outside_of_widened_boxes_is_background() -> None:
    label = rasterise((100, 100), "t", boxes=[[40, 40, 60, 60]])
    assert label.kind == "box"
    assert (label.codes == 0).sum() == 22 * 22
    assert label.codes[39, 39] == 0
    assert label.codes[38, 50] == 2


def test_boxes_may_reach_over_the_rim() -> None:
    assert inside_boxes(np.array([[-4.0, 3, 2, 99]]), SHAPE, 0.5).sum() == 5 * 6


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"points": [[1, 1], [1.4, 1.2]], "labels": [1, 0]}, "pixel 1 1 is marked as object and as background"),
        ({"points": [[7, 5]], "boxes": [[0, 0, 2, 2]]}, "pixel 7 5 is marked as object and as background"),
        ({"points": [[8, 1]]}, "outside the image"),
        ({"points": [[0.43, 0.51], [0.9, 0.1]], "labels": [1, 0]}, "points in pixels, found fractions"),
        ({"points": [[0.5, 0.25]]}, "points in pixels, found fractions"),
        ({"points": [[1, 1]], "labels": [3]}, "label must be"),
        ({"boxes": [[3, 3, 1, 1]]}, "reversed"),
    ],
)
def test_what_makes_no_sense_is_refused(given: dict[str, object], said: str) -> None:
    with pytest.raises(DataError, match=said) as caught:
        rasterise(SHAPE, "table.csv, frog", **given)
    assert caught.value.message.startswith("table.csv, frog: ")


def test_a_folder_of_maps(tmp_path: Path) -> None:
    label_map(tmp_path / "pond" / "frog.png")
    label_map(tmp_path / "toad.png", np.full(SHAPE, 2))
    labels = SparseLabels(tmp_path)
    assert labels.read("pond/frog.jpg", SHAPE).kind == "scribble"
    with pytest.raises(DataError, match=r"toad\.png: expected at least one mark on the object"):
        labels.read("toad.jpg", SHAPE)
    with pytest.raises(DataError, match=r"label map for newt\.jpg"):
        labels.read("newt.jpg", SHAPE)
    before = labels.digest("pond/frog.jpg")
    label_map(tmp_path / "pond" / "frog.png", np.ones(SHAPE))
    assert labels.digest("pond/frog.jpg") != before


def test_points_there_and_back(tmp_path: Path) -> None:
    (tmp_path / "points.csv").write_text(write_points({"frog.jpg": [(1, 2, 1), (7, 5, 0)], "toad": [(0, 0, 1)]}))
    labels = SparseLabels(tmp_path)
    assert labels.read("frog.jpg", SHAPE).codes[5, 7] == 2
    assert labels.read("toad.png", SHAPE).codes[0, 0] == 1
    with pytest.raises(DataError, match=r"label for newt\.jpg"):
        labels.digest("newt.jpg")


def test_boxes_there_and_back(tmp_path: Path) -> None:
    (tmp_path / "boxes.csv").write_text(write_boxes({"frog.jpg": [(1, 1, 3, 4), (5, 0, 8, 2.5)]}))
    boxes = SparseLabels(tmp_path / "boxes.csv").read("frog.jpg", SHAPE).boxes
    assert boxes.tolist() == [[1, 1, 3, 4], [5, 0, 8, 2.5]]


@pytest.mark.parametrize(
    "name", ["frog, big.jpg", 'a "toad".jpg', "a;b;c;d;e;f;g.jpg", "two\nlines.jpg", "a\u2028b.jpg"]
)
def test_any_name_of_a_picture_comes_back(tmp_path: Path, name: str) -> None:
    (tmp_path / "boxes.csv").write_text(write_boxes({name: [(1, 1, 3, 4)], "b.jpg": [(0, 0, 2, 2)]}))
    (tmp_path / "points.csv").write_text(write_points({name: [(2, 2, 1)]}))
    labels = SparseLabels(tmp_path)
    assert labels.problems == []
    assert sorted(labels.names) == sorted([name, "b.jpg"])
    assert labels.read(name, SHAPE).boxes.tolist() == [[1, 1, 3, 4]]
    assert labels.read(name, SHAPE).codes[2, 2] == 1


def test_the_separator_is_looked_for_outside_of_names(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('"a;b;c;d;e;f.jpg",1,1,3,4\n"b;c;d;e;f;g.jpg",0,0,2,2\n')
    assert SparseLabels(tmp_path / "t.csv").names == ["a;b;c;d;e;f.jpg", "b;c;d;e;f;g.jpg"]


def test_json_is_that_of_prompts(tmp_path: Path) -> None:
    (tmp_path / "points.json").write_text(json.dumps({"frog.jpg": {"points": [[[1, 2]], [[3, 3]]]}}))
    assert (SparseLabels(tmp_path).read("frog.jpg", SHAPE).codes == 1).sum() == 2


@pytest.mark.parametrize("name", ["boxes.json", "points.csv", "frog.json"])
@pytest.mark.parametrize("alone", [True, False])
def test_a_table_without_marks_is_told_at_once(tmp_path: Path, name: str, alone: bool) -> None:
    labelme = {"shapes": [], "imagePath": "frog.jpg", "imageHeight": 6, "imageWidth": 8}
    content = {"boxes.json": {"frog.jpg": {"boxes": []}}, "frog.json": labelme}.get(name)
    (tmp_path / name).write_text(json.dumps(content) if content else "name,x,y,label\n")
    path = tmp_path / name if alone else tmp_path
    with pytest.raises(DataError) as caught:
        SparseLabels(path)
    assert caught.value.message.startswith(f"{path} holds no marks")


def test_a_picture_that_a_table_lacks_is_no_missing_map(tmp_path: Path) -> None:
    (tmp_path / "boxes.csv").write_text(write_boxes({"toad.jpg": [(1, 1, 3, 4)]}))
    label_map(tmp_path / "photos/frog.png")
    labels = SparseLabels(tmp_path / "boxes.csv")
    labels.follow(tmp_path / "photos", ["frog.png"])
    with pytest.raises(DataError, match=r"expected a label for frog\.png in .*boxes\.csv, found none"):
        labels.read("frog.png", SHAPE)


def test_background_alone_marks_no_object(tmp_path: Path) -> None:
    (tmp_path / "points.csv").write_text("name,x,y,label\nfrog,1,1,2\n")
    with pytest.raises(DataError, match="at least one mark on the object"):
        SparseLabels(tmp_path).read("frog.jpg", SHAPE)


def test_a_broken_line_is_told_by_number(tmp_path: Path) -> None:
    (tmp_path / "points.csv").write_text("name,x,y,label\nfrog,1,1,1\nfrog,1,one,1\n")
    with pytest.raises(DataError, match="line 3"):
        SparseLabels(tmp_path)
