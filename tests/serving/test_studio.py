"""Pictures that come from Label Studio, of which a stand-in is asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from serving_stub import JSON, picture_file, serve

CONFIG = """<View><Image name="img" value="$photo"/>
<BrushLabels name="mask" toName="img"><Label value="frog"/></BrushLabels></View>"""
POINT = {"type": "keypointlabels", "value": {"x": 50, "y": 50, "keypointlabels": ["frog"]}}
LEGACY, PERSONAL = "0123abcd", "aaa.bbb.ccc"


class Studio(ThreadingHTTPServer):
    """One picture behind the two kinds of tokens; ``asked`` keeps each request's path and what it showed."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[tuple[str, str]] = []
        self.holds = "access-1"

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Studio

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        shown = self.headers.get("Authorization", "")
        self.server.asked.append((self.path, shown))
        known = shown in (f"Token {LEGACY}", f"Bearer {self.server.holds}")
        self.answer(200 if known else 401, picture_file() if known else b"{}")

    def do_POST(self) -> None:
        given = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, given["refresh"]))
        known = given["refresh"] == PERSONAL and self.headers["Content-Type"] == "application/json"
        self.answer(200 if known else 401, json.dumps({"access": self.server.holds} if known else {}).encode())

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def studio() -> Iterator[Studio]:
    with Studio() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def predict(client: Any, picture: str = "/data/upload/1/a.png?x=1") -> Any:
    task = {"id": 1, "data": {"photo": picture}}
    body = {"tasks": [task], "label_config": CONFIG, "params": {"context": {"result": [POINT]}}}
    return client.post("/predict", content=json.dumps(body), headers=JSON)


def test_a_legacy_token_is_shown_as_it_is(studio: Studio) -> None:
    with serve(label_studio=studio.address, label_studio_token=LEGACY) as client:
        assert len(predict(client).json()["results"][0]["result"]) == 1
    assert studio.asked == [("/data/upload/1/a.png?x=1", f"Token {LEGACY}")]


def test_a_personal_access_token_is_changed_once_and_again_when_it_no_longer_holds(studio: Studio) -> None:
    picture, refresh = "/data/upload/1/a.png?x=1", ("/api/token/refresh/", PERSONAL)
    with serve(label_studio=f"{studio.address}/", label_studio_token=PERSONAL) as client:
        assert [predict(client).status_code for _ in range(2)] == [200, 200]
        studio.holds = "access-2"
        assert predict(client).status_code == 200
    held = [(picture, "Bearer access-1")] * 3
    assert studio.asked == [refresh, *held, refresh, (picture, "Bearer access-2")]


def test_a_token_that_is_not_taken_is_told(studio: Studio) -> None:
    for token, told in (
        ("a.b.c", "Label Studio does not take the personal access token (HTTP Error 401: Unauthorized)"),
        ("abc", "Label Studio does not give the picture (HTTP Error 401: Unauthorized)"),
    ):
        with serve(label_studio=studio.address, label_studio_token=token) as client:
            answer = predict(client)
        assert (answer.status_code, answer.json()["error"]) == (422, told)
        assert "--label-studio-token" in answer.json()["hint"]


def test_an_address_that_is_none_is_told(studio: Studio) -> None:
    with serve(label_studio=studio.address, label_studio_token=LEGACY) as client:
        answer = predict(client, "/data/upload/1/a b.png")
    assert answer.status_code == 422
    assert answer.json()["error"].startswith("Label Studio does not give the picture (URL can't contain")
    assert studio.asked == []
