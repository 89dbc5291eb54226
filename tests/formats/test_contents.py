"""What several files of one folder hold together, and which files count."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vns_sam.data.sparse import SparseLabels
from vns_sam.formats import cvat, voc
from vns_sam.formats.annotation import Contents, Described, Shape
from vns_sam.formats.recognise import masks_in, read_annotations
from vns_sam.formats.registry import save
from vns_sam.images.windows import mask_boxes
from vns_sam.prompts.files import read_prompt_file
from vns_sam.types import Prediction


def contents(categories: dict[int, str], *shapes: tuple[str, int | None]) -> Contents:
    drawn = tuple(Shape(label, category) for label, category in shapes)
    return Contents("COCO file", [Described("a.jpg", (4, 4), drawn)], dict(categories))


def label_studio(name: str, label: str) -> str:
    value = {"x": 10, "y": 10, "width": 20, "height": 20, "rectanglelabels": [label]}
    region = {"original_width": 80, "original_height": 60, "value": value}
    return json.dumps([{"data": {"image": name}, "annotations": [{"result": [region]}]}])


def coco(name: str, number: int, label: str) -> str:
    raw: dict[str, Any] = {
        "images": [{"id": 1, "file_name": name, "height": 60, "width": 80}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": number, "bbox": [1, 2, 3, 4]}],
        "categories": [{"id": number, "name": label}],
    }
    return json.dumps(raw)


@pytest.mark.parametrize(
    ("first", "second", "joined", "numbers"),
    [
        ({1: "cat"}, {1: "dog"}, {1: "cat", 2: "dog"}, {1: 2}),
        ({1: "cat"}, {2: "cat"}, {1: "cat"}, {2: 1}),
        ({1: "cat"}, {3: "dog"}, {1: "cat", 3: "dog"}, {3: 3}),
        ({1: "cat"}, {1: "dog", 2: "fox"}, {1: "cat", 2: "fox", 3: "dog"}, {1: 3, 2: 2}),
        ({1: "cat", 2: "cat"}, {2: "cat", 1: "dog"}, {1: "cat", 2: "cat", 3: "dog"}, {2: 2, 1: 3}),
        ({1: "cat"}, {1: "dog", 5: "dog"}, {1: "cat", 5: "dog"}, {1: 5, 5: 5}),
        ({}, {0: "cat"}, {0: "cat"}, {0: 0}),
    ],
)
def test_classes_of_two_files_are_joined_by_name(
    first: dict[int, str], second: dict[int, str], joined: dict[int, str], numbers: dict[int, int]
) -> None:
    found = contents(first, *((name, number) for number, name in first.items()))
    found.add(contents(second, *((name, number) for number, name in second.items()), ("", 99)))
    assert found.categories == joined
    mine, other = (picture.shapes for picture in found.pictures)
    assert [shape.category for shape in mine] == list(first)
    assert [shape.category for shape in other] == [*(numbers[number] for number in second), None]
    assert all(joined[shape.category] == shape.label for shape in (*mine, *other) if shape.category is not None)


@pytest.mark.parametrize("write", [label_studio, lambda name, label: coco(name, 1, label)])
def test_files_that_number_by_themselves_give_each_class_a_number(tmp_path: Path, write: Any) -> None:
    for letter, label in zip("abcd", ("cat", "dog", "fox", "cat"), strict=True):
        (tmp_path / f"{letter}.json").write_text(write(f"{letter}.jpg", label))
    found = read_annotations(tmp_path)
    assert found.categories == {1: "cat", 2: "dog", 3: "fox"}
    assert [picture.shapes[0].label for picture in found.pictures] == ["cat", "dog", "fox", "cat"]


def test_a_folder_of_our_own_outlines_is_read(tmp_path: Path) -> None:
    mask = np.zeros((1, 20, 30), bool)
    mask[0, 4:9, 6:16] = True
    for stem in ("a", "b"):
        found = Prediction(mask, mask * 2.0 - 1, np.ones(1, np.float32), None, mask_boxes(mask), classes=("frog",))
        save(found, tmp_path / f"{stem}_mask.geojson", name=f"{stem}.jpg")
    (tmp_path / "manifest.jsonl").write_text("{}\n")
    Image.new("RGB", (30, 20)).save(tmp_path / "a_overlay.jpg")
    table = read_prompt_file(tmp_path)
    assert table.kind == "GeoJSON file"
    assert table.entries == {f"{stem}.jpg": {"boxes": [[6, 4, 16, 9]], "classes": ["frog"]} for stem in ("a", "b")}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.geojson", json.dumps({"type": "FeatureCollection", "features": []})),
        ("a.tsv", "name\tx0\ty0\tx1\ty1\na.jpg\t1\t2\t3\t4\n"),
    ],
)
def test_pictures_beside_annotations_are_no_masks(tmp_path: Path, name: str, text: str) -> None:
    Image.new("RGB", (30, 20)).save(tmp_path / "a.jpg")
    assert masks_in(tmp_path) == [tmp_path / "a.jpg"]
    (tmp_path / name).write_text(text)
    assert masks_in(tmp_path) == []
    assert read_annotations(tmp_path).problems == []


def test_outlines_beside_maps_are_labels(tmp_path: Path) -> None:
    codes = np.zeros((20, 30), np.uint8)
    codes[0, 0] = 2
    Image.fromarray(codes).save(tmp_path / "a.png")
    ring = [[6, 4], [16, 4], [16, 9], [6, 9], [6, 4]]
    geometry = {"type": "Polygon", "coordinates": [ring]}
    feature = {"type": "Feature", "geometry": geometry, "properties": {"image": "a.jpg"}}
    (tmp_path / "a.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    read = SparseLabels(tmp_path).read("a.jpg", (20, 30))
    assert (read.codes[0, 0], (read.codes == 1).sum()) == (2, 50)


@pytest.mark.parametrize(
    ("side", "size"), [("30", (20, 30)), ("", None), ("0", None), ("-3", None), ("3" * 5000, None)]
)
def test_a_size_that_is_none_is_not_known(side: str, size: tuple[int, int] | None) -> None:
    voc_ = f"<annotation><filename>a</filename><size><height>20</height><width>{side}</width></size></annotation>"
    cvat_ = f'<annotations><image name="a" height="20" width="{side}"/></annotations>'
    assert voc.read(voc_.encode(), "a.xml").pictures[0].size == size
    assert cvat.read(cvat_.encode(), "a.xml").pictures[0].size == size
