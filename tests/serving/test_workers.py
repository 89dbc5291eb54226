"""Several workers behind one address: whichever takes a request, it is answered as by one."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from serving_site import free_port, start
from serving_stub import picture_file

from vns_sam.errors import UsageError
from vns_sam.serving.relay import Place
from vns_sam.serving.settings import Settings
from vns_sam.serving.workers import run_workers

WORKERS = 3
BOX = {"objects": [{"box": [5, 4, 20, 14]}]}


@pytest.fixture(scope="module")
def site() -> Iterator[tuple[int, int]]:
    """Port and process of a server of three workers."""
    port = free_port()
    process = start(port, workers=WORKERS)
    yield port, process.pid
    crew = children(process.pid)
    process.terminate()
    assert process.wait(60) == 0
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{pid}").exists() for pid in crew):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def children(pid: int) -> list[int]:
    return [int(k) for k in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def call(port: int, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any, Any]:
    """One request on a connection of its own, so any worker may take it: status, headers, and JSON or text."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
        headers["Content-Type"] = "application/json"
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    try:
        return answer.status, answer.headers, json.loads(text)
    except ValueError:
        return answer.status, answer.headers, text


def test_a_session_is_at_home_whoever_takes_its_requests(site: tuple[int, int]) -> None:
    port, _ = site
    sessions = [f"session-number-{k:04d}" for k in range(12)]
    assert {Place(0, WORKERS, Path()).home(session) for session in sessions} == set(range(WORKERS))
    ids = {}
    for session in sessions:
        status, _, told = call(port, "POST", "/api/pictures", picture_file(), X_Session=session)
        assert status == 201
        ids[session] = told["id"]
    for session, key in ids.items():
        for _ in range(4):
            status, _, told = call(port, "POST", f"/api/pictures/{key}/masks", BOX, X_Session=session)
            assert (status, told["objects"][0]["area"]) == (200, 150)
        assert call(port, "GET", f"/api/pictures/{key}", X_Session="somebody-else-entirely")[0] == 404
    text = call(port, "GET", "/metrics")[2].decode()
    assert int(re.findall(r"^vns_sam_pictures (\d+)", text, re.M)[0]) == len(sessions)
    for session in sessions:  # most of these are at home elsewhere than with the worker that takes the request
        assert {call(port, "GET", path, X_Session=session)[0] for path in ("/counts", "/%63ounts")} == {404}
    for session, key in ids.items():
        assert call(port, "DELETE", f"/api/pictures/{key}", X_Session=session)[0] == 204


def test_a_new_session_is_at_home_where_it_was_welcomed(site: tuple[int, int]) -> None:
    port, _ = site
    for _ in range(6):
        cookie = call(port, "GET", "/")[1]["set-cookie"].partition(";")[0]
        status, headers, told = call(port, "POST", "/api/pictures", picture_file(), Cookie=cookie)
        assert (status, headers["set-cookie"]) == (201, None)
        assert call(port, "GET", f"/api/pictures/{told['id']}/preview", Cookie=cookie)[0] == 200


def test_refusals_and_large_bodies_pass_through(site: tuple[int, int]) -> None:
    port, _ = site
    large = picture_file(1600, 1200)
    for k in range(6):
        session = f"another-session-{k:04d}"
        assert len(large) > 5_000_000
        assert call(port, "POST", "/api/pictures", large, X_Session=session)[0] == 201
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("POST", "/api/pictures", headers={"X-Session": session, "Content-Length": "60000000"})
        answer = connection.getresponse()
        assert (answer.status, "50 MB" in answer.read().decode()) == (413, True)
        connection.close()
        chunks = iter([picture_file()[:100], picture_file()[100:]])
        connection.request("POST", "/api/pictures", chunks, {"X-Session": session}, encode_chunked=True)
        assert connection.getresponse().status == 201
        connection.close()


def test_a_worker_that_is_killed_is_begun_again(site: tuple[int, int]) -> None:
    port, pid = site
    time.sleep(5)  # one that ends sooner would not be begun again
    sessions = [f"one-more-session-{k:04d}" for k in range(6)]
    ids = {s: call(port, "POST", "/api/pictures", picture_file(), X_Session=s)[2]["id"] for s in sessions}
    victims = [child for child in children(pid) if "resource_tracker" not in command(child)]
    os.kill(victims[0], signal.SIGKILL)
    kept = 0
    for session, key in ids.items():
        for _ in range(200):
            status, headers, _ = call(port, "GET", f"/api/pictures/{key}", X_Session=session)
            assert status in (200, 404, 503)
            if status != 503:
                break
            assert headers["retry-after"] == "1"
            time.sleep(0.1)
        assert status != 503
        kept += status == 200
        assert call(port, "POST", "/api/pictures", picture_file(), X_Session=session)[0] == 201
    assert 0 < kept < len(sessions)


def test_a_client_that_hangs_up_is_passed_over_wherever_its_home_is() -> None:
    port = free_port()
    process = start(port, workers=2, seconds=0.5)
    sessions = ["the-first-session-", "the-second-session"]
    while len({Place(0, 2, Path()).home(session) for session in sessions}) < 2:
        sessions[1] += "-"
    for session in sessions:
        key = call(port, "POST", "/api/pictures", picture_file(), X_Session=session)[2]["id"]
        lines = [http.client.HTTPConnection("127.0.0.1", port, timeout=60) for _ in range(6)]
        for line in lines:
            head = {"X-Session": session, "Content-Type": "application/json"}
            line.request("POST", f"/api/pictures/{key}/masks", json.dumps(BOX), head)
            time.sleep(0.02)
        for line in lines[1:5]:
            line.close()
        assert [line.getresponse().status for line in (lines[0], lines[5])] == [200, 200]
    text = call(port, "GET", "/metrics")[2].decode()
    process.terminate()
    assert process.wait(60) == 0
    asked = re.findall(r'route="/api/pictures/{key}/masks",status="(\d+)"} (\d+)', text)
    assert dict(asked) == {"200": "4", "499": "8"}


def command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


def test_too_little_memory_for_so_many() -> None:
    with pytest.raises(UsageError, match="64 MB for each of 4"):
        run_workers(Settings(memory=200_000_000), 4)
