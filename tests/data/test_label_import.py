"""Labels as people draw them, in the files that their tools write."""

from __future__ import annotations

import json
import re
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vns_sam.cli.main import main
from vns_sam.data.label_import import import_labels
from vns_sam.data.label_maps import ColourCount, parse_colour, read_label_map
from vns_sam.data.sparse import SparseLabels
from vns_sam.errors import DataError, UsageError

SHAPE = (60, 80)
RED, BLUE = (255, 0, 0), (0, 0, 255)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "pond").mkdir(parents=True)
    for name in ("frog.jpg", "pond/toad.jpg", "newt.jpg"):
        Image.new("RGB", SHAPE[::-1], (90, 120, 60)).save(folder / name)
    return folder


def strokes(values: tuple[object, object, object], mode: str) -> Image.Image:
    """Nothing, a stroke on the object and one on the background."""
    picture = Image.new(mode, SHAPE[::-1], values[0])  # type: ignore[arg-type]
    picture.paste(values[1], (10, 20, 40, 23))  # type: ignore[arg-type]
    if values[2] is not None:
        picture.paste(values[2], (50, 5, 70, 8))  # type: ignore[arg-type]
    return picture


def codes_of(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture)


def test_of_two_pictures_with_one_stem_the_second_is_told(photos: Path, tmp_path: Path) -> None:
    Image.open(photos / "frog.jpg").save(photos / "frog.png")
    labels = tmp_path / "labels"
    labels.mkdir()
    strokes((0, 1, 2), "L").save(labels / "frog.png")
    *_, (state, _) = import_labels(labels, photos, tmp_path / "out")
    assert (state.pictures, state.maps) == (1, 1)
    assert state.problems == ["frog.png: expected a map of its own, found frog.png of frog.jpg"]


@pytest.mark.parametrize(
    ("name", "picture", "background"),
    [
        ("frog.PNG", strokes((0, 1, 2), "L"), True),
        ("frog.tif", strokes((0, 1, 2), "L"), True),
        ("frog.png", strokes((0, 255, None), "L"), False),
        ("frog.png", strokes((255, 1, 0), "L"), True),
        ("frog.png", strokes((128, 255, 0), "L"), True),
        ("frog.png", strokes(((0, 0, 0, 0), (*RED, 255), None), "RGBA"), False),
    ],
)
def test_maps_that_are_understood(tmp_path: Path, name: str, picture: Image.Image, background: bool) -> None:
    picture.save(tmp_path / name)
    codes = SparseLabels(tmp_path).read("frog.jpg", SHAPE).codes
    assert (codes[20:23, 10:40] == 1).all()
    assert (codes == 1).sum() == 90
    assert (codes == 2).sum() == (60 if background else 0)


@pytest.mark.parametrize(
    "picture", [strokes((255, 0, None), "L"), strokes((1, 0, None), "1"), strokes((1, 1, None), "1")]
)
def test_paper_is_no_object(tmp_path: Path, picture: Image.Image) -> None:
    picture.save(tmp_path / "frog.png")
    with pytest.raises(DataError, match=r"found 255 in (98|100)% of it and 0") as caught:
        SparseLabels(tmp_path).read("frog.jpg", SHAPE)
    assert "--object 0" in str(caught.value.hint)


@pytest.mark.parametrize("picture", [strokes((255, 0, None), "L"), strokes((1, 0, None), "1")])
def test_each_command_that_the_hint_for_paper_names_finds_an_object(
    tmp_path: Path, photos: Path, picture: Image.Image
) -> None:
    (tmp_path / "drawn").mkdir()
    picture.save(tmp_path / "drawn/frog.png")
    with pytest.raises(DataError) as caught:
        read_label_map(tmp_path / "drawn/frog.png")
    options = re.findall(r"--object \d+(?: --background \d+)?", str(caught.value.hint))
    found = []
    for place, option in enumerate(options):
        out = tmp_path / f"out{place}"
        arguments = [str(tmp_path / "drawn"), "--images", str(photos), "--out", str(out), *option.split()]
        assert main(["data", "import-labels", *arguments]) == 0
        found.append([int((codes_of(out / "frog.png") == code).sum()) for code in (1, 2)])
    assert found == [[90, 0], [4710, 0], [4710, 90]]


def test_strokes_of_one_bit_lie_on_the_object(tmp_path: Path) -> None:
    strokes((0, 1, None), "1").save(tmp_path / "frog.png")
    assert (SparseLabels(tmp_path).read("frog.jpg", SHAPE).codes == 1).sum() == 90


def test_marks_of_a_tool_beside_maps_are_used(tmp_path: Path, photos: Path) -> None:
    labels_folder = tmp_path / "drawn"
    labels_folder.mkdir()
    strokes((0, 1, 2), "L").save(labels_folder / "frog.png")
    shapes = [{"label": "frog", "points": [[5, 50]], "shape_type": "point"}]
    content = {"shapes": shapes, "imagePath": "frog.jpg", "imageHeight": SHAPE[0], "imageWidth": SHAPE[1]}
    (labels_folder / "frog.json").write_text(json.dumps(content))
    (labels_folder / "notes.txt").write_text("drawn on Monday\n")
    labels = SparseLabels(labels_folder)
    labels.follow(photos, ["frog.jpg"])
    codes = labels.read("frog.jpg", SHAPE).codes
    assert (codes == 1).sum() == 91
    assert codes[50, 5] == 1
    assert ["notes.txt" in problem for problem in labels.problems] == [True]


def test_the_first_class_of_yolo_is_no_background(tmp_path: Path, photos: Path) -> None:
    labels_folder = tmp_path / "yolo"
    labels_folder.mkdir()
    (labels_folder / "frog.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    labels = SparseLabels(labels_folder)
    labels.follow(photos, ["frog.jpg"])
    assert labels.read("frog.jpg", SHAPE).boxes.tolist() == [[20, 15, 60, 45]]


@pytest.mark.parametrize("head", ["image,X,Y,is_positive", "name;x;y;label", "filename\tx\ty\tforeground"])
def test_points_beside_the_object_are_told_by_any_heading(tmp_path: Path, head: str) -> None:
    separator = next(sign for sign in ";\t," if sign in head)
    rows = [separator.join(("frog.jpg", "20", "30", "1")), separator.join(("frog.jpg", "70", "5", "0"))]
    (tmp_path / "points.csv").write_text("\n".join([head, *rows]) + "\n")
    codes = SparseLabels(tmp_path).read("frog.jpg", SHAPE).codes
    assert (codes[30, 20], codes[5, 70]) == (1, 2)


def test_maps_may_be_called_after_what_they_are(tmp_path: Path) -> None:
    strokes((0, 1, 2), "L").save(tmp_path / "frog_scribble.png")
    assert (SparseLabels(tmp_path).read("frog.jpg", SHAPE).codes == 1).sum() == 90
    strokes((0, 255, None), "L").save(tmp_path / "task-1-annotation-2-by-3-tag-frog-0.png")
    with pytest.raises(DataError, match="which name tasks and no pictures") as caught:
        SparseLabels(tmp_path).read("toad.jpg", SHAPE)
    assert caught.value.hint == "export as JSON, which has both"


@pytest.mark.parametrize(
    ("name", "picture"),
    [
        ("frog.png", strokes(((0, 0, 0), RED, BLUE), "RGB")),
        ("frog.png", strokes(((0, 0, 0, 0), (*RED, 255), (*BLUE, 255)), "RGBA")),
        ("frog.png", strokes(((0, 0, 0), RED, BLUE), "RGB").quantize(8)),
        ("frog.bmp", strokes(((9, 9, 9), RED, BLUE), "RGB")),
    ],
)
def test_colours_are_named(tmp_path: Path, photos: Path, name: str, picture: Image.Image) -> None:
    (tmp_path / "drawn").mkdir()
    picture.save(tmp_path / "drawn" / name)
    told = ["--object", "#ff0000", "--background", "0,0,255", "--images", str(photos), "--out", str(tmp_path / "out")]
    assert main(["data", "import-labels", str(tmp_path / "drawn"), *told]) == 0
    codes = codes_of(tmp_path / "out/frog.png")
    assert [(codes == code).sum() for code in (1, 2)] == [90, 60]


def test_colours_that_are_not_named_are_told(tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "drawn").mkdir()
    strokes(((0, 0, 0), RED, BLUE), "RGB").save(tmp_path / "drawn/frog.png")
    arguments = ["--images", str(photos), "--out", str(tmp_path / "out")]
    assert main(["data", "import-labels", str(tmp_path / "drawn"), *arguments]) == 3
    assert "found colours (#000000, #0000ff, #ff0000)" in capsys.readouterr().err


def test_a_named_colour_that_no_map_has_is_told(
    tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "drawn").mkdir()
    strokes(((255, 255, 255), RED, (0, 255, 0)), "RGB").save(tmp_path / "drawn/frog.png")
    strokes(((255, 255, 255), RED, None), "RGB").save(tmp_path / "drawn/newt.png")
    told = ["--object", "red", "--background", "green", "--images", str(photos), "--out", str(tmp_path / "out")]
    assert main(["data", "import-labels", str(tmp_path / "drawn"), *told]) == 0
    said = "no map has the colour #008000 of the background; most of the other pixels are #ffffff, #00ff00"
    assert said in capsys.readouterr().out


def labelme(folder: Path) -> Path:
    shapes = [
        {"label": "frog", "shape_type": "linestrip", "points": [[10, 21], [39, 21]]},
        {"label": "background", "shape_type": "linestrip", "points": [[50, 6], [69, 6]]},
        {"label": "frog", "shape_type": "point", "points": [[20.5, 40.2]]},
        {"label": "frog", "shape_type": "rectangle", "points": [[5, 10], [45, 50]]},
    ]
    (folder / "pond").mkdir(parents=True)
    raw = {"shapes": shapes, "imagePath": "toad.jpg", "imageHeight": 60, "imageWidth": 80}
    (folder / "pond/toad.json").write_text(json.dumps(raw))
    return folder


def test_a_single_file_of_strokes(tmp_path: Path, photos: Path) -> None:
    shape = {"label": "frog", "shape_type": "linestrip", "points": [[10, 21], [39, 21]]}
    raw = {"shapes": [shape], "imagePath": "frog.jpg", "imageHeight": 60, "imageWidth": 80}
    (tmp_path / "frog.json").write_text(json.dumps(raw))
    labels = SparseLabels(tmp_path / "frog.json")
    labels.follow(photos, ["frog.jpg"])
    assert (labels.read("frog.jpg", SHAPE).codes[20:23, 10:40] == 1).all()


def test_points_and_a_box_of_one_picture_in_two_tasks(tmp_path: Path, photos: Path) -> None:
    def task(kind: str, **value: float) -> dict[str, object]:
        result = {"type": f"{kind}labels", "original_width": 80, "original_height": 60, "to_name": "image"}
        given = {**value, f"{kind}labels": ["frog"]}
        return {
            "id": len(value),
            "data": {"image": "/data/upload/1/frog.jpg"},
            "annotations": [{"result": [{**result, "from_name": "a", "id": "a", "value": given}]}],
        }

    tasks = [task("keypoint", x=25, y=50, width=1), task("rectangle", x=12.5, y=25, width=50, height=50)]
    (tmp_path / "frog.json").write_text(json.dumps(tasks))
    labels = SparseLabels(tmp_path / "frog.json")
    labels.follow(photos, ["frog.jpg"])
    label = labels.read("frog.jpg", SHAPE)
    assert label.codes[30, 20] == 1
    assert label.boxes.tolist() == [[10, 15, 50, 45]]


def labelme_box(path: Path, box: tuple[int, int, int, int], picture: str = "a.jpg") -> None:
    shapes = [{"label": "frog", "shape_type": "rectangle", "points": [box[:2], box[2:]]}]
    raw = {"shapes": shapes, "imagePath": picture, "imageHeight": 60, "imageWidth": 80}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(raw))


@pytest.mark.parametrize("copied", [False, True])
def test_pictures_among_the_labels_are_no_maps(tmp_path: Path, photos: Path, copied: bool) -> None:
    labelme_box(photos / "frog.json", (5, 10, 45, 50), "frog.jpg")
    labelme_box(photos / "pond/toad.json", (5, 10, 45, 50), "toad.jpg")
    strokes((0, 1, 2), "L").save(photos / "newt.bmp")
    source = Path(shutil.copytree(photos, tmp_path / "copied")) if copied else photos
    labels = SparseLabels(source)
    labels.follow(photos, ["frog.jpg", "newt.jpg", "pond/toad.jpg"])
    assert labels.read("frog.jpg", SHAPE).boxes.tolist() == [[5, 10, 45, 50]]
    assert labels.read("pond/toad.jpg", SHAPE).boxes.tolist() == [[5, 10, 45, 50]]
    assert (labels.read("newt.jpg", SHAPE).codes == 1).sum() == 90


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_composed_and_decomposed_letters_of_maps_are_one(tmp_path: Path, forms: tuple[str, str]) -> None:
    picture, drawn = (unicodedata.normalize(form, "K\u00e4fer") for form in forms)
    strokes((0, 1, 2), "L").save(tmp_path / f"{drawn}_scribble.png")
    assert (SparseLabels(tmp_path).read(f"{picture}.jpg", SHAPE).codes == 1).sum() == 90


def test_labels_of_no_picture_are_told_once(tmp_path: Path, photos: Path) -> None:
    for name in ("frog", "newt", "forg"):
        strokes((0, 1, 2), "L").save(tmp_path / f"{name}.png")
    (tmp_path / "points.csv").write_text("name,x,y,label\nfrog,5,55,1\nnewt,5,55,1\ntoed,5,55,1\n")
    labels = SparseLabels(tmp_path)
    labels.follow(photos, ["frog.jpg"])
    assert labels.problems == [f"labels of no picture in {photos}, 2: toed, forg.png"]


@pytest.mark.parametrize("with_map", [True, False])
def test_marks_in_sub_folders_are_of_pictures_there(tmp_path: Path, with_map: bool) -> None:
    boxes = {"cam1/a.jpg": (5, 5, 20, 20), "cam2/a.jpg": (50, 30, 70, 50)}
    for name, box in boxes.items():
        (tmp_path / "photos" / name).parent.mkdir(parents=True)
        Image.new("RGB", SHAPE[::-1]).save(tmp_path / "photos" / name)
        labelme_box((tmp_path / "drawn" / name).with_suffix(".json"), box)
    if with_map:
        strokes((0, 1, 2), "L").save(tmp_path / "drawn/b.png")
    labels = SparseLabels(tmp_path / "drawn")
    labels.follow(tmp_path / "photos", list(boxes))
    assert {name: tuple(labels.read(name, SHAPE).boxes[0]) for name in boxes} == boxes
    labels = SparseLabels(tmp_path / "drawn")
    labels.follow(tmp_path / "photos/cam1", ["a.jpg"])
    assert labels.read("a.jpg", SHAPE).boxes.tolist() == [[5, 5, 20, 20]]


@pytest.mark.parametrize("folder", ["json", "LabelMe", "boxes"])
def test_marks_in_a_sub_folder_called_after_them_are_of_the_pictures(tmp_path: Path, photos: Path, folder: str) -> None:
    drawn = tmp_path / "drawn"
    labelme_box(drawn / folder / "newt.json", (5, 5, 20, 20), "newt.jpg")
    labelme_box(drawn / folder / "pond/toad.json", (9, 9, 20, 20), "toad.jpg")
    (drawn / folder / "more.csv").write_text("name,x0,y0,x1,y1\nfrog.jpg,1,2,30,40\nnewt.jpg,50,5,70,20\n")
    strokes((0, 1, 2), "L").save(drawn / "frog.png")
    labels = SparseLabels(drawn)
    labels.follow(photos, ["frog.jpg", "newt.jpg", "pond/toad.jpg"])
    assert labels.problems == []
    assert labels.read("newt.jpg", SHAPE).boxes.tolist() == [[5, 5, 20, 20], [50, 5, 70, 20]]
    assert labels.read("pond/toad.jpg", SHAPE).boxes.tolist() == [[9, 9, 20, 20]]
    assert labels.read("frog.jpg", SHAPE, outside=False).boxes.tolist() == [[1, 2, 30, 40]]


@pytest.mark.parametrize("folder", ["cam2", "boxes"])
def test_marks_in_another_sub_folder_are_of_no_picture_elsewhere(tmp_path: Path, photos: Path, folder: str) -> None:
    if folder == "boxes":
        (photos / folder).mkdir()
    labelme_box(tmp_path / "drawn" / folder / "newt.json", (5, 5, 20, 20), "newt.jpg")
    strokes((0, 1, 2), "L").save(tmp_path / "drawn/frog.png")
    labels = SparseLabels(tmp_path / "drawn")
    labels.follow(photos, ["frog.jpg", "newt.jpg"])
    assert "newt.jpg" not in labels
    assert labels.problems == [f"labels of no picture in {photos}, 1: {folder}/newt.jpg"]


@pytest.mark.parametrize("with_map", [True, False])
def test_files_of_several_tools_in_one_folder_are_all_used(tmp_path: Path, photos: Path, with_map: bool) -> None:
    folder = labelme(tmp_path / "drawn")
    sides = "<xmin>5</xmin><ymin>10</ymin><xmax>45</xmax><ymax>50</ymax>"
    objects = f"<object><name>frog</name><bndbox>{sides}</bndbox></object>"
    (folder / "frog.xml").write_text(f"<annotation><filename>frog.jpg</filename>{objects}</annotation>")
    (folder / "newt.txt").write_text("0 0.5 0.5 0.5 0.5\n0 0.5 half 0.5 0.5\n")
    if with_map:
        strokes((0, 1, 2), "L").save(folder / "newt.png")
    names = ["frog.jpg", "newt.jpg", "pond/toad.jpg"]
    labels = SparseLabels(folder)
    labels.follow(photos, names)
    assert [labels.read(name, SHAPE).boxes.tolist() for name in names] == [
        [[5, 10, 45, 50]],
        [[20, 15, 60, 45]],
        [[5, 10, 45, 50]],
    ]
    assert ["newt.txt, line 2" in problem for problem in labels.problems] == [True]


def test_boxes_of_one_picture_in_pixels_and_in_fractions_are_told(tmp_path: Path, photos: Path) -> None:
    labelme_box(tmp_path / "drawn/frog.json", (5, 10, 45, 50), "frog.jpg")
    (tmp_path / "drawn/frog.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    labels = SparseLabels(tmp_path / "drawn")
    labels.follow(photos, ["frog.jpg"])
    assert labels.read("frog.jpg", SHAPE).boxes.tolist() == [[5, 10, 45, 50]]
    assert labels.problems == ["not used: marks for frog.jpg in pixels and in fractions"]


def test_labels_of_yolo_below_folders_of_splits(tmp_path: Path) -> None:
    boxes = {"train/a.jpg": "0.25 0.25 0.5 0.5", "val/a.jpg": "0.75 0.75 0.5 0.5"}
    for name, box in boxes.items():
        for part, suffix in (("images", ".jpg"), ("labels", ".txt")):
            path = (tmp_path / part / name).with_suffix(suffix)
            path.parent.mkdir(parents=True)
            if part == "images":
                Image.new("RGB", SHAPE[::-1]).save(path)
            else:
                path.write_text(f"0 {box}\n")
    labels = SparseLabels(tmp_path)
    labels.follow(tmp_path / "images", list(boxes))
    found = {name: labels._marks[name]["boxes"] for name in boxes}
    assert found == {"train/a.jpg": [[0, 0, 0.5, 0.5]], "val/a.jpg": [[0.5, 0.5, 1, 1]]}


def cvat(folder: Path) -> Path:
    folder.mkdir()
    (folder / "a.xml").write_text(
        """<annotations><image id="0" name="pond/toad.jpg" width="80" height="60">
        <polyline label="frog" points="10,21;39,21"/><polyline label="background" points="50,6;69,6"/>
        <points label="frog" points="20.5,40.2"/><box label="frog" xtl="5" ytl="10" xbr="45" ybr="50"/>
        </image></annotations>"""
    )
    return folder / "a.xml"


def scribblesup(folder: Path) -> Path:
    folder.mkdir()
    rows = (("frog", (10, 21), (39, 21)), ("background", (50, 6), (69, 6)), ("frog", (20, 40), (20, 40)))
    points = "".join(
        f"<polygon><tag>{tag}</tag>{''.join(f'<point><X>{x}</X><Y>{y}</Y></point>' for x, y in ends)}</polygon>"
        for tag, *ends in rows
    )
    sides = "<xmin>5</xmin><ymin>10</ymin><xmax>45</xmax><ymax>50</ymax>"
    box = f"<object><name>frog</name><bndbox>{sides}</bndbox></object>"
    (folder / "toad.xml").write_text(f"<annotation><filename>toad.jpg</filename>{points}{box}</annotation>")
    return folder


@pytest.mark.parametrize("write", [labelme, cvat, scribblesup])
def test_strokes_points_and_boxes_of_other_tools(tmp_path: Path, photos: Path, write: Callable[[Path], Path]) -> None:
    source = write(tmp_path / "drawn")
    out = tmp_path / "out"
    assert main(["data", "import-labels", str(source), "--images", str(photos), "--out", str(out)]) == 0
    codes = codes_of(out / "pond/toad.png")
    assert (codes[20:23, 10:40] == 1).all()
    assert codes[40, 20] == 1
    assert (codes[5:8, 50:70] == 2).all()
    assert (out / "boxes.csv").read_text() == "name,x0,y0,x1,y1\npond/toad.jpg,5,10,45,50\n"
    label = SparseLabels(out).read("pond/toad.jpg", SHAPE)
    assert label.kind == "box"
    assert label.codes[40, 20] == 1
    assert label.codes[55, 75] == 2  # outside of the box
    direct = SparseLabels(source)
    direct.follow(photos, ["frog.jpg", "pond/toad.jpg", "newt.jpg"])
    assert "newt.jpg" not in direct
    np.testing.assert_array_equal(direct.read("pond/toad.jpg", SHAPE).codes, label.codes)


@pytest.mark.parametrize("kind", ["polygon", "rectangle", "linestrip", "point"])
def test_marks_of_another_size_of_the_picture_are_told(tmp_path: Path, photos: Path, kind: str) -> None:
    points = {"polygon": [[10, 20], [40, 20], [40, 50]], "point": [[10, 20]]}.get(kind, [[10, 20], [40, 50]])
    (tmp_path / "lm").mkdir()
    for name, scale in (("frog", 2), ("newt", 1)):
        height, width = (scale * side for side in SHAPE)
        shape = {"label": "frog", "points": points, "shape_type": kind}
        raw = {"imagePath": f"{name}.jpg", "imageHeight": height, "imageWidth": width, "shapes": [shape]}
        (tmp_path / f"lm/{name}.json").write_text(json.dumps(raw))
    *_, (state, _) = import_labels(tmp_path / "lm", photos, tmp_path / "out")
    assert state.pictures == 1
    (problem,) = state.problems
    assert problem.endswith("frog.jpg: annotated as 160 x 120, the picture is 80 x 60")


def test_a_map_and_a_table_are_used_together(tmp_path: Path) -> None:
    strokes((0, 1, 2), "L").save(tmp_path / "frog.png")
    (tmp_path / "points.csv").write_text("name;x;y;label\nfrog.jpg;5;55;1\n")
    label = SparseLabels(tmp_path).read("frog.jpg", SHAPE)
    assert label.codes[55, 5] == 1
    assert (label.codes == 1).sum() == 91


def test_colours_of_the_command_line() -> None:
    assert parse_colour("red") == parse_colour("#ff0000") == parse_colour("255,0,0") == RED
    assert parse_colour("128") == (128, 128, 128)
    for wrong in ("reddish", "1,2", "300", ""):
        with pytest.raises(UsageError, match="expected a colour"):
            parse_colour(wrong)


def test_soft_edges_are_left_open(tmp_path: Path) -> None:
    strokes(((0, 0, 0), RED, (128, 0, 0)), "RGB").save(tmp_path / "frog.png")
    codes = read_label_map(tmp_path / "frog.png", SHAPE, {RED: 1, BLUE: 2})
    assert (codes == 1).sum() == 90
    assert (codes == 2).sum() == 0


def codes_map(folder: Path, values: dict[int, int], name: str = "frog.png") -> Path:
    """A map with so many pixels of each value, 0 elsewhere."""
    codes = np.zeros(SHAPE[0] * SHAPE[1], np.uint8)
    codes[: sum(values.values())] = np.repeat(list(values), list(values.values()))
    folder.mkdir(exist_ok=True)
    Image.fromarray(codes.reshape(SHAPE)).save(folder / name)
    return folder / name


@pytest.mark.parametrize(
    ("values", "colours", "expected"),
    [
        ({1: 55, 2: 20}, {2: 1, 1: 2}, [4725, 20, 55]),
        ({1: 55, 2: 20}, {1: 1}, [4745, 55, 0]),
        ({1: 55}, {2: 1, 1: 2}, [4745, 0, 55]),
        ({3: 55, 12: 20}, {15: 1, 0: 2}, [75, 0, 4725]),
        ({60: 50, 90: 30, 120: 20}, {60: 1, 120: 2}, [4730, 50, 20]),
        ({127: 50, 255: 30}, {255: 1, 128: 2}, [4720, 30, 50]),
        ({254: 50}, {255: 1}, [4750, 50, 0]),
    ],
)
def test_a_named_code_is_no_other_one(
    tmp_path: Path, values: dict[int, int], colours: dict[int, int], expected: list[int]
) -> None:
    named = {(value, value, value): code for value, code in colours.items()}
    codes = read_label_map(codes_map(tmp_path, values), SHAPE, named)
    assert np.bincount(codes.ravel(), minlength=3).tolist() == expected


@pytest.mark.parametrize(
    ("colours", "expected"),
    [
        ({2: 1, 1: 2}, [4780, 10, 10]),
        ({5: 1, 0: 2}, [990, 10, 3800]),
        ({70: 1}, [4790, 10, 0]),
        ({110: 1}, [4800, 0, 0]),
    ],
)
def test_a_named_code_is_no_other_one_of_a_hundred(
    tmp_path: Path, colours: dict[int, int], expected: list[int]
) -> None:
    path = codes_map(tmp_path, dict.fromkeys(range(1, 101), 10))
    count = ColourCount({(value, value, value): code for value, code in colours.items()})
    codes = read_label_map(path, SHAPE, count.colours, count)
    assert np.bincount(codes.ravel(), minlength=3).tolist() == expected
    assert len(count.missing()) == (110 in colours)


def test_a_named_colour_has_soft_edges_and_those_that_jpeg_leaves(tmp_path: Path) -> None:
    ramp = np.zeros((*SHAPE, 3), np.uint8)
    ramp[..., 0] = np.linspace(0, 255, SHAPE[1]).astype(np.uint8)
    Image.fromarray(ramp).save(tmp_path / "soft.png")
    taken = read_label_map(tmp_path / "soft.png", SHAPE, {RED: 1})
    np.testing.assert_array_equal(taken == 1, ramp[..., 0] >= 215)
    strokes(((255, 255, 255), RED, BLUE), "RGB").save(tmp_path / "a.jpg", quality=95, subsampling=0)
    codes = read_label_map(tmp_path / "a.jpg", SHAPE, {RED: 1, BLUE: 2})
    assert (codes[20:23, 10:40] == 1).all()
    assert (codes[5:8, 50:70] == 2).all()
    strokes((0, 1, 2), "L").save(tmp_path / "b.jpg")
    with pytest.raises(DataError, match=r"lossless file of the codes 2, 1 at .*b\.jpg"):
        read_label_map(tmp_path / "b.jpg", SHAPE, {(2, 2, 2): 1, (1, 1, 1): 2})
