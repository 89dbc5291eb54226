"""Prompts of many pictures in one file: every kind that other tools export, brought together with a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vns_sam.errors import DataError
from vns_sam.images.write import encode_image
from vns_sam.prompts.files import read_prompt_file
from vns_sam.prompts.validate import make_prompts

BOX = [10.0, 20.0, 40.0, 50.0]
HEIGHT, WIDTH = 60, 80


def write(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def entries(folder: Path, name: str, text: str | bytes) -> dict[str, Any]:
    return read_prompt_file(write(folder, name, text)).entries


def test_csv_gathers_the_boxes_of_a_picture(tmp_path: Path) -> None:
    rows = "a.jpg,1,2,3,4\n\nb.jpg,1,2,3,4\na.jpg, 5,6,7,8\n"
    for heading in ("name,x0,y0,x1,y1\n", "", "\n\nname,x0,y0,x1,y1\n", "\ufeffname,x0,y0,x1,y1\n"):
        found = entries(tmp_path, "p.csv", heading + rows)
        assert found == {"a.jpg": {"boxes": [[1, 2, 3, 4], [5, 6, 7, 8]]}, "b.jpg": {"boxes": [[1, 2, 3, 4]]}}


@pytest.mark.parametrize(
    "text",
    [
        "name,x0,y0,x1,y1,class\na.jpg,10,20,40,50,frog\n",
        "filename,width,height,class,xmin,ymin,xmax,ymax\na.jpg,80,60,frog,10,20,40,50\n",
        "image;left;top;right;bottom;label\na.jpg;10;20;40,0;50;frog\n",
        "file_name\tx\ty\tw\th\tcategory\na.jpg\t10\t20\t30\t30\tfrog\n",
        "image_path,x_center,y_center,width,height,class_name\na.jpg,25,35,30,30,frog\n",
        "image_id,x_min,y_min,x_max,y_max,label\na.jpg,10,20,40,50,frog\n",
        'image_id,bbox,label\na.jpg,"[10.0, 20.0, 30.0, 30.0]",frog\n',
        "a.jpg,10,20,40,50,frog\n",
    ],
)
def test_tables_with_the_usual_headings(tmp_path: Path, text: str) -> None:
    found = read_prompt_file(write(tmp_path, "p.csv", text))
    told = {"sizes": [[HEIGHT, WIDTH]]} if text.startswith("filename,width,height") else {}
    assert found.entries == {"a.jpg": {"boxes": [BOX], "classes": ["frog"], **told}}
    assert found.categories == {1: "frog"}


def test_corners_of_open_images_are_fractions_where_none_is_above_1(tmp_path: Path) -> None:
    heading = "ImageID,Source,LabelName,XMin,XMax,YMin,YMax\n"
    rows = "a,xclick,frog,0.125,0.5,0.25,1\nb,xclick,frog,0,1,0,1\n"
    found = entries(tmp_path, "p.csv", heading + rows)
    assert found["a"] == {"boxes": [[0.125, 0.25, 0.5, 1]], "classes": ["frog"], "fractions": True}
    prompts = make_prompts(HEIGHT, WIDTH, **found["a"])
    assert prompts.boxes is not None
    assert prompts.boxes.tolist() == [[10, 15, 40, 60]]
    found = entries(tmp_path, "p.csv", heading + rows + "c,xclick,frog,0,2,0,1\n")
    assert [entry.get("fractions") for entry in found.values()] == [None, None, None]


def test_the_western_code_page_and_utf_16(tmp_path: Path) -> None:
    text = "name,x0,y0,x1,y1\ngr\u00fcn.jpg,10,20,40,50\n"
    for encoding in ("cp1252", "utf-16", "utf-8-sig"):
        assert entries(tmp_path, "p.csv", text.encode(encoding)) == {"gr\u00fcn.jpg": {"boxes": [BOX]}}


def test_tables_of_points(tmp_path: Path) -> None:
    found = entries(tmp_path, "p.csv", "name,x,y,label\na.jpg,1,2,1\na.jpg,3,4,0\nb.jpg,5,6,1\n")
    assert found["a.jpg"] == {"points": [[[1, 2], [3, 4]]], "labels": [[1, 0]]}
    found = entries(tmp_path, "p.csv", "image,x,y,class\na.jpg,1,2,frog\na.jpg,3,4,owl\n")
    assert found["a.jpg"] == {"points": [[[1, 2]], [[3, 4]]], "labels": [[1], [1]], "classes": ["frog", "owl"]}


def test_json(tmp_path: Path) -> None:
    text = '{"a": {"points": [[[1, 2]]], "classes": ["frog"]}}'
    found = read_prompt_file(write(tmp_path, "p.json", text))
    assert found.entries == {"a": {"points": [[[1, 2]]], "classes": ["frog"]}}
    assert found.categories == {1: "frog"}


COCO = {
    "images": [{"id": 3, "file_name": "a.jpg", "height": HEIGHT, "width": WIDTH}],
    "annotations": [{"id": 1, "image_id": 3, "category_id": 7, "bbox": [10, 20, 30, 30]}],
    "categories": [{"id": 7, "name": "frog"}],
}
VOC = """<annotation><filename>a.jpg</filename><size><width>80</width><height>60</height></size><object>
<name>frog</name><bndbox><xmin>10</xmin><ymin>20</ymin><xmax>40</xmax><ymax>50</ymax></bndbox></object></annotation>"""
CVAT = """<?xml version="1.0" encoding="utf-8"?><annotations><version>1.1</version><meta><task><labels><label>
<name>frog</name></label></labels></task></meta><image id="0" name="a.jpg" width="80" height="60">
<box label="frog" xtl="10" ytl="20" xbr="40" ybr="50" z_order="0"/></image></annotations>"""
LABELME = {
    "version": "5.0",
    "shapes": [{"label": "frog", "points": [[40, 50], [10, 20]], "shape_type": "rectangle"}],
    "imagePath": "a.jpg",
    "imageHeight": HEIGHT,
    "imageWidth": WIDTH,
}
REGION = {
    "original_width": WIDTH,
    "original_height": HEIGHT,
    "type": "rectanglelabels",
    "value": {"x": 12.5, "y": 100 / 3, "width": 37.5, "height": 50, "rotation": 0, "rectanglelabels": ["frog"]},
}
LABEL_STUDIO = [{"data": {"image": "/data/upload/3/1f2e3d4c-a.jpg"}, "annotations": [{"result": [REGION]}]}]
LABEL_STUDIO_MIN = [{"image": "s3://bucket/a.jpg", "label": [{**REGION, **REGION["value"]}]}]  # type: ignore[dict-item]
YOLO = "0 0.3125 0.583333333 0.375 0.5\n"


@pytest.mark.parametrize(
    ("files", "read", "kind", "number"),
    [
        ({"p.json": json.dumps(COCO)}, "p.json", "COCO file", 7),
        ({"p.json": "\ufeff" + json.dumps(COCO)}, "p.json", "COCO file", 7),
        ({"a.xml": VOC}, "a.xml", "VOC file", 1),
        ({"voc/a.xml": VOC}, "voc", "folder of VOC files", 1),
        ({"p.xml": CVAT}, "p.xml", "CVAT file", 1),
        ({"a.json": json.dumps(LABELME)}, "a.json", "labelme file", 1),
        ({"lm/a.json": json.dumps(LABELME)}, "lm", "folder of labelme files", 1),
        ({"p.json": json.dumps(LABEL_STUDIO)}, "p.json", "Label Studio file", 1),
        ({"p.json": json.dumps(LABEL_STUDIO_MIN)}, "p.json", "Label Studio file", 1),
        ({"y/labels/a.txt": YOLO, "y/data.yaml": "names: [frog]"}, "y", "folder of YOLO labels", 1),
        ({"y/a.txt": YOLO, "y/classes.txt": "frog\n"}, "y", "folder of YOLO labels", 1),
        ({"y/a.txt": YOLO, "y/classes.txt": "frog\n"}, "y/a.txt", "file of YOLO labels", 1),
    ],
)
def test_exports_of_other_tools(tmp_path: Path, files: dict[str, str], read: str, kind: str, number: int) -> None:
    for name, text in files.items():
        write(tmp_path, name, text)
    table = read_prompt_file(tmp_path / read)
    assert table.kind == kind
    assert table.categories[number] == "frog"
    matched = table.in_folder(tmp_path / "photos", ["a.jpg", "b.jpg"])
    assert (list(matched.prompts), matched.lost, matched.unasked) == (["a.jpg"], (), ("b.jpg",))
    prompts = make_prompts(HEIGHT, WIDTH, **matched.prompts["a.jpg"])
    np.testing.assert_allclose(prompts.boxes, [BOX], atol=1e-3)
    assert prompts.classes == ("frog",)


SIZED = "filename,width,height,class,xmin,ymin,xmax,ymax\na.jpg,80,60,frog,10,20,40,50\n"
POINT = {"label": "frog", "points": [[10, 20]], "shape_type": "point"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("p.json", json.dumps(COCO)),
        ("a.xml", VOC),
        ("p.xml", CVAT),
        ("a.json", json.dumps(LABELME)),
        ("a.json", json.dumps({**LABELME, "shapes": [POINT]})),
        ("p.json", json.dumps(LABEL_STUDIO)),
        ("p.csv", SIZED),
    ],
)
def test_a_picture_of_another_size_than_was_annotated_is_refused(tmp_path: Path, name: str, text: str) -> None:
    photo = tmp_path / "a.jpg"
    Image.new("RGB", (WIDTH // 2, HEIGHT // 2)).save(photo)
    entry = read_prompt_file(write(tmp_path, name, text)).for_picture(photo)
    assert entry is not None
    with pytest.raises(DataError, match=r"^annotated as 80 x 60, the picture is 40 x 30$"):
        make_prompts(HEIGHT // 2, WIDTH // 2, **entry)
    assert make_prompts(HEIGHT, WIDTH, **entry).classes == ("frog",)


def test_fractions_and_sizes_of_nothing_fit_every_picture(tmp_path: Path) -> None:
    for name, text in (("a.txt", YOLO), ("p.csv", SIZED.replace(",80,60,", ",0,0,"))):
        entry = read_prompt_file(write(tmp_path, name, text)).in_folder(tmp_path, ["a.jpg"]).prompts["a.jpg"]
        assert make_prompts(HEIGHT * 2, WIDTH * 2, **entry).boxes is not None


def test_files_of_one_picture_with_and_without_its_size_are_joined(tmp_path: Path) -> None:
    write(tmp_path, "lm/a.json", json.dumps(LABELME))
    write(tmp_path, "lm/b.json", json.dumps({**LABELME, "imageHeight": None}))
    entry = read_prompt_file(tmp_path / "lm").entries["a.jpg"]
    assert entry == {"boxes": [BOX, BOX], "classes": ["frog", "frog"], "sizes": [[HEIGHT, WIDTH]]}


def test_outlines_are_asked_about_by_their_boxes(tmp_path: Path) -> None:
    shape = {"label": "frog", "points": [[10, 20], [40, 25], [15, 50]], "shape_type": "polygon"}
    assert entries(tmp_path, "a.json", json.dumps({**LABELME, "shapes": [shape]}))["a.jpg"]["boxes"] == [BOX]
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[20:50, 10:40] = True
    counts = [10 * HEIGHT + 20] + [30, 30] * 29 + [30, HEIGHT * WIDTH - 39 * HEIGHT - 50]
    runs = {"segmentation": {"size": [HEIGHT, WIDTH], "counts": counts}}
    raw = {**COCO, "annotations": [{"id": 1, "image_id": 3, "category_id": 7, **runs}]}
    assert entries(tmp_path, "p.json", json.dumps(raw))["a.jpg"]["boxes"] == [BOX]


def test_a_folder_of_masks_is_refined(tmp_path: Path) -> None:
    masks = [np.zeros((HEIGHT, WIDTH), bool) for _ in range(3)]
    for number, mask in enumerate(masks):
        mask[5 : 9 + number, 5:9] = True
    write(tmp_path, "m/a_mask_0.png", encode_image(masks[0]))
    write(tmp_path, "m/a_mask_1.png", encode_image(masks[1]))
    write(tmp_path, "m/sub/b.png", encode_image(masks[2]))
    table = read_prompt_file(tmp_path / "m")
    matched = table.in_folder(tmp_path / "photos", ["a.jpg", "sub/b.jpg"])
    assert matched.lost == ()
    prompts = make_prompts(HEIGHT, WIDTH, **matched.prompts["a.jpg"])
    np.testing.assert_array_equal(prompts.masks, np.stack(masks[:2]))
    alone = read_prompt_file(tmp_path / "m/sub/b.png").for_picture(tmp_path / "whatever.jpg")
    assert alone is not None
    np.testing.assert_array_equal(make_prompts(HEIGHT, WIDTH, **alone).masks, masks[2][None])


@pytest.mark.parametrize(
    ("files", "used"),
    [
        (["frog_mask.png", "frog_alpha.png", "frog_indexed.png", "frog_cutout.png", "frog.png"], ["frog_mask.png"]),
        (["frog_mask_0.png", "frog_mask_1.png", "frog_alpha.png"], ["frog_mask_0.png", "frog_mask_1.png"]),
        (["frog_indexed.png", "frog_alpha.png", "frog_cutout.png"], ["frog_indexed.png"]),
        (["frog_cutout_0.png", "frog_alpha_0.png", "frog_alpha_1.png"], ["frog_alpha_0.png", "frog_alpha_1.png"]),
        (["frog_alpha.png"], ["frog_alpha.png"]),
    ],
)
def test_an_object_in_several_kinds_of_files_is_asked_about_once(
    tmp_path: Path, files: list[str], used: list[str]
) -> None:
    for name in files:
        write(tmp_path, name, encode_image(np.ones((HEIGHT, WIDTH), bool)))
    (entry,) = read_prompt_file(tmp_path).entries.values()
    assert [Path(path).name for path, _, _ in entry["masks"]] == used


def test_masks_of_a_picture_keep_the_order_of_their_numbers(tmp_path: Path) -> None:
    mask = np.ones((HEIGHT, WIDTH), bool)
    for number in range(12):
        write(tmp_path, f"frog_mask_{number}.png", encode_image(mask))
    (entry,) = read_prompt_file(tmp_path).entries.values()
    assert [Path(path).name for path, _, _ in entry["masks"]] == [f"frog_mask_{number}.png" for number in range(12)]


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("p.csv", "a.jpg,1,2,3\n", "line 1"),
        ("p.csv", "name,x0\na.jpg,1,2,three,4", "line 1: expected a heading such as name,x0,y0,x1,y1"),
        ("p.csv", "name,x0,y0,x1,y1\na.jpg,1,2,three,4", "line 2: expected name,x0,y0,x1,y1"),
        ("p.csv", "name,x0,y0,x1,y1\n" + "a" * 200_000 + ",1,2,3,4", "line 2: field larger"),
        ("p.csv", "", "without objects"),
        ("p.json", "a.jpg,1,2,3,4", "not JSON"),
        ("p.json", "[" * 100_000, "nested too deeply|not JSON"),
        ("p.json", "[1]", "must map"),
        ("p.json", '{"a": {"bbox": []}}', "'a' must hold .* found bbox"),
        ("p.json", '{"a": [1, 2]}', "'a' must hold"),
        ("p.json", json.dumps({**COCO, "annotations": [{"id": 1, "image_id": 3}]}), "COCO file without boxes"),
        ("p.csv", "name,x0,y0,x1,y1\n", "table without objects"),
        ("p.csv", "a.jpg,,,\n", "line 1"),
        ("p.json", "{}", "holds no prompts"),
        ("p.json", json.dumps({**COCO, "images": [], "annotations": []}), "COCO file without objects"),
        ("p.json", '[{"image_id": 3, "bbox": [1, 2, 3, 4], "score": 0.5}]', "COCO results, which names no pictures"),
        ("p.xml", "<svg/>", "XML of 'svg'"),
        ("p.xml", '<!DOCTYPE a [<!ENTITY b "b">]><a>&b;</a>', "document type"),
        ("p.xml", "<annotation>", "not XML"),
        ("p.txt", b"\x89PNG\r\n", "it is a picture"),
        ("p.csv", b"a\0b", "binary data"),
        ("p.zip", b"PK", "archive"),
        (
            "p.csv",
            "name,width,height,x0,y0,x1,y1\na.jpg,,9,1,2,3,4\n",
            "line 2: expected .* width and height, found 'a.jpg,,9",
        ),
        ("p.csv", "name,x0,y0,x1,y1,width,height\na.jpg,1,2,3,4,1e999,9\n", "line 2: expected .* width and height"),
        ("p.json", '[{"data": {"image": "http://[a.jpg"}}]', "task 0 names no picture"),
    ],
)
def test_faults_are_named(tmp_path: Path, name: str, text: str | bytes, says: str) -> None:
    with pytest.raises(DataError, match=says):
        read_prompt_file(write(tmp_path, name, text))
    with pytest.raises(DataError, match="no prompts file"):
        read_prompt_file(tmp_path / "absent.csv")


def test_a_folder_of_nothing_known_is_told(tmp_path: Path) -> None:
    write(tmp_path, "f/readme.md", "hello")
    with pytest.raises(DataError, match="holds no annotations"):
        read_prompt_file(tmp_path / "f")


def test_names_that_tell_no_picture_are_told(tmp_path: Path) -> None:
    for tag in ("frog", "owl"):
        Image.new("L", (9, 9), 255).save(tmp_path / f"task-3-annotation-7-by-1-tag-{tag}-0.png")
    with pytest.raises(DataError, match="export of Label Studio's brushes") as caught:
        read_prompt_file(tmp_path)
    assert "as JSON" in str(caught.value.hint)


def test_a_picture_of_ids_holds_several_masks(tmp_path: Path) -> None:
    ids = np.zeros((HEIGHT, WIDTH), np.uint8)
    ids[2:5, 2:5], ids[9:12, 9:12] = 1, 2
    Image.fromarray(ids).save(tmp_path / "ids.png")
    entry = read_prompt_file(tmp_path / "ids.png").for_picture(tmp_path / "a.jpg")
    assert entry is not None
    assert len(make_prompts(HEIGHT, WIDTH, **entry)) == 2


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("p.csv", "a.jpg,10,20,40,50,frog\nb.jpg,,,,,\n"),
        ("p.csv", "b.jpg,,,,,\na.jpg,10,20,40,50,frog\n"),
        ("p.csv", "path,x1,y1,x2,y2,class\na.jpg,10,20,40,50,frog\nb.jpg,,,,,\n"),
        ("p.csv", "filename,width,height,class,xmin,ymin,xmax,ymax\na.jpg,80,60,frog,10,20,40,50\nb.jpg,,,,,,,\n"),
        ("p.csv", "name,x,y,w,h\nb.jpg,,,,\n"),
        ("p.csv", "image_id,bbox\nb.jpg,\n"),
        ("p.csv", "name,x,y,label\nb.jpg,,,\n"),
        ("p.json", '{"a.jpg": {"boxes": [[10, 20, 40, 50]]}, "b.jpg": {"boxes": []}}'),
        ("p.json", '{"b.jpg": {"boxes": [], "points": null, "labels": [], "classes": []}}'),
        (
            "p.json",
            json.dumps({"images": [{"id": 1, "file_name": "b.jpg", "height": 9, "width": 9}], "annotations": []}),
        ),
        ("labels/b.txt", ""),
        ("p.json", '{"imagePath": "b.jpg", "shapes": []}'),
        ("p.xml", "<annotation><filename>b.jpg</filename></annotation>"),
    ],
)
def test_a_picture_without_objects_is_known_and_asked_nothing(tmp_path: Path, name: str, text: str) -> None:
    path = write(tmp_path, name, text)
    table = read_prompt_file(tmp_path if path.suffix == ".txt" else path)
    assert set(table.entries) <= {"a.jpg"}
    assert [Path(name).stem for name in table.without] == ["b"]
    assert table.is_without(tmp_path, ["b.jpg"])
    assert not table.is_without(tmp_path, ["a.jpg"])
    assert table.in_folder(tmp_path, ["b.jpg"]).unasked == ("b.jpg",)
