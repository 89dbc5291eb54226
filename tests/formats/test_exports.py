"""Exports as annotators unpack them: crowds that are none, files without names, folders that tell no picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vns_sam.errors import DataError
from vns_sam.formats import coco, yolo
from vns_sam.prompts.files import read_prompt_file

POLYGON = {"segmentation": [[1, 1, 9, 1, 9, 7]], "iscrowd": 0}
BRUSH = {"segmentation": {"size": [9, 9], "counts": [9, 9, 63]}, "bbox": [1, 0, 1, 9], "iscrowd": 1}
VOC = """<annotation><filename>frog.jpg</filename><size><width>9</width><height>9</height></size><object>
<name>frog</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>5</xmax><ymax>5</ymax></bndbox></object></annotation>"""


def write(path: Path, content: Any) -> Path:
    """A file of text, or of JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def coco_file(*annotations: dict[str, Any]) -> dict[str, Any]:
    rows = [{"id": number, "image_id": 1, "category_id": 1, **row} for number, row in enumerate(annotations)]
    images = [{"id": 1, "file_name": "a.jpg", "height": 9, "width": 9}]
    return {"images": images, "annotations": rows, "categories": [{"id": 1, "name": "frog"}]}


def test_crowds_of_coco_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    mixed = coco.read(json.dumps(coco_file(BRUSH, POLYGON, BRUSH)).encode(), "c.json")
    assert (len(mixed.pictures[0].shapes), mixed.problems) == (1, [])
    assert caplog.text.count("c.json: 2 annotation(s) with 'iscrowd' are left out") == 1
    with pytest.raises(DataError, match=r"without objects; .*: 1 annotation\(s\) with 'iscrowd' are left out"):
        read_prompt_file(write(tmp_path / "c.json", coco_file(BRUSH)))


def qupath(x: int, **properties: str) -> dict[str, Any]:
    geometry = {"type": "Polygon", "coordinates": [[[x, 1], [9, 1], [9, 7], [x, 1]]]}
    return {"type": "FeatureCollection", "features": [{"properties": properties, "geometry": geometry}]}


def test_a_folder_of_files_without_names_is_about_pictures_of_their_stems(tmp_path: Path) -> None:
    write(tmp_path / "frog.geojson", qupath(2))
    write(tmp_path / "sub" / "owl.geojson", qupath(3))
    table = read_prompt_file(tmp_path)
    matched = table.in_folder(tmp_path / "photos", ["frog.jpg", "sub/owl.png"])
    boxes = {name: entry["boxes"] for name, entry in matched.prompts.items()}
    assert (boxes, matched.lost) == ({"frog.jpg": [[2, 1, 9, 7]], "sub/owl.png": [[3, 1, 9, 7]]}, ())
    assert table.for_picture(tmp_path / "toad.jpg") is None


def test_a_file_without_names_is_about_the_picture_of_its_stem(tmp_path: Path) -> None:
    table = read_prompt_file(write(tmp_path / "frog.geojson", qupath(2)))
    assert list(table.in_folder(tmp_path, ["frog.jpg", "owl.jpg"]).prompts) == ["frog.jpg"]
    with pytest.raises(DataError, match=r"frog\.geojson names no picture, and none in .* is called frog"):
        table.in_folder(tmp_path, ["owl.jpg"])
    assert table.for_picture(tmp_path / "owl.jpg") == {"boxes": [[2, 1, 9, 7]]}
    both = qupath(2)
    both["features"] += qupath(3, image="owl.jpg")["features"]
    table = read_prompt_file(write(tmp_path / "toad.geojson", both))
    assert sorted(table.in_folder(tmp_path, ["toad.jpg", "owl.jpg"]).prompts) == ["owl.jpg", "toad.jpg"]


def test_a_mask_is_about_the_picture_that_its_name_tells(tmp_path: Path) -> None:
    Image.new("L", (9, 9), 255).save(tmp_path / "frog_mask.png")
    matched = read_prompt_file(tmp_path / "frog_mask.png").in_folder(tmp_path, ["frog.jpg", "owl.jpg"])
    assert list(matched.prompts) == ["frog.jpg"]


@pytest.mark.parametrize(
    ("line", "corners"),
    [
        ("0 0.1 0.1 0.2 0.1 0.2 0.3 0.91", [[0.1, 0.1], [0.2, 0.1], [0.2, 0.3]]),
        ("0 0.1 0.1 0.2 0.1 0.2 0.3 0.1 0.3 0.91", [[0.1, 0.1], [0.2, 0.1], [0.2, 0.3], [0.1, 0.3]]),
        ("0 0 0 1 0 1 1 0 1 0 0", [[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]),
        ("0 0.5 0.5 0.2 0.2 0.91", None),
        ("0 0.5 0.5 0.2 0.2 0.91 1", None),
        ("0 0.5 0.5 0.2 0.2 0.91 17", None),
        ("0 0.2 0.9 0.6 0.9 0.4 1", [[0.2, 0.9], [0.6, 0.9], [0.4, 1]]),
    ],
)
def test_predictions_of_yolo_have_confidences_and_tracks(line: str, corners: list[list[float]] | None) -> None:
    (shape,), problems = yolo.read_labels(line, "a.txt", yolo.SetFile())
    assert problems == []
    if corners is None:
        np.testing.assert_allclose(shape.bounds() or (), (0.4, 0.4, 0.6, 0.6))
    else:
        assert isinstance(shape.outline, tuple)
        np.testing.assert_allclose(shape.outline[0], corners)


def test_key_points_of_yolo_are_no_polygon_with_a_confidence() -> None:
    shapes, problems = yolo.read_labels("0 0.5 0.5 0.2 0.2 0.4 0.4 1", "a.txt", yolo.SetFile())
    assert (shapes, problems) == (
        (),
        ["a.txt, line 1: a box and key points, expected 'kpt_shape' in data.yaml beside them"],
    )


def record(task: int, picture: str, *places: float, **more: str) -> dict[str, Any]:
    """A task of JSON-MIN as one annotator left it: rectangles at these places."""
    boxes = [{"x": x, "y": 10, "width": 10, "height": 10, "original_width": 100, "original_height": 50} for x in places]
    address = f"/data/upload/1/0123abcd-{picture}"
    return {"image": address, "id": task, **({"label": boxes} if boxes else {}), "annotation_id": 5, **more}


def test_a_task_of_json_min_may_be_empty(tmp_path: Path) -> None:
    table = read_prompt_file(write(tmp_path / "min.json", [record(1, "frog.jpg", 20), record(2, "owl.jpg")]))
    assert {name: entry["boxes"] for name, entry in table.entries.items()} == {"frog.jpg": [[20, 5, 30, 10]]}


@pytest.mark.parametrize("reverse", [False, True])
def test_of_two_annotators_of_json_min_the_last_one_counts(tmp_path: Path, reverse: bool) -> None:
    first = record(1, "frog.jpg", 20, updated_at="2026-01-02T10:00:00.5Z")
    last = record(1, "frog.jpg", 22, updated_at="2026-01-03T09:00:00.5Z")
    records = [record(2, "owl.jpg", 1), *((last, first) if reverse else (first, last))]
    entries = read_prompt_file(write(tmp_path / "min.json", records)).entries
    assert {name: entry["boxes"] for name, entry in entries.items()} == {
        "owl.jpg": [[1, 5, 11, 10]],
        "frog.jpg": [[22, 5, 32, 10]],
    }


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("Annotations/frog.xml", VOC),
        ("annotations/instances_default.json", coco_file(POLYGON)),
    ],
    ids=["VOC", "COCO of CVAT"],
)
@pytest.mark.parametrize("folder", ["", "pictures"])
def test_the_root_of_an_export_is_about_its_pictures(tmp_path: Path, file: str, content: Any, folder: str) -> None:
    write(tmp_path / file, content)
    name = "frog.jpg" if file.endswith("xml") else "a.jpg"
    names = [name, "b.jpg"] if folder else [f"pictures/{name}", "pictures/b.jpg"]
    matched = read_prompt_file(tmp_path).in_folder(tmp_path / folder, names)
    assert (list(matched.prompts), matched.lost) == ([names[0]], ())


def test_other_annotations_of_a_set_with_splits_go_before_yolo(tmp_path: Path) -> None:
    write(tmp_path / "train" / "labels" / "frog.xml", VOC)
    assert [*read_prompt_file(tmp_path).entries] == ["train/labels/frog.jpg"]
    write(tmp_path / "train" / "labels" / "a.txt", "0 0.5 0.5 0.2 0.2\n")
    write(tmp_path / "coco.json", coco_file(POLYGON))
    assert [*read_prompt_file(tmp_path).entries] == ["a.jpg"]


@pytest.mark.parametrize(
    ("folder", "names"),
    [("", ["train/images/a.jpg", "valid/images/a.jpg"]), ("train/images", ["a.jpg"]), ("valid", ["images/a.jpg"])],
)
def test_the_root_of_a_yolo_set_with_splits_is_about_their_pictures(
    tmp_path: Path, folder: str, names: list[str]
) -> None:
    write(tmp_path / "data.yaml", "names: [frog, owl]\n")
    write(tmp_path / "README.dataset.txt", "frogs and owls\n")
    for split in ("train", "valid"):
        write(tmp_path / split / "labels" / "a.txt", f"{int(split == 'train')} 0.5 0.5 0.2 0.2\n")
    table = read_prompt_file(tmp_path)
    assert (table.problems, table.categories) == ([], {1: "frog", 2: "owl"})
    found = table.in_folder(tmp_path / folder, names).prompts
    classes = {name: ["owl"] if "train" in f"{folder}/{name}" else ["frog"] for name in names}
    assert {name: entry["classes"] for name, entry in found.items()} == classes
