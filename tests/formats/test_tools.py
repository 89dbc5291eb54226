"""What other tools write: each test holds a file as the tool leaves it, and what it means there."""

from __future__ import annotations

import codecs
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vns_sam.errors import DataError
from vns_sam.formats import coco, cvat, geojson, labelstudio, voc, yolo
from vns_sam.formats.annotation import Contents
from vns_sam.formats.recognise import read_file
from vns_sam.formats.text import parse_xml

SIZE = {"original_width": 1000, "original_height": 500}


def read_task(*regions: dict[str, Any], **data: str) -> Contents:
    """A task of Label Studio with one annotation, read."""
    task = {"data": data or {"image": "a.jpg"}, "annotations": [{"result": list(regions)}]}
    return labelstudio.read(json.dumps([task]).encode(), "t.json")


@pytest.mark.parametrize(
    ("value", "bounds"),
    [
        ({"x": 10, "y": 10, "width": 40, "height": 4, "rotation": 90}, (80, 50, 100, 450)),
        ({"x": 50, "y": 50, "radiusX": 10, "radiusY": 2, "rotation": 90}, (490, 150, 510, 350)),
        ({"x": 10, "y": 10, "width": 40, "height": 4, "rotation": 0}, (100, 50, 500, 70)),
    ],
)
def test_label_studio_turns_in_pixels(value: dict[str, Any], bounds: tuple[float, ...]) -> None:
    (shape,) = read_task({**SIZE, "value": value}).pictures[0].shapes
    np.testing.assert_allclose(shape.bounds() or (), bounds)


PLACE = {**SIZE, "x": 10, "y": 10, "width": 40, "height": 4, "rotation": 0}
OTHER = {**PLACE, "x": 20}


def region(name: str, kind: str, **value: Any) -> dict[str, Any]:
    return {**SIZE, **({"id": name} if name else {}), "type": kind, "value": value}


def test_a_region_of_several_controls_is_one_object() -> None:
    found = read_task(
        region("q", "rectangle", **PLACE),
        region("q", "labels", **PLACE, labels=["Text"]),
        region("q", "textarea", **PLACE, text=["ribbit"]),
        region("r", "labels", **OTHER, labels=["Title"]),
        region("", "rectanglelabels", **PLACE, rectanglelabels=["frog"]),
        region("", "rectanglelabels", **PLACE, rectanglelabels=["toad"]),
    )
    assert found.problems == []
    assert [shape.label for shape in found.pictures[0].shapes] == ["Text", "Title", "frog", "toad"]


def test_a_region_of_several_controls_is_one_object_in_json_min() -> None:
    task = {
        "image": "a.jpg",
        "bbox": [PLACE, PLACE, OTHER],
        "label": [{**PLACE, "labels": ["Text"]}, {**PLACE, "labels": ["Stamp"]}, {**OTHER, "labels": ["Title"]}],
        "transcription": ["ribbit", "croak"],
    }
    (picture,) = labelstudio.read(json.dumps([task]).encode(), "t.json").pictures
    assert [shape.label for shape in picture.shapes] == ["Text", "Stamp", "Title"]


def test_what_is_not_read_of_label_studio_is_told_and_words_about_the_picture_are_not() -> None:
    vector = region("v", "vectorlabels", vertices=[{"x": 1, "y": 2}], vectorlabels=["frog"])
    words = {"id": "w", "type": "choices", "value": {"choices": ["wet"]}}
    found = read_task(vector, words, region("q", "rectanglelabels", **PLACE, rectanglelabels=["frog"]))
    assert len(found.pictures[0].shapes) == 1
    assert found.problems == ["t.json: task 0: ValueError a region of the kind 'vectorlabels', which is not read"]


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ({"image": "s3://b/20240131-frog.jpg"}, "20240131-frog.jpg"),
        ({"image": "sub/1b4e28ba-2fa1-11d2.jpg"}, "sub/1b4e28ba-2fa1-11d2.jpg"),
        ({"image": "/data/upload/1/1b4e28ba-frog.jpg"}, "frog.jpg"),
        ({"image": "https://host/base/data/upload/1/1b4e28ba-20240131-frog.jpg"}, "20240131-frog.jpg"),
        ({"caption": "Dr. Smith", "image": "https://host/frog.JPG?token=a.b"}, "frog.JPG"),
        ({"caption": "Dr. Smith", "image": "/data/local-files/?d=sub/frog.jpg"}, "sub/frog.jpg"),
        ({"link": "http://[half.jpg", "image": "frog.jpg"}, "frog.jpg"),
        ({"image": "frog.dcm", "caption": "Dr. Smith"}, "frog.dcm"),
        ({"caption": "a frog"}, None),
    ],
)
def test_pictures_of_label_studio_keep_their_names(data: dict[str, str], name: str | None) -> None:
    found = read_task(**data)
    assert [picture.name for picture in found.pictures] == ([name] if name else [])


def read_cvat(shapes: str) -> Contents:
    """A file of CVAT with one picture, read."""
    text = f'<annotations><image name="a.jpg" width="1000" height="500">{shapes}</image></annotations>'
    return cvat.read(text.encode(), "a.xml")


@pytest.mark.parametrize(
    ("entry", "bounds"),
    [
        ('<box xtl="100" ytl="200" xbr="500" ybr="220" rotation="90.00"/>', (290, 10, 310, 410)),
        ('<box xtl="100" ytl="200" xbr="500" ybr="220"/>', (100, 200, 500, 220)),
        ('<ellipse cx="300" cy="200" rx="200" ry="10" rotation="90.00"/>', (290, 0, 310, 400)),
        ('<ellipse cx="300" cy="200" rx="200" ry="10"/>', (100, 190, 500, 210)),
    ],
)
def test_cvat_turns_about_the_middle(entry: str, bounds: tuple[float, ...]) -> None:
    found = read_cvat(entry)
    assert found.problems == []
    (shape,) = found.pictures[0].shapes
    np.testing.assert_allclose(shape.bounds() or (), bounds, atol=1e-9)


def test_what_is_not_read_of_cvat_is_told() -> None:
    box = '<box label="frog" xtl="1" ytl="2" xbr="3" ybr="4"/>'
    skeleton = '<skeleton label="frog"><points label="eye" points="1,2"/><points label="leg" points="3,4"/></skeleton>'
    found = read_cvat(f'{box}{skeleton}<cuboid label="box"/><tag label="wet"/>')
    assert len(found.pictures[0].shapes) == 1
    assert found.problems == [
        f"a.xml: a.jpg: {kind}: a kind of shape that is not read" for kind in ("skeleton", "cuboid")
    ]


def read_voc(inner: str) -> Contents:
    """A file of VOC, read."""
    return voc.read(f"<annotation><filename>a.jpg</filename>{inner}</annotation>".encode(), "a.xml")


BOX = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>7</ymax></bndbox>"
ROBOFLOW = "<polygon><x1>1</x1><y1>1</y1><x2>9</x2><y2>1</y2><x3>9</x3><y3>7</y3></polygon>"
CORNERS = "".join(f"<pt><x>{x}</x><y>{y}</y></pt>" for x, y in ((1, 1), (9, 1), (9, 7)))
LABELME = f"<polygon><username>me</username>{CORNERS}</polygon>"


@pytest.mark.parametrize("inner", [BOX + ROBOFLOW, ROBOFLOW, LABELME, "<deleted>0</deleted>" + LABELME])
def test_a_polygon_of_voc_is_the_outline_of_its_object(inner: str) -> None:
    found = read_voc(f"<object><name>frog</name>{inner}</object><object><deleted>1</deleted>{inner}</object>")
    assert found.problems == []
    (shape,) = found.pictures[0].shapes
    assert (shape.label, shape.bounds(), shape.lines, shape.fault) == ("frog", (1, 1, 9, 7), (), "")
    assert isinstance(shape.outline, tuple)
    np.testing.assert_array_equal(shape.outline[0], [(1, 1), (9, 1), (9, 7)])


def test_a_broken_polygon_of_voc_leaves_the_box() -> None:
    broken = ROBOFLOW.replace("<y3>7</y3>", "")
    found = read_voc(f"<object>{BOX}{broken}</object><object>{broken}</object>")
    (shape,) = found.pictures[0].shapes
    assert (shape.box, shape.outline) == ((1, 1, 9, 7), None)
    assert shape.fault.startswith("a polygon of 2 corners")
    assert found.problems == ["a.xml: object 1: a polygon of 2 corners, expected 3 or more"]


@pytest.mark.parametrize("points", ["", "<point><X>1</X><Y>nan</Y></point>"])
def test_a_stroke_of_nothing_is_told(points: str) -> None:
    good = "<point><X>1</X><Y>2</Y></point>"
    found = read_voc("".join(f"<polygon><tag>frog</tag>{some}</polygon>" for some in (points, good)))
    (shape,) = found.pictures[0].shapes
    np.testing.assert_array_equal(shape.lines[0], [(1, 2)])
    assert [problem.startswith("a.xml: stroke 0: ") for problem in found.problems] == [True]


@pytest.mark.parametrize("kind", ["polyline", "points", "polygon"])
def test_coordinates_of_cvat_are_finite(kind: str) -> None:
    found = read_cvat(f'<{kind} points="1,2;nan,4;5,6"/>')
    assert found.pictures[0].shapes == ()
    assert found.problems == [f"a.xml: a.jpg: {kind}: coordinates that are not finite"]


def xml_named(name: str, declared: str) -> str:
    return f'<?xml version="1.0" encoding="{declared}"?>\n<annotation><filename>{name}</filename></annotation>'


@pytest.mark.parametrize(
    ("name", "declared", "encoding"),
    [
        ("café.jpg", "ISO-8859-1", "latin-1"),
        ("café.jpg", "utf-16", "utf-16"),
        ("café.jpg", "UTF-8", "utf-8"),
        ("café.jpg", "UTF-8", "utf-8-sig"),
        ("café.jpg", "latin-1", "utf-8-sig"),  # a mark is believed before the declaration
        ("café.jpg", "UTF-8", "cp1252"),  # as in files that declare nothing
        ("café.jpg", "utf-16", "utf-8"),  # what .NET writes of a text
        ("café.jpg", "no-such", "utf-8"),
        ("café.jpg", "hex", "utf-8"),
        ("联通青蛙.jpg", "GBK", "gbk"),
        ("蛙.jpg", "Shift_JIS", "shift_jis"),
        ("лягушка.jpg", "windows-1251", "cp1251"),
    ],
)
def test_xml_is_read_in_the_encoding_that_it_declares(name: str, declared: str, encoding: str) -> None:
    (picture,) = voc.read(xml_named(name, declared).encode(encoding), "a.xml").pictures
    assert picture.name == name


@pytest.mark.parametrize(
    "content",
    [
        xml_named("x", "GBK").encode().replace(b"x<", b"\xff\xff<"),
        xml_named("x", "utf-16").encode("utf-16") + b"\0",
        codecs.BOM_UTF16_LE + xml_named("x", "utf-16").encode("utf-16-le").replace(b"x\0<", b"\x00\xd8<"),
    ],
)
def test_xml_in_another_encoding_than_it_declares_is_told_in_one_line(content: bytes) -> None:
    with pytest.raises(DataError, match=r"a\.xml ") as told:
        voc.read(content, "a.xml")
    assert "\n" not in told.value.message


def test_half_a_character_in_xml_is_told_in_one_line() -> None:
    with pytest.raises(DataError, match=r"a\.xml is not XML") as told:
        parse_xml(xml_named("a\udc81", "utf-8"), "a.xml")
    assert "\n" not in told.value.message


@pytest.mark.parametrize(
    ("kpt_shape", "line", "kind"),
    [
        ("[2, 2]", "0 0.5 0.5 0.2 0.2 0.45 0.45 0.55 0.55", "box"),
        ("[2, 2]", "0 0.5 0.5 0.2 0.2 0.45 0.45 0.55 0.55 0.9", "box"),
        ("[2, 3]", "0 0.5 0.5 0.2 0.2 0.45 0.45 2 0.55 0.55 1", "box"),
        ("[2, 2]", "0 0.5 0.5 0.2 0.2", "box"),
        ("[2, 2]", "0 0.1 0.1 0.2 0.1 0.2 0.2", "polygon"),
        ("null", "0 0.5 0.5 0.2 0.2 0.45 0.45 0.55 0.55", "polygon"),
    ],
)
def test_labels_of_poses_are_boxes(tmp_path: Path, kpt_shape: str, line: str, kind: str) -> None:
    (tmp_path / "data.yaml").write_text(f"names: [frog]\nkpt_shape: {kpt_shape}\n")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/a.txt").write_text(line)
    for found in (yolo.read(tmp_path / "labels"), read_file(tmp_path / "labels/a.txt")):
        assert found.problems == []
        (shape,) = found.pictures[0].shapes
        assert shape.label == "frog"
        assert ("polygon" if shape.box is None else "box") == kind
        if kind == "box":
            np.testing.assert_allclose(shape.box or (), (0.4, 0.4, 0.6, 0.6))


@pytest.mark.parametrize("kpt_shape", ["17", "[17]", "[17, 4]", "[0, 2]", "[a, 2]", "{}"])
def test_a_wrong_kpt_shape_is_told(tmp_path: Path, kpt_shape: str) -> None:
    (tmp_path / "data.yaml").write_text(f"names: [frog]\nkpt_shape: {kpt_shape}\n")
    with pytest.raises(DataError, match=r"expected 'kpt_shape' in .*data\.yaml"):
        yolo.read(tmp_path)


@pytest.mark.parametrize(
    ("labels", "label"),
    [
        ("train/labels", "frog"),
        ("valid/labels", "frog"),
        ("labels/train", "frog"),
        ("labels/val2017", "frog"),
        ("labels", "frog"),
        ("other/labels", "0"),
    ],
)
def test_classes_of_yolo_are_beside_the_splits(tmp_path: Path, labels: str, label: str) -> None:
    (tmp_path / labels).mkdir(parents=True)
    (tmp_path / "data.yaml").write_text("names: [frog]\n")
    (tmp_path / labels / "a.txt").write_text("0 0.5 0.5 0.2 0.2")
    for found in (yolo.read(tmp_path / labels), read_file(tmp_path / labels / "a.txt")):
        assert [shape.label for shape in found.pictures[0].shapes] == [label]


def read_coco(image_id: Any, category_id: Any, categories: list[dict[str, Any]], image: Any = 1) -> Contents:
    """A file of COCO with one picture and one annotation, read."""
    annotation = {"id": 5, "image_id": image_id, "category_id": category_id, "bbox": [1, 2, 3, 4]}
    images = [{"id": image, "file_name": "a.jpg", "height": 9, "width": 9}]
    raw = {"images": images, "annotations": [annotation], "categories": categories}
    return coco.read(json.dumps(raw).encode(), "a.json")


@pytest.mark.parametrize(
    ("image", "image_id", "number", "category_id"), [(1, 1, 3, 3.0), (1, 1.0, 3.0, 3), (1.0, 1, 3.0, 3.0)]
)
def test_ids_of_coco_may_be_floats(image: float, image_id: float, number: float, category_id: float) -> None:
    found = read_coco(image_id, category_id, [{"id": number, "name": "frog"}], image)
    assert found.problems == []
    (shape,) = found.pictures[0].shapes
    assert (shape.label, shape.category, found.categories) == ("frog", 3, {3: "frog"})
    assert isinstance(shape.category, int)


@pytest.mark.parametrize("category_id", [9, 3.5, "3", [3]])
def test_an_unknown_category_of_coco_is_noted(category_id: Any, caplog: pytest.LogCaptureFixture) -> None:
    found = read_coco(1, category_id, [{"id": 3, "name": "frog"}])
    assert [shape.label for shape in found.pictures[0].shapes] == [""]
    assert found.problems == []  # the object is there, and nothing is left out
    assert f"a.json: no class is named for category id {category_id}" in caplog.text


def test_classes_of_coco_may_be_missing() -> None:
    assert read_coco(1, None, [{"id": 3, "name": "frog"}]).problems == []
    assert read_coco(1, 1, []).problems == []


@pytest.mark.parametrize(
    ("properties", "label"),
    [
        ({"objectType": "annotation", "classification": {"name": "Tumor", "color": [200, 0, 0]}}, "Tumor"),
        ({"class": "frog", "classification": {"name": "Tumor"}}, "frog"),
        ({"classification": None}, ""),
        ({"classification": {"color": [200, 0, 0]}}, ""),
    ],
)
def test_classes_of_qupath_are_read(properties: dict[str, Any], label: str) -> None:
    geometry = {"type": "Polygon", "coordinates": [[[1, 1], [9, 1], [9, 7], [1, 1]]]}
    raw = {"type": "FeatureCollection", "features": [{"properties": properties, "geometry": geometry}]}
    (picture,) = geojson.read(json.dumps(raw).encode(), "a.geojson").pictures
    assert [shape.label for shape in picture.shapes] == [label]
