from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from vns_sam.formats.outputs import merge_coco, to_coco, to_geojson, to_svg, to_yolo, write_prediction
from vns_sam.formats.polygons import join_rings, ring_area, trace
from vns_sam.images.windows import mask_boxes
from vns_sam.types import Prediction

masks = st.tuples(st.integers(1, 12), st.integers(1, 12)).flatmap(lambda shape: arrays(bool, shape))


def prediction(*drawn: np.ndarray) -> Prediction:
    stacked = np.stack(drawn)
    scores = np.full(len(drawn), 0.75, np.float32)
    return Prediction(stacked, stacked * 2.0 - 1, scores, None, mask_boxes(stacked))


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
    words = to_yolo(prediction(mask, np.zeros_like(mask))).split()
    assert words[0] == "0"
    corners = np.array(words[1:], float).reshape(-1, 2) * [60, 40]
    drawn = np.zeros((400, 600), np.uint8)  # ten times larger: pixel edges fall between pixel centres
    cv2.fillPoly(drawn, [(corners * 10 - 0.5).round().astype(np.int32)], 1)
    # the filler draws outlines too, so a bridge may cover the few pixel centres that it passes through
    assert (drawn[5::10, 5::10].astype(bool) != mask).sum() <= 5


def test_geojson_and_svg() -> None:
    answer = to_geojson(prediction(ring_mask(), np.zeros((40, 60), bool)), "a.jpg")
    (feature,) = answer["features"]
    assert [len(part) for part in feature["geometry"]["coordinates"]] == [2, 1]
    assert all(ring[0] == ring[-1] for part in feature["geometry"]["coordinates"] for ring in part)
    svg = to_svg(prediction(ring_mask()))
    assert 'viewBox="0 0 60 40"' in svg
    assert svg.count("M") == 3


def test_coco_boxes_and_merging(tmp_path: Path) -> None:
    single = to_coco(prediction(ring_mask(), ring_mask()), "a.jpg")
    assert single["annotations"][0]["bbox"] == [2, 5, 48, 33]
    assert single["annotations"][0]["area"] == ring_mask().sum()
    for name in "ab":
        write_prediction(tmp_path / f"{name}.json", prediction(ring_mask()), "coco", image_name=f"{name}.jpg")
    merged = merge_coco([tmp_path / "a.json", tmp_path / "b.json"])
    assert [image["file_name"] for image in merged["images"]] == ["a.jpg", "b.jpg"]
    assert [(a["id"], a["image_id"]) for a in merged["annotations"]] == [(1, 1), (2, 2)]


@pytest.mark.parametrize(("objects", "names"), [(1, ["m.png"]), (2, ["m_0.png", "m_1.png"])])
def test_png_takes_a_file_for_each_object(tmp_path: Path, objects: int, names: list[str]) -> None:
    written = write_prediction(tmp_path / "m.png", prediction(*[ring_mask()] * objects), "png", image_name="m.jpg")
    assert [path.name for path in written] == names
    for path in written:
        with Image.open(path) as image:
            np.testing.assert_array_equal(np.asarray(image) > 0, ring_mask())


@pytest.mark.parametrize(
    ("kind", "suffix"), [("coco", "json"), ("geojson", "geojson"), ("yolo", "txt"), ("svg", "svg")]
)
def test_an_empty_mask_is_written_too(tmp_path: Path, kind: str, suffix: str) -> None:
    path = tmp_path / f"m.{suffix}"
    write_prediction(path, prediction(np.zeros((3, 4), bool)), kind, image_name="m.jpg")  # type: ignore[arg-type]
    if "json" in suffix:
        json.loads(path.read_text())
    assert path.exists()
