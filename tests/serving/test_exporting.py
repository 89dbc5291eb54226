"""What the page downloads."""

from __future__ import annotations

import io
import json
import re
import threading
import tracemalloc
import zipfile
from collections.abc import Callable
from itertools import product
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image
from serving_stub import JSON, ask, keys_of, picture_file, send_picture, serve
from starlette.testclient import TestClient

from vns_sam.formats.rle import decode_rle, encode_rle
from vns_sam.images.write import encode_archive
from vns_sam.serving.exporting import Export, own_names, safe_names, write
from vns_sam.serving.folder import Project
from vns_sam.serving.problems import Problem


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


def test_pictures_of_the_folder_are_named_by_their_keys(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / "photos").mkdir(exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(picture_file())
    rows = [{"name": f"{name}.png", "objects": [{"mask": encode_rle(mask(3 + k))}]} for k, name in enumerate("ab")]

    def ask(client: TestClient, *pictures: dict[str, Any]) -> Any:
        return client.post("/api/export", content=json.dumps({"format": "png", "pictures": pictures}), headers=JSON)

    with serve(folder=tmp_path / "photos", out=tmp_path / "masks") as client:
        for row, key in zip(rows, keys_of(client), strict=True):
            row["key"] = key
        archive = zipfile.ZipFile(io.BytesIO(ask(client, *rows).content))
        assert archive.namelist() == ["a_mask.png", "b_mask.png"]
        for k, name in enumerate(archive.namelist()):
            np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(archive.read(name)))), mask(3 + k) * 255)
        assert ask(client, {**rows[0], "key": "2"}).status_code == 404
        assert ask(client, {**rows[0], "id": "x"}).status_code == 422
        assert ask(client, {"name": "a.png", "objects": rows[0]["objects"]}).status_code == 422
    with serve() as client:
        assert ask(client, rows[0]).status_code == 404


def test_masks_alone_are_written_without_their_pictures_and_the_limit_of_others_is_told() -> None:
    objects = [{"mask": {"size": [2000, 3000], "counts": [0, 6_000_000]}}]

    def ask(client: TestClient, kind: str, *which: dict[str, Any]) -> Any:
        rows = [{**one, "name": f"{k}.png", "objects": objects} for k, one in enumerate(which)]
        return client.post("/api/export", content=json.dumps({"format": kind, "pictures": rows}), headers=JSON)

    with serve(memory=64_000_000) as client:
        rows = client.get("/api/formats").json()
        assert [row["name"] for row in rows if row["shows_picture"]] == ["yolo", "cutout"]
        sized = {"size": [2000, 3000]}
        for row in rows:
            answer = ask(client, row["name"], sized)
            assert answer.status_code == (422 if row["shows_picture"] else 200), (row["name"], answer.text)
        with zipfile.ZipFile(io.BytesIO(ask(client, "png", *[sized] * 9).content)) as archive:
            assert len(archive.namelist()) == 9
        ids = [{"id": send_picture(client, picture_file(3000, 2000, "JPEG"))} for _ in range(4)]  # 18 MB of pixels each
        assert ask(client, "cutout", *ids[1:]).status_code == 200
        answer = ask(client, "cutout", *ids)
        told = "4 opened pictures take 72 MB, the server holds 64 MB"
        assert (answer.status_code, answer.json()["error"]) == (413, told)
        assert ask(client, "png", sized, {"size": [2000, 2999]}).status_code == 422
        assert ask(client, "png", {**sized, **ids[0]}).status_code == 422
        objects[0]["mask"]["size"] = [20_000, 30_000]
        assert ask(client, "png", {"size": [20_000, 30_000]}).status_code == 413


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
        (["/", "/", ".."], ["picture", "picture-2", "picture-3"]),
    ],
)
def test_names_stay_below_their_folder(given: list[str], expected: list[str]) -> None:
    assert safe_names(given) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["a.jpg", "a.png", "a-2.png"], ["a.jpg", "a.png", "a-2.png"]),
        (["a.jpg", "a.jpg", "a-2.jpg"], ["a.jpg", "a-2.jpg", "a-2-2.jpg"]),
        (["../../etc/x.jpg", "b\x01.jpg", ".."], ["etc/x.jpg", "b.jpg", "picture"]),
    ],
)
def test_each_picture_is_called_by_a_name_of_its_own(given: list[str], expected: list[str]) -> None:
    assert own_names(given, safe_names(given)) == expected


def told(kind: str, names: list[str]) -> tuple[list[str], list[str]]:
    """Names of an export's files about one picture, and what they call it."""
    objects = [{"mask": encode_rle(mask(3))}]
    rows = [{"size": [30, 40], "name": name, "objects": objects} for name in names]
    files = write(Export.model_validate({"format": kind, "pictures": rows}), [lambda: None] * len(rows), 10_000_000)
    called = re.compile(rb'"(?:file_name|imagePath|image)": "([^"]+)"|<image [^>]*name="([^"]+)"|<filename>([^<]+)')
    found = {name: called.findall(content) for name, content in files.items()}
    single = {name: unquote("".join(map(bytes.decode, hits[0]))) for name, hits in found.items() if len(hits) == 1}
    return list(single), list(single.values())


@pytest.mark.parametrize("kind", ["coco", "labelme", "labelstudio", "cvat", "voc", "geojson"])
def test_pictures_are_called_what_they_are_called(kind: str) -> None:
    local = "/data/local-files/?d=" if kind == "labelstudio" else ""
    files, names = told(kind, ["frog.jpg", "frog.png", "a: b?.png"])
    assert names == [f"{local}{name}" for name in ("frog.jpg", "frog.png", "a: b?.png")]
    assert len({PurePosixPath(name).with_suffix("") for name in files}) == 3
    assert not any(c in name for name in files for c in ":?")
    assert told(kind, ["frog.png", "frog.png"])[1] == [f"{local}frog.png", f"{local}frog-2.png"]


def test_any_name_can_be_written_or_is_refused() -> None:
    row = {"size": [30, 40], "name": "NAME", "objects": [{"mask": encode_rle(mask(3))}]}
    with serve() as client:
        kinds = [row["name"] for row in client.get("/api/formats").json() if not row["shows_picture"]]
        for kind, name in product(kinds, ["\\u0000\\u0001.png", "\\ud800.png", "../../etc/passwd", "/", "<&>.png"]):
            body = json.dumps({"format": kind, "pictures": [row]}).replace("NAME", name)
            answer = client.post("/api/export", content=body, headers=JSON)
            assert answer.status_code == (422 if "ud8" in name else 200), (kind, name)


def large(kind: str, count: int, side: int = 1000) -> tuple[Export, list[Callable[[], np.ndarray]]]:
    """An export of a grey picture and so many masks that cover a quarter of it each, and what reads the picture."""
    values = np.zeros((side, side), bool)
    values[: side // 2, : side // 2] = True
    entry = {"id": "x", "name": "frog.png", "objects": [{"mask": encode_rle(values)}] * count}
    order = Export.model_validate({"format": kind, "pictures": [entry]})
    return order, [lambda: np.full((side, side, 3), 90, np.uint8)]


def test_masks_are_held_for_what_they_cover() -> None:
    order, readers = large("coco", 40)
    tracemalloc.start()
    files = write(order, readers, memory=40_000_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [row["area"] for row in json.loads(files["frog_mask.json"])["annotations"]] == [250_000] * 40
    assert peak < 20_000_000  # a byte for each pixel of 40 masks is 40 MB, the logits of a float each 160 MB


def test_more_than_the_memory_allows_is_refused_before_it_is_taken() -> None:
    order, readers = large("coco", 40)
    with pytest.raises(Problem, match="40 masks of 1000 x 1000 pixels take 5 MB, the server holds 4 MB") as refused:
        write(order, readers, memory=4_000_000)
    assert (refused.value.status_code, refused.value.hint) == (
        413,
        "fewer objects or pictures at a time, or serve --memory",
    )
    noise = np.random.default_rng(0).integers(0, 255, (300, 300, 3), np.uint8)
    order, _ = large("cutout", 4, side=300)
    with pytest.raises(Problem, match="the files take 1 MB, the server holds 0 MB") as refused:
        write(order, [lambda: noise], memory=400_000)
    assert refused.value.status_code == 413


def test_masks_are_answered_while_an_export_is_written(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "frog.png").write_bytes(picture_file())
    reading, go = threading.Event(), threading.Event()

    def wait_and_read(project: Project, index: int) -> np.ndarray:
        reading.set()
        assert go.wait(20)
        return read(project, index)

    read, codes = Project.read, []
    entry: dict[str, Any] = {"name": "frog.png", "objects": [{"mask": encode_rle(mask(3))}]}
    with pytest.MonkeyPatch.context() as patch, serve(folder=tmp_path / "photos", out=tmp_path / "masks") as client:
        patch.setattr(Project, "read", wait_and_read)
        [entry["key"]] = keys_of(client)
        body = json.dumps({"format": "png", "pictures": [entry]})
        thread = threading.Thread(
            target=lambda: codes.append(client.post("/api/export", content=body, headers=JSON).status_code)
        )
        thread.start()
        assert reading.wait(20)
        assert ask(client, send_picture(client), objects=[{"points": [[9, 9]]}]).status_code == 200
        assert codes == []
        go.set()
        thread.join()
    assert codes == [200]


def test_an_export_ends_before_the_next_picture_once_nobody_waits() -> None:
    order, [read] = large("png", 1, side=8)
    order.pictures.append(order.pictures[0])
    asked = []

    def gone() -> None:
        if asked:
            raise Problem(499, "the client went away")

    def reading() -> np.ndarray:
        asked.append(1)
        return read()

    with pytest.raises(Problem, match="went away"):
        write(order, [reading, reading], 1_000_000, gone)
    assert len(asked) == 1


def test_several_files_are_packed_small() -> None:
    entries = zipfile.ZipFile(io.BytesIO(export("cutout", [("frog", 3), ("moth", 9)]).content)).infolist()
    assert {entry.compress_type for entry in entries} == {zipfile.ZIP_DEFLATED}
    assert len(encode_archive([("a", b"ab" * 100_000)])) < 1000
    assert encode_archive([("a", b"x")]) == encode_archive([("a", b"x")])


@pytest.mark.parametrize("score", ["NaN", "1e999"])
def test_scores_are_numbers(score: str) -> None:
    with serve() as client:
        picture = {"id": send_picture(client), "name": "frog", "objects": [{"score": 7, "mask": encode_rle(mask(3))}]}
        body = json.dumps({"format": "coco", "pictures": [picture]}).replace("7,", f"{score},", 1)
        answer = client.post("/api/export", content=body, headers=JSON)
    assert answer.status_code == 422
    assert "score" in answer.json()["error"]
