"""What the page downloads."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from serving_stub import JSON, picture_file, send_picture, serve
from starlette.testclient import TestClient

from vns_sam.formats.rle import decode_rle, encode_rle
from vns_sam.serving.exporting import safe_names


def mask(top: int) -> np.ndarray:
    values = np.zeros((30, 40), bool)
    values[top : top + 5, 4:30] = True
    return values


def export(kind: str, *objects: list[tuple[str, int]]) -> Any:
    with serve() as client:
        key = send_picture(client)
        pictures = [
            {
                "id": key,
                "name": f"sub/frog {k}.png",
                "objects": [{"label": label, "score": 0.7, "mask": encode_rle(mask(top))} for label, top in some],
            }
            for k, some in enumerate(objects)
        ]
        body = {"format": kind, "pictures": pictures}
        return client.post("/api/export", content=json.dumps(body), headers=JSON)


def test_one_mask_is_one_file() -> None:
    response = export("png", [("frog", 3)])
    assert response.headers["content-disposition"] == 'attachment; filename="frog 0_mask.png"'
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(response.content))), mask(3) * 255)


def test_several_pictures_become_one_coco_set() -> None:
    response = export("coco", [("frog", 3), ("moth", 20)], [("moth", 9)])
    archive = zipfile.ZipFile(io.BytesIO(response.content))
    sets = [json.loads(archive.read(name)) for name in archive.namelist()]
    whole = max(sets, key=lambda one: len(one["images"]))
    assert [picture["file_name"] for picture in whole["images"]] == ["sub/frog 0.png", "sub/frog 1.png"]
    names = {row["id"]: row["name"] for row in whole["categories"]}
    assert [names[row["category_id"]] for row in whole["annotations"]] == ["frog", "moth", "moth"]
    np.testing.assert_array_equal(decode_rle(whole["annotations"][2]["segmentation"]), mask(9))


def test_pictures_of_the_folder_are_named_by_number(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / "photos").mkdir(exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(picture_file())
    rows = [
        {"index": k, "name": f"{name}.png", "objects": [{"mask": encode_rle(mask(3 + k))}]}
        for k, name in enumerate("ab")
    ]

    def ask(client: TestClient, *pictures: dict[str, Any]) -> Any:
        return client.post("/api/export", content=json.dumps({"format": "png", "pictures": pictures}), headers=JSON)

    with serve(folder=tmp_path / "photos", out=tmp_path / "masks") as client:
        archive = zipfile.ZipFile(io.BytesIO(ask(client, *rows).content))
        assert archive.namelist() == ["a_mask.png", "b_mask.png"]
        for k, name in enumerate(archive.namelist()):
            np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(archive.read(name)))), mask(3 + k) * 255)
        assert ask(client, {**rows[0], "index": 2}).status_code == 404
        assert ask(client, {**rows[0], "id": "x"}).status_code == 422
        assert ask(client, {"name": "a.png", "objects": rows[0]["objects"]}).status_code == 422
    with serve() as client:
        assert ask(client, rows[0]).status_code == 404


def test_every_format_can_be_written() -> None:
    with serve() as client:
        names = [row["name"] for row in client.get("/api/formats").json()]
        assert all(row["title"] for row in client.get("/api/formats").json())
    assert {"png", "coco", "yolo", "labelme", "labelstudio", "geojson", "svg", "cutout", "indexed", "npz"} <= set(names)
    for name in names:
        assert export(name, [("frog", 3)]).status_code == 200, name


def test_what_cannot_be_written_is_told() -> None:
    assert export("tiff", [("frog", 3)]).status_code == 422
    assert export("alpha", [("frog", 3)]).status_code == 422


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["../../etc/passwd"], ["etc/passwd"]),
        (["C:\\x\\frog.png"], ["C/x/frog.png"]),
        (["a.png", "a.jpg", "A.png"], ["a.png", "a-2.jpg", "A-3.png"]),
        (["/"], ["picture"]),
    ],
)
def test_names_stay_below_their_folder(given: list[str], expected: list[str]) -> None:
    assert safe_names(given) == expected
