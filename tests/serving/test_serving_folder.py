"""A folder that is labelled: what was done is there again, and its masks are files."""

from __future__ import annotations

import io
import json
import os
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from serving_stub import JSON, keys_of, picture_file, serve
from starlette.testclient import TestClient

from vns_sam.errors import DataError, UsageError
from vns_sam.formats.rle import encode_rle
from vns_sam.serving.folder import Project
from vns_sam.serving.problems import Problem
from vns_sam.serving.schemas import Annotations
from vns_sam.serving.settings import Settings


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name in ("b.png", "a.png", "sub/c.png", "a.jpg"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture_file(kind="JPEG" if name.endswith("jpg") else "PNG"))
    return tmp_path / "photos"


def mask_of(rows: slice) -> np.ndarray:
    mask = np.zeros((30, 40), bool)
    mask[rows, 10:20] = True
    return mask


def save(client: TestClient, index: int, picture: str, masks: list[np.ndarray]) -> Any:
    objects = [{"label": "frog", "score": 0.5, "mask": encode_rle(mask), "page": {"clicks": []}} for mask in masks]
    body = json.dumps({"objects": objects, "saved_at": 17.0})
    return client.put(f"/api/folder/{keys_of(client)[index]}/annotations?picture={picture}", content=body, headers=JSON)


def test_save_and_come_back(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "masks"
    with serve(folder=photos, out=out) as client:
        assert [row["name"] for row in client.get("/api/folder").json()["pictures"]] == [
            "a.jpg",
            "a.png",
            "b.png",
            "sub/c.png",
        ]
        opened = client.post(f"/api/folder/{keys_of(client)[3]}").json()
        assert opened["annotations"]["objects"] == []
        assert save(client, 3, opened["id"], [mask_of(slice(3, 9)), mask_of(slice(20, 25))]).status_code == 204
    with serve(folder=photos, out=out) as client:
        assert [row["objects"] for row in client.get("/api/folder").json()["pictures"]] == [0, 0, 0, 2]
        again = client.post(f"/api/folder/{keys_of(client)[3]}").json()["annotations"]
    assert [item["label"] for item in again["objects"]] == ["frog", "frog"]
    union = np.asarray(Image.open(out / "sub" / "c.png"))
    np.testing.assert_array_equal(union, (mask_of(slice(3, 9)) | mask_of(slice(20, 25))) * 255)


def test_pictures_of_one_stem_do_not_share_a_mask(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "masks"
    with serve(folder=photos, out=out) as client:
        for index in (0, 1):
            opened = client.post(f"/api/folder/{keys_of(client)[index]}").json()
            assert save(client, index, opened["id"], [mask_of(slice(3, 9 + index))]).status_code == 204
    assert {path.name for path in out.iterdir()} == {"a.jpg.json", "a.jpg.png", "a.png.json", "a.png.png"}


def test_what_does_not_belong_together_is_refused(photos: Path, tmp_path: Path) -> None:
    with serve(folder=photos, out=tmp_path / "masks") as client:
        keys = keys_of(client)
        opened = client.post(f"/api/folder/{keys[1]}").json()
        assert save(client, 2, opened["id"], []).status_code == 404
        assert save(client, 1, opened["id"], [np.ones((3, 4), bool)]).status_code == 422
        assert client.post("/api/folder/9").status_code == 404
        assert client.post("/api/folder/1").status_code == 404
    with serve() as client:
        assert client.get("/api/folder").json()["pictures"] == []
        assert client.post(f"/api/folder/{keys[0]}").status_code == 404


def test_nobody_replaces_what_was_saved_meanwhile(photos: Path, tmp_path: Path) -> None:
    with serve(folder=photos, out=tmp_path / "masks") as client:
        key = keys_of(client)[1]
        opened = client.post(f"/api/folder/{key}").json()

        def put(saved_at: float, rows: slice, base: float | None) -> Any:
            asked = {"picture": opened["id"], **({} if base is None else {"base": base})}
            body = {"objects": [{"mask": encode_rle(mask_of(rows))}], "saved_at": saved_at}
            return client.put(f"/api/folder/{key}/annotations", params=asked, content=json.dumps(body), headers=JSON)

        assert put(5, slice(3, 9), 0).status_code == 204
        assert put(5, slice(3, 9), 0).status_code == 204  # sent again, as after an answer that was lost
        refused = put(7, slice(20, 25), 0)
        assert refused.status_code == 409
        assert refused.json()["error"] == "a.png was changed elsewhere since it was opened"
        there = client.get(f"/api/folder/{key}/annotations").json()
        assert there["saved_at"] == 5
        np.testing.assert_array_equal(
            np.asarray(Image.open(tmp_path / "masks" / "a.png.png")), mask_of(slice(3, 9)) * 255
        )
        assert put(7, slice(20, 25), 5).status_code == 204
        assert put(9, slice(3, 9), None).status_code == 204
        assert client.get("/api/folder/9/annotations").status_code == 404
        (tmp_path / "masks" / "a.png.json").unlink()
        assert put(11, slice(3, 9), 9).status_code == 204  # nobody's work is lost
        assert put(13, slice(3, 9), 9).status_code == 409


@pytest.mark.parametrize(
    "other", ['{"objects": [{', '{"objects": [{"colour": "#FF0000"}]}', '{"objects": [], "version": 2}', "\udcff"]
)
def test_what_was_not_understood_is_kept(
    photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, other: str
) -> None:
    out = tmp_path / "masks"
    out.mkdir()
    project, found = Project(photos, out), other.encode(errors="surrogateescape")
    for turn in ("", "-2"):
        (out / "b.json").write_bytes(found)
        (out / "b.png").write_bytes(b"its mask")
        assert project.annotations(2).objects == []
        caplog.clear()
        for base in (5, 7):  # 5 was there before the file was damaged
            project.save(2, Annotations(saved_at=7), (30, 40), base=base)
        assert (out / f"b.json.kept{turn}").read_bytes() == found
        assert (out / f"b.png.kept{turn}").read_bytes() == b"its mask"
        [line] = [record.getMessage() for record in caplog.records]
        assert line.endswith(f"kept as {out / f'b.json.kept{turn}'} and {out / f'b.png.kept{turn}'}")
    names = {"b.json", *(f"b.{kind}.kept{turn}" for kind in ("json", "png") for turn in ("", "-2"))}
    assert {path.name for path in out.iterdir()} == names


def test_a_mask_of_somebody_else_is_kept(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "masks"
    out.mkdir()
    (out / "b.png").write_bytes(b"a mask that was drawn elsewhere")
    item = {"mask": encode_rle(mask_of(slice(3, 9)))}
    for _ in range(2):
        Project(photos, out).save(2, Annotations.model_validate({"objects": [item]}), (30, 40))
    assert (out / "b.png.kept").read_bytes() == b"a mask that was drawn elsewhere"
    assert {path.name for path in out.iterdir()} == {"b.json", "b.png", "b.png.kept"}


def test_many_masks_take_the_memory_of_two(photos: Path, tmp_path: Path) -> None:
    side, project = 1000, Project(photos, tmp_path / "masks")
    empty, column = {"size": [side, side], "counts": [side * side]}, [3 * side, side, (side - 4) * side]
    objects = [{"mask": empty}, {"mask": {**empty, "counts": column}}] + [{"mask": empty}] * 200
    annotations = Annotations.model_validate({"objects": objects})
    for act in (lambda: project.save(2, annotations, (side, side)), lambda: project.masks(2)):
        tracemalloc.start()
        act()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 10 * side * side
    written = np.asarray(Image.open(tmp_path / "masks" / "b.png"))
    assert (np.flatnonzero(written.any(axis=0)).tolist(), int(written.sum())) == ([3], 255 * side)
    [mask] = project.masks(2)
    np.testing.assert_array_equal(mask * 255, written)
    wrong = Annotations.model_validate({"objects": [*objects, {"mask": {**empty, "counts": [1]}}]})
    with pytest.raises(Problem, match="do not add up"):
        project.save(3, wrong, (side, side))
    assert {path.name for path in (tmp_path / "masks").iterdir()} == {"b.json", "b.png"}


def test_what_cannot_be_read_is_an_error_and_stays(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "masks"
    (out / "b.json").mkdir(parents=True)  # as good as a file that is forbidden, which root may read
    with serve(folder=photos, out=out) as client:
        assert [row["objects"] for row in client.get("/api/folder").json()["pictures"]] == [0, 0, 0, 0]
        refused = client.post(f"/api/folder/{keys_of(client)[2]}")
        assert (refused.status_code, refused.json()["error"]) == (422, f"cannot read {out / 'b.json'}: is a directory")
    with pytest.raises(DataError, match="cannot read"):
        Project(photos, out).save(2, Annotations(), (30, 40))
    (out / "b.json").rmdir()
    (out / "b.json").write_text(Annotations().model_dump_json())
    (out / "b.png").mkdir()
    with pytest.raises(DataError, match="cannot write"):
        Project(photos, out).save(2, Annotations(), (30, 40))


def test_the_output_is_no_input(photos: Path) -> None:
    with pytest.raises(UsageError, match="place for its masks"):
        Settings(folder=photos)
    with pytest.raises(DataError, match="taken for pictures"):
        Project(photos, photos)
    (photos / "out").mkdir()
    (photos / "out" / "a.png").write_bytes(picture_file())
    assert "out/a.png" not in Project(photos, photos / "out").names


def test_a_picture_is_known_by_its_folder_and_name_wherever_it_is_in_the_list(photos: Path, tmp_path: Path) -> None:
    def served(folder: Path) -> tuple[TestClient, dict[str, str]]:
        client = serve(folder=folder, out=tmp_path / "masks")
        return client, {row["name"]: row["key"] for row in client.get("/api/folder").json()["pictures"]}

    _, before = served(photos)
    for name in ("a.jpg", "b.png"):
        (tmp_path / "others").mkdir(exist_ok=True)
        (tmp_path / "others" / name).write_bytes((photos / name).read_bytes())
    (photos / "0.png").write_bytes(picture_file())
    (photos / "a.jpg").unlink()
    _, after = served(photos)
    assert list(after) == ["0.png", *list(before)[1:]]
    assert {name: key for name, key in after.items() if name in before} == {k: before[k] for k in list(before)[1:]}
    client, others = served(tmp_path / "others")
    assert not {*others.values()} & {*before.values()}
    row = {"key": before["b.png"], "name": "b.png", "objects": [{"mask": encode_rle(mask_of(slice(3, 9)))}]}
    body = json.dumps({"format": "png", "pictures": [row]})
    answers = [
        client.post(f"/api/folder/{before['b.png']}"),
        client.get(f"/api/folder/{before['b.png']}/annotations"),
        client.get(f"/api/folder/{before['b.png']}/thumbnail"),
        client.put(f"/api/folder/{before['b.png']}/annotations?picture=x", content="{}", headers=JSON),
        client.post("/api/export", content=body, headers=JSON),
    ]
    for answer in answers:
        assert answer.status_code == 404
        assert answer.json() == {
            "error": "the folder that is served now does not hold this picture",
            "hint": "reload the page, or serve the folder that it shows",
        }


def test_names_that_are_no_utf8_are_spelt_and_kept_apart(photos: Path, tmp_path: Path) -> None:
    names = [os.fsdecode(name) for name in (b"caf\xe8.png", b"caf\xe9.png", b"caf\xea.png")]
    try:
        for name in names:
            (photos / name).write_bytes(picture_file() if name != names[2] else b"damaged")
    except OSError:
        pytest.skip("names of files are UTF-8 here")
    with serve(folder=photos, out=tmp_path / "masks") as client:
        rows = [row for row in client.get("/api/folder").json()["pictures"] if row["name"].startswith("caf")]
        assert [row["name"] for row in rows] == ["caf%E8.png", "caf%E9.png", "caf%EA.png"]
        keys = [row["key"] for row in rows]
        assert len(set(keys)) == 3
        opened = client.post(f"/api/folder/{keys[1]}").json()
        assert opened["name"] == "caf%E9.png"
        body = json.dumps({"objects": [{"mask": encode_rle(mask_of(slice(3, 9)))}], "saved_at": 5})
        place = f"/api/folder/{keys[1]}/annotations"
        asked = {"picture": opened["id"], "base": 0}
        assert client.put(place, params=asked, content=body, headers=JSON).status_code == 204
        refused = client.put(place, params=asked, content=body.replace("5}", "7}"), headers=JSON)
        assert (refused.status_code, refused.json()["error"][:11]) == (409, "caf%E9.png ")
        damaged = client.post(f"/api/folder/{keys[2]}")
        assert damaged.status_code == 422
        assert "not a picture" in damaged.json()["error"]
    assert (tmp_path / "masks" / names[1]).is_file()


def test_a_small_picture_of_each(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "frog.png").write_bytes(picture_file(400, 300))
    with serve(folder=tmp_path / "photos", out=tmp_path / "masks") as client:
        [key] = keys_of(client)
        shown = Image.open(io.BytesIO(client.get(f"/api/folder/{key}/thumbnail").content))
        assert client.get("/api/folder/1/thumbnail").status_code == 404
    assert shown.size == (168, 126)


def test_saves_at_once_leave_whole_files(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "frog.png").write_bytes(picture_file())
    project = Project(tmp_path / "photos", tmp_path / "masks")
    mask = np.ones((30, 40), bool)
    objects = [{"label": "frog", "mask": encode_rle(mask)}] * 40
    states = [Annotations.model_validate({"saved_at": k, "objects": objects[:k]}) for k in range(1, 41)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda state: project.save(0, state, (30, 40)), states))
    assert len(project.annotations(0).objects) in range(1, 41)
    project.save(0, states[3], (30, 40))
    assert len(project.annotations(0).objects) == 4
