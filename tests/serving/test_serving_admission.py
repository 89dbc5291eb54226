"""What is refused, with which code, and who sees what."""

from __future__ import annotations

import base64
import io
import json
import struct
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from serving_stub import FEATURE_BYTES, JSON, StubEngine, ask, picture_file, send_picture, serve

from vns_sam.cli.main import main
from vns_sam.errors import UsageError
from vns_sam.formats.rle import encode_rle
from vns_sam.serving import masks, server
from vns_sam.serving.settings import Limits, Settings
from vns_sam.types import ModelInfo


def huge_png(width: int, height: int) -> bytes:
    """A PNG that says it is huge and holds nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"x") + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"", 422),
        (b"this is no picture", 415),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n", 415),
        (picture_file(400, 300)[:5000], 422),
        (huge_png(20000, 15000), 413),
        (huge_png(60000, 60000), 413),
        (b"x" * 200_001, 413),
    ],
    ids=["empty", "text", "svg", "postscript", "truncated", "300 Mpixel", "3600 Mpixel", "too many bytes"],
)
def test_uploads_that_cannot_be_used(data: bytes, status: int) -> None:
    with serve(limits=Limits(upload_bytes=200_000)) as client:
        response = client.post("/api/pictures", content=data)
        assert response.status_code == status, response.text
        assert response.json()["error"]
        assert len(client.app.state.service.shelf) == 0  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("sent", "found"),
    [
        ({"files": {"file": ("a.jpg", picture_file(40, 30), "image/jpeg")}}, "a form"),
        ({"data": {"file": "a.jpg"}}, "a form"),
        ({"json": {"image": base64.b64encode(picture_file(40, 30)).decode()}}, "JSON"),
        ({"content": base64.b64encode(picture_file(40, 30))}, "base64"),
        ({"content": base64.b64encode(picture_file(40, 30, "PNG"))}, "base64"),
        ({"content": b"data:image/png;base64,iVBORw"}, "base64"),
    ],
)
def test_a_picture_that_is_wrapped_is_told(sent: dict[str, Any], found: str) -> None:
    with serve() as client:
        response = client.post("/api/pictures", **sent)
    assert response.status_code == 415
    assert response.json()["error"] == f"expected the picture's file as the body, found {found}"
    assert "curl --data-binary @frog.jpg" in response.json()["hint"]


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "application/json", "text/plain"])
def test_a_picture_is_taken_whatever_its_sender_calls_it(kind: str) -> None:
    with serve() as client:
        response = client.post("/api/pictures", content=picture_file(40, 30), headers={"Content-Type": kind})
    assert response.status_code == 201, response.text


@pytest.mark.parametrize(
    ("kind", "found"),
    [("", "none"), ("application/x-www-form-urlencoded", None), ("Text/Plain; charset=x", "text/plain")],
)
def test_json_that_is_not_called_so_is_told(kind: str, found: str | None) -> None:
    body = json.dumps({"objects": [{"box": [5, 4, 20, 14]}]})
    with serve() as client:
        path = f"/api/pictures/{send_picture(client)}/masks"
        response = client.post(path, content=body, headers={"Content-Type": kind} if kind else {})
        assert client.post(path, content=body, headers={"Content-Type": "application/json; x=y"}).status_code == 200
        missing = client.post(path)
    assert response.status_code == 415
    assert response.json()["error"] == f"expected Content-Type: application/json, found {found or kind}"
    assert (missing.status_code, missing.json()["error"]) == (422, "body: Field required")


def test_a_body_without_length_is_cut_off() -> None:
    with serve(limits=Limits(upload_bytes=1000)) as client:
        assert client.post("/api/pictures", content=iter([b"x" * 600] * 3)).status_code == 413


def test_exif_is_turned_and_of_an_animation_the_first_frame_is_taken() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = picture_file(40, 30, "JPEG", exif=exif)
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "blue")]
    out = io.BytesIO()
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:])
    with serve() as client:
        opened = client.post("/api/pictures", content=turned).json()
        key = send_picture(client, out.getvalue())
        shown = np.asarray(Image.open(io.BytesIO(client.get(f"/api/pictures/{key}/preview").content)))
    assert (opened["width"], opened["height"]) == (30, 40)
    assert shown[3, 4, 0] > 200 > 60 > shown[3, 4, 2]


def test_pictures_of_others_cannot_be_reached() -> None:
    with serve() as client:
        mine = {"x-session": "a" * 20}
        key = send_picture(client, **mine)
        client.cookies.clear()
        for path, method in [("", "GET"), ("", "DELETE"), ("/preview", "GET"), ("/encode", "POST")]:
            response = client.request(method, f"/api/pictures/{key}{path}", headers={"x-session": "b" * 20})
            assert response.status_code == 404
        assert client.get(f"/api/pictures/{key}", headers=mine).status_code == 200
        assert client.delete(f"/api/pictures/{key}", headers=mine).status_code == 204
        assert client.get(f"/api/pictures/{key}", headers=mine).status_code == 404


def test_keys() -> None:
    with serve(host="0.0.0.0", api_keys=("correct horse battery",)) as client:
        assert client.get("/health").status_code == 200
        assert client.get("/").status_code == 200
        assert client.get("/api/models").status_code == 401
        assert client.get("/metrics").status_code == 401
        wrong = {"authorization": "Bearer correct horse batterx"}
        assert client.get("/api/models", headers=wrong).status_code == 401
        for header in ({"authorization": "Bearer correct horse battery"}, {"token": "correct horse battery"}):
            assert client.get("/api/models", headers=header).status_code == 200


def test_one_does_not_listen_beyond_this_machine_without_a_key() -> None:
    with pytest.raises(UsageError, match="--api-key"):
        Settings(host="0.0.0.0")
    with pytest.raises(UsageError, match="12 characters"):
        Settings(host="0.0.0.0", api_keys=("short",))
    assert Settings(host="::1").api_keys == ()


def test_other_sites_are_refused() -> None:
    with serve() as client:
        assert client.get("/api/models", headers={"origin": "https://evil.example"}).status_code == 403
        assert client.get("/api/models", headers={"host": "evil.example"}).status_code == 403
        for unreadable in ({"host": "["}, {"host": "[::1"}, {"origin": "http://["}):
            assert client.get("/api/models", headers=unreadable).status_code == 403
        assert client.get("/api/models", headers={"origin": "http://127.0.0.1"}).status_code == 200
        client.cookies.clear()
        answer = client.get("/", headers={"origin": "http://127.0.0.1"})
    assert "access-control-allow-origin" not in answer.headers
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "HttpOnly" in answer.headers["set-cookie"]
    assert "SameSite=Strict" in answer.headers["set-cookie"]


NAMED: dict[str, Any] = {"names": ("app.example.com", "Other.example.com"), "api_keys": ("correct horse battery",)}


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("app.example.com", "https://app.example.com", 200),
        ("app.example.com", "https://app.example.com:8443", 200),
        ("APP.example.com:8443", "https://app.example.com:8443", 200),
        ("127.0.0.1:8000", "https://app.example.com", 200),
        ("other.example.com", None, 200),
        ("127.0.0.1:8000", "http://127.0.0.1:8000", 200),
        ("app.example.com", "https://evil.example", 403),
        ("app.example.com", "null", 403),
        ("evil.example", None, 403),
        ("evil.example", "https://app.example.com", 403),
        ("x.app.example.com", None, 403),
    ],
)
def test_a_server_behind_a_proxy_is_asked_by_the_names_that_it_was_told(
    host: str, origin: str | None, status: int
) -> None:
    headers = {"host": host, "authorization": "Bearer correct horse battery"} | ({"origin": origin} if origin else {})
    with serve(**NAMED) as client:
        assert client.get("/api/models", headers=headers).status_code == status


@pytest.mark.parametrize(
    ("headers", "hint"),
    [
        ({"host": "app.example.com:8000"}, "if it is that of a proxy before it: --name app.example.com"),
        ({"origin": "https://app.example.com"}, "if it is that of a proxy before it: --name app.example.com"),
        ({"host": "["}, "--name segment.example.com"),
        ({"origin": "null"}, "--name segment.example.com"),
    ],
)
def test_a_refused_name_is_told_with_the_option(headers: dict[str, str], hint: str) -> None:
    with serve() as client:
        answer = client.get("/api/models", headers=headers)
    assert (answer.status_code, answer.json()["hint"]) == (403, hint)


def test_names_are_names_and_take_a_key() -> None:
    with pytest.raises(UsageError, match=r"expected --api-key to be asked as a\.example"):
        Settings(names=("a.example",))
    for name in ("https://a.example", "a.example:80", "a.example/x", "*.example", "", "a..b"):
        with pytest.raises(UsageError, match="expected a name without scheme"):
            Settings(**{**NAMED, "names": (name,)})


@pytest.mark.parametrize(
    ("options", "place"),
    [
        ([], Path("runs/learned")),
        (["--host", "0.0.0.0"], None),
        (["--name", "app.example.com"], None),
        (["--name", "app.example.com", "--learn", "here"], Path("here")),
    ],
)
def test_others_may_have_it_learn_only_where_that_was_said(
    options: list[str], place: Path | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Settings] = []

    def remember(settings: Settings) -> None:
        given.append(settings)
        raise UsageError("enough")

    monkeypatch.setattr(server, "build_server", remember)
    assert main(["serve", *options, "--api-key", "correct horse battery"]) == 2
    [settings] = given
    assert (settings.learn, settings.names) == (place, ("app.example.com",) if "--name" in options else ())


def test_memory_has_a_ceiling() -> None:
    with serve(memory=64_000_000) as client:
        service = client.app.state.service  # type: ignore[attr-defined]
        picture = picture_file(3000, 2000, compress_level=1)  # 18 MB of pixels
        keys = [send_picture(client, picture) for _ in range(3)]
        for key in keys:
            assert client.post(f"/api/pictures/{key}/encode").status_code == 204
        assert service.shelf.nbytes == 3 * (18_000_000 + FEATURE_BYTES)
        fourth = send_picture(client, picture)
        assert service.shelf.nbytes <= 64_000_000
        assert client.get(f"/api/pictures/{keys[0]}").status_code == 404
        assert client.get(f"/api/pictures/{fourth}").status_code == 200


def test_the_queue_has_an_end() -> None:
    with serve(StubEngine(seconds=0.3), limits=Limits(queue=2)) as client:
        key = send_picture(client)
        client.post(f"/api/pictures/{key}/encode")
        barrier = threading.Barrier(8)

        def one(_: int) -> Any:
            barrier.wait()
            return ask(client, key, objects=[{"box": [1, 1, 9, 9]}])

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(one, range(8)))
    statuses = [answer.status_code for answer in answers]
    assert set(statuses) == {200, 429}
    assert statuses.count(200) == 3
    assert all(int(a.headers["retry-after"]) >= 1 for a in answers if a.status_code == 429)


def test_counts_and_log_lines(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "vns_sam.serving.access"), serve() as client:
        key = send_picture(client)
        client.get(f"/api/pictures/{key}")
        client.get("/api/pictures/none")
        text = client.get("/metrics").text
    assert 'vns_sam_requests_total{method="GET",route="/api/pictures/{key}",status="200"} 1' in text
    assert 'vns_sam_requests_total{method="GET",route="/api/pictures/{key}",status="404"} 1' in text
    assert "vns_sam_pictures 1" in text
    assert key not in text
    lines = [record for record in caplog.records if record.name == "vns_sam.serving.access"]  # httpx logs addresses
    assert lines
    assert all(key not in record.getMessage() for record in lines)
    assert '"status": 404' in "".join(record.getMessage() for record in caplog.records)


def test_requests_are_told_as_lines_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    access = server.access
    kept = access.level, access.propagate
    try:
        server.build_server(Settings(log=True), StubEngine())
        server.build_server(Settings(log=True), StubEngine())
        with serve() as client:
            client.get("/health")
    finally:
        access.handlers.clear()
        access.setLevel(kept[0])
        access.propagate = kept[1]
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("{")]
    told = json.loads(line)
    assert (told["method"], told["route"], told["status"]) == ("GET", "/health", 200)
    assert told["ms"] >= 0


def test_masks_that_a_client_sends_are_bounded_by_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mask = np.zeros((900, 1200), bool)
    mask[100:200, 100:200] = True
    objects = [{"mask": encode_rle(mask)}] * 60
    with serve(memory=64_000_000, learn=tmp_path) as client:
        key = send_picture(client, picture_file(1200, 900))
        lesson = json.dumps({"objects": objects})
        assert ask(client, key, objects=objects[:2]).status_code == 200
        monkeypatch.setattr(masks, "read_mask", lambda *_: pytest.fail("memory was taken before it was judged"))
        answers = [
            ask(client, key, objects=objects),
            ask(client, key, objects=objects[:20]),
            client.put(f"/api/learn/pictures/{key}", content=lesson, headers=JSON),
        ]
    told = [
        "answers about 60 objects of 1200 x 900 pixels take 1217 MB, the server holds 64 MB",
        "answers about 20 objects of 1200 x 900 pixels take 396 MB, the server holds 64 MB",
        "60 masks of 1200 x 900 pixels take 65 MB, the server holds 64 MB",
    ]
    assert [(answer.status_code, answer.json()["error"]) for answer in answers] == [(413, line) for line in told]
    assert not list(tmp_path.rglob("*.png"))


class Refining(StubEngine):
    """Its refiner gives alpha."""

    def info(self, name: str) -> ModelInfo:
        return replace(super().info(name), alpha=name.endswith("refiner"))


def test_answers_about_many_objects_are_bounded_by_the_memory() -> None:
    """13 bytes for each of the pixels of an object, two for its two candidates; a lone one is answered always.

    Plain masks of a picture are let go as they are made where they are more than 64 million pixels.
    """
    box = {"box": [100, 100, 900, 800]}
    with serve(Refining(), memory=64_000_000) as client:
        key = send_picture(client, picture_file(3000, 2000))
        for asked in ({"refine": True}, {"edges": True}, {"candidates": True}, {}):
            assert ask(client, key, objects=[box], **asked).status_code == 200
        assert ask(client, key, objects=[box] * 12).status_code == 200
        answers = [
            ask(client, key, objects=[box] * 2, refine=True),
            ask(client, key, objects=[box] * 2, edges=True),
            ask(client, key, objects=[box] * 2),
            ask(client, key, objects=[box] * 12, candidates=True),
        ]
    told = [(answer.status_code, answer.json()["error"]) for answer in answers]
    assert told == [
        (413, f"answers about {count} objects of 3000 x 2000 pixels take {mega} MB, the server holds 64 MB")
        for count, mega in ((2, 156), (2, 156), (2, 78), (12, 144))
    ]
