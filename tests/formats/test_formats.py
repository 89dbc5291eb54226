"""What every format writes of the same masks, and what the outlines behind them hold."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from vns_sam.errors import DataError, UsageError
from vns_sam.formats import coco, cvat, geojson, labelme, labelstudio, npz, svg, yolo
from vns_sam.formats.brush import decode_brush, encode_brush
from vns_sam.formats.drawing import draw_shape
from vns_sam.formats.png import read_instances, read_mask
from vns_sam.formats.polygons import join_rings, ring_area, simplify_parts, split_at_touches, trace
from vns_sam.formats.registry import FORMATS, encode, merge, plan_outputs, plan_set, save, write_files
from vns_sam.formats.result import Result, categories_for
from vns_sam.formats.rle import fill_polygon
from vns_sam.images.windows import mask_boxes
from vns_sam.types import Candidates, Prediction

masks = st.tuples(st.integers(1, 12), st.integers(1, 12)).flatmap(lambda shape: arrays(bool, shape))


def prediction(*drawn: np.ndarray, classes: tuple[str, ...] | None = None) -> Prediction:
    stacked = np.stack(drawn)
    scores = np.full(len(drawn), 0.75, np.float32)
    return Prediction(stacked, stacked * 2.0 - 1, scores, None, mask_boxes(stacked), classes=classes)


def result(*drawn: np.ndarray, name: str = "a.jpg", **more: object) -> Result:
    return Result(name, prediction(*drawn), **more)  # type: ignore[arg-type]


def ring_mask() -> np.ndarray:
    mask = np.zeros((40, 60), bool)
    mask[5:30, 10:50] = True
    mask[10:20, 20:30] = False
    mask[33:38, 2:9] = True
    return mask


@settings(deadline=None)
@given(mask=masks)
def test_outlines_hold_exactly_the_area(mask: np.ndarray) -> None:
    parts = trace(mask)
    rings = [ring for part in parts for ring in part]
    assert sum(map(ring_area, rings)) == mask.sum()
    assert all(ring_area(part[0]) > 0 and all(ring_area(hole) < 0 for hole in part[1:]) for part in parts)
    if rings:
        assert ring_area(join_rings(rings)) == mask.sum()


def test_yolo_line_fills_the_mask_again() -> None:
    mask = ring_mask()
    words = yolo.to_text(result(mask, np.zeros_like(mask))).split()
    assert words[0] == "0"
    corners = np.array(words[1:], float).reshape(-1, 2) * [60, 40]
    drawn = np.zeros((400, 600), np.uint8)  # ten times larger: pixel edges fall between pixel centres
    cv2.fillPoly(drawn, [(corners * 10 - 0.5).round().astype(np.int32)], 1)
    # the filler draws outlines too, so a bridge may cover the few pixel centres that it passes through
    assert (drawn[5::10, 5::10].astype(bool) != mask).sum() <= 5


def test_many_parts_are_joined_in_less_than_quadratic_time() -> None:
    def seconds(side: int) -> float:
        mask = np.zeros((3 * side, 3 * side), bool)
        mask[::3, ::3] = True
        rings = [ring for part in trace(mask) for ring in part]
        start = time.thread_time()
        joined = join_rings(rings)
        spent = time.thread_time() - start
        np.testing.assert_array_equal(fill_polygon(joined, *mask.shape), mask)
        return spent

    small, large = seconds(24), seconds(96)  # 576 and 9,216 parts, 16 times as many
    assert large < 60 * small


def test_geojson_and_svg() -> None:
    answer = geojson.to_dict(result(ring_mask(), np.zeros((40, 60), bool)))
    (feature,) = answer["features"]
    assert [len(part) for part in feature["geometry"]["coordinates"]] == [2, 1]
    assert all(ring[0] == ring[-1] for part in feature["geometry"]["coordinates"] for ring in part)
    drawn = svg.to_text(result(ring_mask()))
    assert 'viewBox="0 0 60 40"' in drawn
    assert drawn.count("M") == 3


@settings(deadline=None)
@given(mask=masks)
def test_geojson_is_valid(mask: np.ndarray) -> None:
    shapely = pytest.importorskip("shapely.geometry")
    found = geojson.to_dict(result(mask))["features"]
    shapes = [shapely.shape(feature["geometry"]) for feature in found]
    assert all(shape.is_valid for shape in shapes)
    assert sum(shape.area for shape in shapes) == mask.sum()


def test_a_hole_that_meets_the_outside_becomes_a_ring_of_its_own() -> None:
    mask = np.array([[1, 1, 1, 1], [1, 0, 1, 1], [1, 1, 0, 1], [1, 1, 1, 0]], bool)
    (part,) = trace(mask)
    rings = split_at_touches(part)
    assert [ring_area(ring) for ring in rings] == [15, -1, -1]
    assert all(len(np.unique(ring, axis=0)) == len(ring) for ring in rings)


@settings(deadline=None)
@given(mask=arrays(bool, (24, 24)), tolerance=st.sampled_from([0.5, 1.0, 2.0, 4.0]))
def test_simplified_outlines_stay_near_and_valid(mask: np.ndarray, tolerance: float) -> None:
    smooth = cv2.medianBlur(mask.astype(np.uint8), 5).astype(bool)
    shapely = pytest.importorskip("shapely.geometry")
    exact = trace(smooth)
    for part, simple in zip(exact, simplify_parts(exact, tolerance), strict=True):
        assert sum(map(len, simple)) <= sum(map(len, split_at_touches(part)))
        assert shapely.Polygon(simple[0], simple[1:]).is_valid
        gap = shapely.Polygon(part[0]).exterior.hausdorff_distance(shapely.Polygon(simple[0]).exterior)
        assert gap <= tolerance + 1e-6 or len(simple) > 1


def test_coco_boxes_and_merging() -> None:
    single = coco.to_dict(result(ring_mask(), ring_mask()))
    assert single["annotations"][0]["bbox"] == [2, 5, 48, 33]
    assert single["annotations"][0]["area"] == ring_mask().sum()
    files = [coco.encode(result(ring_mask(), name=f"{name}.jpg"), ["x"])["x"] for name in "ab"]
    merged = json.loads(coco.merge([bytes(file) for file in files], {1: "object"})[coco.SET])  # type: ignore[arg-type]
    assert [image["file_name"] for image in merged["images"]] == ["a.jpg", "b.jpg"]
    assert [(a["id"], a["image_id"]) for a in merged["annotations"]] == [(1, 1), (2, 2)]


def test_classes_keep_their_numbers() -> None:
    found = Result("a.jpg", prediction(ring_mask(), ring_mask(), ring_mask(), classes=("owl", "", "frog")), {7: "frog"})
    assert found.categories == {7: "frog", 8: "owl", 9: "object"}
    assert [row["category_id"] for row in coco.to_dict(found)["annotations"]] == [8, 9, 7]
    assert [line.split()[0] for line in yolo.to_text(found).splitlines()] == ["1", "2", "0"]
    assert {shape["label"] for shape in labelme.to_dict(found)["shapes"]} == {"owl", "object", "frog"}
    assert [f["properties"].get("class") for f in geojson.to_dict(found)["features"]] == ["owl", None, "frog"]
    assert categories_for([]) == categories_for(["", ""]) == {1: "object"}
    names = yaml.safe_load(yolo.merge([], found.categories)["data.yaml"])["names"]  # type: ignore[arg-type]
    assert names == {0: "frog", 1: "owl", 2: "object"}


@pytest.mark.parametrize(("objects", "names"), [(1, ["m_mask.png"]), (2, ["m_mask_0.png", "m_mask_1.png"])])
def test_png_takes_a_file_for_each_object(tmp_path: Path, objects: int, names: list[str]) -> None:
    plan = plan_outputs("m.jpg", ["png"], objects)
    written = write_files(tmp_path, encode(result(*[ring_mask()] * objects), plan))
    assert [path.name for path in written] == names
    for path in written:
        with Image.open(path) as image:
            np.testing.assert_array_equal(np.asarray(image) > 0, ring_mask())


@pytest.mark.parametrize("kind", FORMATS)
def test_names_are_planned_and_an_empty_mask_is_written_too(tmp_path: Path, kind: str) -> None:
    Image.new("RGB", (4, 3)).save(tmp_path / "m.jpg")
    empty = prediction(np.zeros((3, 4), bool))
    empty.alpha = np.zeros((1, 3, 4), np.float32)
    empty.candidates = (Candidates(np.zeros((4, 3, 4), bool), np.ones(4, np.float32)),)
    pixels = np.zeros((3, 4, 3), np.uint8)
    plan = plan_outputs("sub/m.jpg", [kind])
    found = Result("sub/m.jpg", empty, source=tmp_path / "m.jpg", out=tmp_path / "out", pixels=pixels)
    written = write_files(tmp_path / "out", encode(found, plan))
    assert [path.relative_to(tmp_path / "out").as_posix() for path in written] == plan[kind]
    for path in written:
        assert path.is_file()
        if "json" in path.suffix:
            json.loads(path.read_text())


def test_several_formats_plan_different_names() -> None:
    plan = plan_outputs("cam1/a.jpg", list(FORMATS), 2)
    names = [name for some in plan.values() for name in some] + plan_set(list(FORMATS), {1: "object"})
    assert len(set(names)) == len(names)
    assert plan["yolo"] == ["labels/cam1/a.txt", "images/cam1/a.jpg"]
    assert plan_outputs("images/a.gif", ["yolo"])["yolo"] == ["labels/images_/a.txt", "images/images_/a.png"]


@settings(deadline=None)
@given(mask=masks)
def test_brush_strokes_lead_back(mask: np.ndarray) -> None:
    np.testing.assert_array_equal(decode_brush(encode_brush(mask), *mask.shape), mask)


def test_brush_strokes_are_those_of_label_studio() -> None:
    brush = pytest.importorskip("label_studio_sdk.converter.brush")
    large = np.zeros((300, 400), bool)
    large[20:250, 30:380] = True
    for mask in (ring_mask(), large):
        assert encode_brush(mask) == brush.mask2rle(mask.astype(np.uint8) * 255)
        decoded = brush.decode_rle(encode_brush(mask)).reshape(*mask.shape, 4)[..., 3] > 0
        np.testing.assert_array_equal(decoded, mask)


RECTANGLE = {"x": 10, "y": 20, "width": 30, "height": 40, "rectanglelabels": ["frog"]}


@pytest.mark.parametrize(
    "annotations",
    [
        *([None], [7], "text", 1, [{"result": True}], [{"result": [False, None, 3.5]}], [{"result": 1}]),
        [{"result": [{"original_width": float("inf"), "original_height": 8, "value": RECTANGLE}]}],
        [{"result": [{"original_width": 9, "original_height": 10**400, "value": RECTANGLE}]}],
        [{"result": [{"original_width": 9, "original_height": 8, "value": {**RECTANGLE, "x": float("nan")}}]}],
    ],
)
def test_what_is_no_region_of_label_studio_is_passed_over(annotations: object) -> None:
    task = {"data": {"image": "a.jpg"}, "annotations": annotations}
    found = labelstudio.read(json.dumps([task]).encode(), "t.json")
    assert [(picture.name, picture.shapes) for picture in found.pictures] == [("a.jpg", ())]


@pytest.mark.parametrize("name", ["a b.jpg", "sub/50%.jpg", "100%25.jpg", "a&b=c+d.jpg", "caf\udce9.jpg"])
def test_a_task_of_label_studio_names_its_picture(name: str) -> None:
    task = labelstudio.to_task(Result(name, prediction(ring_mask())))
    assert labelstudio.read(json.dumps([task]).encode(), "t.json").pictures[0].name == name


@pytest.mark.parametrize("simplify", [0.0, 1.0])
def test_label_studio_accepts_its_predictions(simplify: float) -> None:
    interface = pytest.importorskip("label_studio_sdk.label_interface").LabelInterface
    found = Result("a b.jpg", prediction(ring_mask(), classes=("frog & toad",)), simplify=simplify)
    task = labelstudio.to_task(found)
    assert interface(labelstudio.to_config(found.categories)).validate_prediction(task["predictions"][0])
    assert task["data"]["image"] == "/data/local-files/?d=a%20b.jpg"
    shapes = labelstudio.read(json.dumps([task]).encode(), "t.json").pictures[0].shapes
    drawn = np.logical_or.reduce([draw_shape(shape, 40, 60) for shape in shapes])
    np.testing.assert_array_equal(drawn, ring_mask())
    assert shapes[0].label == "frog & toad"


def test_readers_give_what_writers_wrote() -> None:
    one = result(ring_mask())
    for module in (coco, labelme, geojson, cvat, labelstudio):
        (content,) = module.encode(one, ["x"]).values()
        (described,) = module.read(content, "x").pictures  # type: ignore[arg-type]
        (shape,) = described.shapes
        np.testing.assert_array_equal(draw_shape(shape, 40, 60), ring_mask(), err_msg=module.NAME)
    (task,) = labelstudio.encode(result(ring_mask(), simplify=0.01), ["x"]).values()
    (shape,) = labelstudio.read(task, "x").pictures[0].shapes  # type: ignore[arg-type]
    assert isinstance(shape.outline, tuple)
    assert len(shape.outline) == 2
    (archive,) = npz.encode(one, ["x"]).values()
    np.testing.assert_array_equal(npz.read(archive, "x").masks[0], ring_mask())  # type: ignore[arg-type]
    assert npz.encode(one, ["x"]) == npz.encode(one, ["x"])


def test_polygons_of_one_group_and_class_are_one_object() -> None:
    corners = [[0, 0], [4, 0], [4, 4]]
    drawn = [("frog", 0), ("owl", 0), ("frog", 0), ("frog", None), ("frog", None), ("frog", 10), ("frog", 1)]
    shapes = [{"label": label, "points": corners, "group_id": group} for label, group in drawn]
    one = {"label": "frog", "points": corners[:2], "group_id": 0, "shape_type": "rectangle"}
    raw = {"imagePath": "a.jpg", "shapes": [*shapes, one, {**shapes[0], "group_id": [1]}]}
    parts = [
        (shape.label, len(shape.outline or ()))
        for shape in labelme.read(json.dumps(raw).encode(), "a").pictures[0].shapes
    ]
    assert parts == [
        ("frog", 2),
        ("owl", 1),
        ("frog", 1),
        ("frog", 1),
        ("frog", 1),
        ("frog", 1),
        ("frog", 0),
        ("frog", 1),
    ]

    groups = "".join(
        f'<polygon label="{label}" points="0,0;4,0;4,4" group_id="{0 if group is None else group + 1}"/>'
        for label, group in drawn
    )
    (picture,) = cvat.read(f'<annotations><image name="a.jpg">{groups}</image></annotations>'.encode(), "a").pictures
    assert [(shape.label, len(shape.outline or ())) for shape in picture.shapes] == parts[:6]


def test_indexed_and_cut_outs(tmp_path: Path) -> None:
    small = np.zeros((40, 60), bool)
    small[6:9, 11:14] = True
    found = result(ring_mask(), small, pixels=np.full((40, 60, 3), 9, np.uint8))
    written = write_files(tmp_path, encode(found, plan_outputs("a.jpg", ["indexed", "cutout"], 2)))
    first, second = read_instances(written[0])
    np.testing.assert_array_equal(first, ring_mask() & ~small)
    np.testing.assert_array_equal(second, small)
    np.testing.assert_array_equal(read_mask(written[1]), ring_mask())
    with Image.open(written[2]) as image:
        assert image.mode == "RGBA"
        assert image.getpixel((12, 7)) == (9, 9, 9, 255)


def test_alpha_is_rounded_alike_everywhere() -> None:
    found = prediction(ring_mask())
    found.alpha = np.full((1, 40, 60), 0.999, np.float32)
    found.alpha[0, 0, :3] = [0, 0.5, 1]
    shown = Result("a.jpg", found, pixels=np.zeros((40, 60, 3), np.uint8))
    files = encode(shown, plan_outputs("a.jpg", ["alpha", "cutout", "npz"]))
    grey, cut, archive = (io.BytesIO(bytes(content)) for content in files.values())  # type: ignore[arg-type]
    expected = np.full((40, 60), 255, np.uint8)
    expected[0, :3] = [0, 128, 255]
    with Image.open(grey) as one, Image.open(cut) as other, np.load(archive) as arrays:
        np.testing.assert_array_equal(np.asarray(one), expected)
        np.testing.assert_array_equal(np.asarray(other)[..., 3], expected)
        np.testing.assert_array_equal(arrays["alpha"][0], expected)


def test_a_picture_without_file_goes_into_a_yolo_set_as_png(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    plan = plan_outputs("sub/frog.jpg", ["yolo"])
    files = encode(result(ring_mask(), name="sub/frog.jpg", pixels=pixels), plan)
    assert list(files) == ["labels/sub/frog.txt", "images/sub/frog.png"]
    with Image.open(io.BytesIO(files["images/sub/frog.png"])) as picture:  # type: ignore[arg-type]
        assert picture.format == "PNG"
        np.testing.assert_array_equal(np.asarray(picture), pixels)
    Image.fromarray(pixels).save(tmp_path / "frog.jpg")
    linked = encode(result(ring_mask(), name="sub/frog.jpg", pixels=pixels, source=tmp_path / "frog.jpg"), plan)
    assert linked["images/sub/frog.jpg"] == tmp_path / "frog.jpg"


@pytest.mark.parametrize("kind", sorted({*FORMATS} - {"alpha"}))
def test_characters_that_xml_has_none_for_are_spelt(kind: str, tmp_path: Path) -> None:
    name, classes = "a\x07b\udc81.jpg", {1: "eel\x00 & \ufffe"}
    (tmp_path / name).touch()
    found = Result(
        name,
        prediction(ring_mask(), classes=(classes[1],)),
        classes,
        tmp_path / name,
        tmp_path,
        np.zeros((40, 60, 3), np.uint8),
    )
    files = encode(found, plan_outputs(name, (kind,), 1, stem="a"))
    files |= merge(kind, [bytes(content) for content in files.values()], classes)  # type: ignore[arg-type]
    texts = [
        content.decode()
        for file, content in files.items()
        if isinstance(content, bytes) and file.endswith(("xml", "svg"))
    ]
    assert len(texts) == {"voc": 1, "cvat": 2, "svg": 1, "labelstudio": 1}.get(kind, 0)
    for text in texts:
        ElementTree.fromstring(text)
        assert "eel\\x00 &amp; \\ufffe" in text


def test_merging_formats_without_sets_gives_nothing() -> None:
    assert merge("png", [], {1: "object"}) == {}


def test_a_prediction_is_saved_by_the_name_of_its_file(tmp_path: Path) -> None:
    found = prediction(ring_mask(), ring_mask())
    for name, names in (("m.png", ["m_0.png", "m_1.png"]), ("m.json", ["m.json"]), ("m.svg", ["m.svg"])):
        assert [path.name for path in save(found, tmp_path / name, name="frog.jpg")] == names
    assert json.loads((tmp_path / "m.json").read_text())["images"][0]["file_name"] == "frog.jpg"
    save(found, tmp_path / "frog.json", "labelme")
    assert json.loads((tmp_path / "frog.json").read_text())["imagePath"] == "frog"
    with pytest.raises(UsageError, match=r"expected a format for .*m\.doc"):
        save(found, tmp_path / "m.doc")


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        ({"shape_type": "rectangle", "points": [[1, 2]]}, "a rectangle of 1 points"),
        ({"shape_type": "circle", "points": [[1, 2]]}, "a circle of 1 points"),
        ({"shape_type": "point", "points": []}, "pairs of numbers"),
        ({"shape_type": "polygon", "points": [[10**400, 2], [3, 4], [5, 6]]}, "int too large"),
    ],
)
def test_a_wrong_shape_of_labelme_is_told_and_the_others_are_read(shape: dict[str, Any], reason: str) -> None:
    whole = {"label": "frog", "shape_type": "rectangle", "points": [[1, 2], [5, 6]]}
    raw = {"imagePath": "a.jpg", "shapes": [{"label": "frog", **shape}, whole]}
    found = labelme.read(json.dumps(raw).encode(), "a.json")
    assert len(found.pictures[0].shapes) == 1
    assert reason in found.problems[0]


def test_a_message_stays_short_whatever_it_quotes() -> None:
    message = DataError(f"a.yaml: expected a number, found {'x' * 20_000}, at the end").message
    assert len(message) < 1000
    assert message.startswith("a.yaml: expected a number")
    assert message.endswith("at the end")
