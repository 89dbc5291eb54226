"""Requests as the labelling tools send them, replayed."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from serving_stub import JSON, picture_file, serve
from starlette.testclient import TestClient

from vns_sam.formats.brush import decode_brush
from vns_sam.formats.rle import fill_polygon

URI = "data:image/png;base64," + base64.b64encode(picture_file()).decode()
BRUSH = """<View><Image name="img" value="$photo"/>
<BrushLabels name="mask" toName="img"><Label value="frog"/><Label value="moth"/></BrushLabels>
<KeyPointLabels name="kp" toName="img" smart="true"><Label value="frog"/><Label value="moth"/></KeyPointLabels>
<RectangleLabels name="box" toName="img" smart="true"><Label value="frog"/><Label value="moth"/></RectangleLabels>
</View>"""
POLYGON = BRUSH.replace("BrushLabels", "PolygonLabels")


def box_mask() -> np.ndarray:
    mask = np.zeros((30, 40), bool)
    mask[3:12, 8:20] = True
    return mask


RECTANGLE = {
    "type": "rectanglelabels",
    "from_name": "box",
    "to_name": "img",
    "original_width": 40,
    "original_height": 30,
    "value": {"x": 20, "y": 10, "width": 30, "height": 30, "rotation": 0, "rectanglelabels": ["moth"]},
}


def key_point(x: float, y: float, positive: int) -> dict[str, Any]:
    value = {"x": x, "y": y, "width": 0.3, "keypointlabels": ["frog"]}
    return {
        "type": "keypointlabels",
        "is_positive": positive,
        "original_width": 40,
        "original_height": 30,
        "value": value,
    }


def post(client: TestClient, path: str, body: Any) -> Any:
    response = client.post(path, content=json.dumps(body), headers=JSON)
    assert response.status_code == 200, response.text
    return response.json()


def label_studio(client: TestClient, config: str, regions: list[dict[str, Any]], image: str = URI) -> Any:
    task = {"id": 7, "data": {"photo": image}, "annotations": [], "predictions": []}
    params = {"login": None, "password": None, "context": {"result": regions}}
    body = {"tasks": [task], "model_version": "x", "project": "1.2", "label_config": config, "params": params}
    return post(client, "/predict", body)["results"][0]


def test_label_studio_knows_its_backend() -> None:
    with serve() as client:
        assert client.get("/health").json()["status"] == "UP"
        setup = {"project": "1.2", "schema": BRUSH, "hostname": "http://127.0.0.1:8080", "access_token": "t"}
        assert post(client, "/setup", setup) == {"model_version": "stub"}
        assert post(client, "/webhook", {"action": "ANNOTATION_CREATED"}) == {"status": "ok"}


def test_label_studio_rectangle_becomes_a_brush_stroke() -> None:
    with serve() as client:
        found = label_studio(client, BRUSH, [RECTANGLE])
    [region] = found["result"]
    np.testing.assert_array_equal(decode_brush(region["value"]["rle"], 30, 40), box_mask())
    assert region["value"]["brushlabels"] == ["moth"]
    assert (region["from_name"], region["to_name"], region["type"]) == ("mask", "img", "brushlabels")
    assert found["score"] == region["score"] == 0.9


def test_label_studio_keeps_what_was_accepted_before() -> None:
    """Its editor puts a region in the place of an earlier one of the same id."""
    with serve() as client:
        answers = [label_studio(client, config, [RECTANGLE] * 2) for config in (BRUSH, BRUSH, POLYGON)]
    ids = [region["id"] for answer in answers for region in answer["result"]]
    assert len(set(ids)) == len(ids) == 6


def test_label_studio_rectangle_becomes_a_polygon() -> None:
    with serve() as client:
        [region] = label_studio(client, POLYGON, [RECTANGLE])["result"]
    corners = np.array(region["value"]["points"]) * [0.4, 0.3]
    np.testing.assert_array_equal(fill_polygon(corners, 30, 40), box_mask())


def test_label_studio_key_points_of_both_kinds() -> None:
    with serve() as client:
        [region] = label_studio(client, BRUSH, [key_point(50, 50, 1), key_point(60, 50, 0)])["result"]
    mask = decode_brush(region["value"]["rle"], 30, 40)
    assert mask[14, 15]
    assert not mask[14, 24]
    assert region["value"]["brushlabels"] == ["frog"]


def test_label_studio_without_a_drawing_gets_no_region() -> None:
    with serve() as client:
        assert label_studio(client, BRUSH, [])["result"] == []


def test_label_studio_accepts_what_is_predicted() -> None:
    interface = pytest.importorskip("label_studio_sdk.label_interface")
    with serve() as client:
        for config in (BRUSH, POLYGON):
            found = label_studio(client, config, [RECTANGLE, key_point(30, 20, 1)])
            assert interface.LabelInterface(config).validate_prediction(found)


@pytest.mark.parametrize(
    "address", ["http://169.254.169.254/latest", "/etc/passwd", "file:///etc/passwd", "/data/../x"]
)
def test_addresses_and_paths_are_not_fetched(address: str) -> None:
    task = {"id": 1, "data": {"photo": address}}
    body = {"tasks": [task], "label_config": BRUSH, "params": {"context": {"result": [RECTANGLE]}}}
    for site in ("", "http://127.0.0.1:9"):
        with serve(label_studio=site) as client:
            response = client.post("/predict", content=json.dumps(body), headers=JSON)
            assert response.status_code == 422
            assert "not at the Label Studio" in response.json()["error"]


@pytest.mark.parametrize(
    ("name", "path"), [("frog.png", "photos/frog.png"), ("50%25.png", "50%2525.png"), ("a b.png", "a%2520b.png")]
)
def test_label_studio_names_pictures_of_the_folder(name: str, path: str, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / name).write_bytes(picture_file())
    with serve(folder=tmp_path / "photos", out=tmp_path / "masks") as client:
        found = label_studio(client, BRUSH, [RECTANGLE], f"/data/local-files/?d={path}")
    assert len(found["result"]) == 1


def test_label_studio_gets_masks_of_the_picture_that_it_names(tmp_path: Path) -> None:
    sizes = {"frog.png": (60, 20), "z/frog.png": (30, 20), "z/z/frog.png": (40, 30)}
    for name, size in sizes.items():
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture_file(*size))
    with serve(folder=tmp_path / "photos", out=tmp_path / "masks") as client:
        for name, size in sizes.items():
            [region] = label_studio(client, BRUSH, [RECTANGLE], f"/data/local-files/?d=photos/{name}")["result"]
            assert (region["original_width"], region["original_height"]) == size


@pytest.mark.parametrize(
    "path", ["cam2/a.png", "/cam2/a.png", "root/cam2/a.png", "b.png", "cam2/sub/b.png", "sub%2Fcam2/a.png"]
)
def test_label_studio_gets_no_mask_of_another_picture_of_the_name(path: str, tmp_path: Path) -> None:
    for name in ("a.png", "sub/b.png"):
        place = tmp_path / "root" / "cam1" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(picture_file())
    with serve(folder=tmp_path / "root" / "cam1", out=tmp_path / "masks") as client:
        for known in ("cam1/a.png", "/cam1/a.png", "root/cam1/sub/b.png", "a.png"):
            assert label_studio(client, BRUSH, [RECTANGLE], f"/data/local-files/?d={known}")["result"]
        answer = client.post(
            "/predict", content=studio(json.dumps([RECTANGLE]), f"/data/local-files/?d={path}"), headers=JSON
        )
    assert answer.status_code == 422
    assert answer.json()["error"] == "the picture is not at the Label Studio that this server knows"


def test_x_anylabeling() -> None:
    marks = [{"type": "rectangle", "data": [8, 3, 20, 12], "label": 1}]
    params = {"conf_threshold": 0.0, "iou_threshold": 0.0, "epsilon_factor": 0.001, "marks": marks}
    with serve() as client:
        models = client.get("/v1/models", headers={"Token": ""}).json()["data"]
        assert list(models) == ["stub", "finder"]
        assert {"name": "button_run", "value": None} in models["finder"]["widgets"]
        shown = {widget["name"] for widget in models["stub"]["widgets"]}
        assert {"button_add_point", "button_remove_point", "add_pos_rect"} <= shown
        body = {"model": "stub", "image": URI, "params": params}
        [shape] = post(client, "/v1/predict", body)["data"]["shapes"]
        post(client, "/v1/predict", body)
        encoded = client.app.state.service.engine.encoded  # type: ignore[attr-defined]
        found = post(client, "/v1/predict", {"model": "finder", "image": URI, "params": {}})["data"]["shapes"]
        nothing = post(client, "/v1/predict", {"model": "stub", "image": URI, "params": {}})["data"]["shapes"]
    assert (shape["shape_type"], shape["label"]) == ("polygon", "AUTOLABEL_OBJECT")
    assert shape["points"][0] == shape["points"][-1]
    np.testing.assert_array_equal(fill_polygon(np.array(shape["points"][:-1]), 30, 40), box_mask())
    assert encoded == ["stub", "finder"]
    assert (len(found), nothing) == (1, [])


def test_x_anylabeling_points() -> None:
    marks = [{"type": "point", "data": [15, 15], "label": 1}, {"type": "point", "data": [18, 15], "label": 0}]
    with serve() as client:
        body = {"model": "stub", "image": URI, "params": {"marks": marks, "epsilon_factor": 0}}
        [shape] = post(client, "/v1/predict", body)["data"]["shapes"]
        bad = {"model": "stub", "image": URI, "params": {"marks": [{"type": "circle"}]}}
        assert client.post("/v1/predict", content=json.dumps(bad), headers=JSON).status_code == 422
    mask = fill_polygon(np.array(shape["points"][:-1]), 30, 40)
    assert mask[15, 10]
    assert not mask[15, 17]


def test_osam() -> None:
    prompt = {"points": [[8, 3], [20, 12]], "point_labels": [2, 3]}
    body = {"model": "sam:latest", "image": URI.partition(",")[2], "prompt": prompt}
    with serve() as client:
        answer = post(client, "/api/generate", body)
        half = {**body, "prompt": {"points": [[8, 3]], "point_labels": [2]}}
        assert client.post("/api/generate", content=json.dumps(half), headers=JSON).status_code == 422
    [found] = answer["annotations"]
    assert found["bounding_box"] == {"xmin": 8, "ymin": 3, "xmax": 19, "ymax": 11}
    mask = np.asarray(Image.open(io.BytesIO(base64.b64decode(found["mask"]))))
    np.testing.assert_array_equal(mask, box_mask() * 255)


def rectangle(text: str) -> str:
    """A request of Label Studio about one region, whose value has this width."""
    region = json.dumps({**RECTANGLE, "value": {**RECTANGLE["value"], "width": "WIDTH"}})
    return studio(f"[{region}]".replace('"WIDTH"', text))


def studio(regions: str, image: str = URI) -> str:
    body = {"tasks": [{"data": {"photo": image}}], "label_config": BRUSH, "params": {"context": {"result": "REGIONS"}}}
    return json.dumps(body).replace('"REGIONS"', regions)


def marks(text: str) -> str:
    """A request of X-AnyLabeling with these marks."""
    return json.dumps({"model": "stub", "image": URI, "params": {"marks": "MARKS"}}).replace('"MARKS"', text)


HUGE = "9" * 400
PLACE = "expected marks of type point or rectangle"
NO_REGION = "a region has no x, y, width and height in percent"
BESIDE = json.dumps([RECTANGLE, RECTANGLE, key_point(50, 50, 1)])
MARKS_BESIDE = json.dumps(
    [{"type": "rectangle", "data": [8, 3, 20, 12]}] * 2 + [{"type": "point", "data": [15, 15], "label": 1}]
)


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        ("/predict", rectangle("1e9"), "box.2: Input should be less than or equal to 1000000"),
        ("/predict", rectangle("1e999"), "box.2: Input should be"),
        ("/predict", rectangle('"nan"'), "box.2: Input should be"),
        ("/predict", rectangle(HUGE), NO_REGION),
        ("/predict", rectangle("[3]"), NO_REGION),
        ("/predict", studio("5"), "expected a list of regions, found 5"),
        ("/predict", studio('{"x": 1}'), "expected a list of regions, found {'x': 1}"),
        ("/predict", studio(BESIDE), "points beside several rectangles"),
        ("/predict", studio(json.dumps([RECTANGLE]), "http://[x"), "the task's data names no address: http://[x"),
        ("/v1/predict", marks('[{"type": "rectangle", "data": [0, 0, 1e9, 5]}]'), "box.2: Input should be less"),
        ("/v1/predict", marks('[{"type": "rectangle", "data": [NaN, 0, 9, 5]}]'), "box.0: Input should be"),
        ("/v1/predict", marks('[{"type": "point", "data": [0, 1e999]}]'), "points.0.1: Input should be"),
        ("/v1/predict", marks(f'[{{"type": "point", "data": [0, {HUGE}]}}]'), PLACE),
        ("/v1/predict", marks("5"), "expected a list of marks, found 5"),
        ("/v1/predict", marks(MARKS_BESIDE), "points beside several rectangles"),
        ("/api/generate", json.dumps({"image": URI, "prompt": {"points": [[0, 1e9]]}}), "prompt.points.0.1: Input"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(path: str, body: str, told: str) -> None:
    with serve() as client:
        answer = client.post(path, content=body, headers=JSON)
    assert answer.status_code == 422
    assert answer.json()["error"].startswith(told)
