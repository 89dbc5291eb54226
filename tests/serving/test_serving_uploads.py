"""Bodies that lie, dawdle or are too much, over true connections: the right code, no file, no memory."""

from __future__ import annotations

import http.client
import io
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from serving_site import free_port
from serving_stub import StubEngine, picture_file
from test_serving_admission import huge_png

from vns_sam.serving import server as module
from vns_sam.serving.server import build_server
from vns_sam.serving.settings import Limits, Settings

MB = 1_000_000


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, Any]]:
    monkeypatch.setattr(module, "SILENCE", 1.0)
    monkeypatch.setattr(module, "STALL", 1.0)
    port = free_port()
    server = build_server(Settings(port=port, limits=Limits(upload_bytes=4 * MB, body_seconds=3.0)), StubEngine())
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield port, server
    server.should_exit = True
    thread.join(60)
    assert not thread.is_alive()


def talk(port: int, head: str, *parts: bytes, wait: float = 0.0, end: bool = False) -> str:
    """Sends a request by hand and gives the first line of the answer, "" where the connection is closed without one."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as line:
        try:
            line.sendall(head.replace("\n", "\r\n").encode())
            for part in parts:
                line.sendall(part)
                time.sleep(wait)
            if end:
                line.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            pass
        try:
            return line.recv(200).decode(errors="replace").partition("\r\n")[0]
        except ConnectionResetError:
            return ""


def post(length: int) -> str:
    return f"POST /api/pictures HTTP/1.1\nHost: 127.0.0.1\nX-Session: by-hand-0123456789\nContent-Length: {length}\n\n"


CHUNKED = "POST /api/pictures HTTP/1.1\nHost: 127.0.0.1\nX-Session: by-hand-0123456789\nTransfer-Encoding: chunked\n\n"


def test_bodies_that_lie_or_dawdle(site: tuple[int, Any], caplog: pytest.LogCaptureFixture) -> None:
    port, _ = site
    picture = picture_file()
    assert " 413 " in talk(port, post(60 * MB), b"x")
    assert " 201 " in talk(port, post(len(picture)), picture)
    assert " 422 " in talk(port, post(len(picture) - 900), picture[:-900])  # truncated
    assert " 201 " not in talk(port, post(len(picture) + 500), picture, end=True)  # it never comes whole
    assert " 408 " in talk(port, post(len(picture)), *[bytes([b]) for b in picture[:12]], wait=0.4)
    chunk = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
    assert " 413 " in talk(port, CHUNKED, *[chunk] * 60)
    assert " 400 " in talk(port, post(5).replace("5", "-5"), b"xxxxx")
    assert talk(port, "", wait=0.0) == ""  # says nothing, is hung up on
    assert "Exception" not in caplog.text


def test_a_client_that_sends_all_before_it_reads_sees_why_its_body_is_refused(site: tuple[int, Any]) -> None:
    """As urllib does, and nginx where it asks for others; both want the connection to be closed."""
    for path, length, code in (("pictures", 60 * MB, 413), ("nowhere", 3 * MB, 404)):
        for _ in range(3):
            line = http.client.HTTPConnection("127.0.0.1", site[0], timeout=30)
            line.request("POST", f"/api/{path}", bytes(length), {"Connection": "close"})
            assert line.getresponse().status == code


def test_a_refused_body_that_never_ends_is_read_for_a_while(site: tuple[int, Any]) -> None:
    with socket.create_connection(("127.0.0.1", site[0]), timeout=30) as line:
        line.sendall(post(60 * MB).replace("Host", "Connection: close\nHost").replace("\n", "\r\n").encode())
        start = time.monotonic()
        assert b" 413 " in line.recv(100_000)
        while line.recv(100_000):
            pass
        assert 1 < time.monotonic() - start < 20  # body_seconds are three


@pytest.mark.parametrize("reads", [False, True])
def test_answers_that_are_not_read_are_given_up(site: tuple[int, Any], reads: bool) -> None:
    port, _ = site
    picture = picture_file(1000, 800)
    talk(port, post(len(picture)), picture)
    shelf = site[1].config.app.state.service.shelf
    key = next(iter(shelf._pictures))
    shelf._pictures[key].pixels = np.random.default_rng(0).integers(0, 255, (4000, 4000, 3), np.uint8)
    with socket.socket() as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.settimeout(30)
        line.connect(("127.0.0.1", port))
        head = f"GET /api/pictures/{key}/preview?side=4000 HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        line.sendall(f"{head}X-Session: by-hand-0123456789\r\n\r\n".encode())
        start = line.recv(1000)
        heading, _, body = start.partition(b"\r\n\r\n")
        length = int(heading.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        got, pause = len(body), time.monotonic() + 4
        try:
            while time.monotonic() < pause:  # four times as long as nothing may be read
                time.sleep(0.01)
                got += len(line.recv(length // 500)) if reads else 0
            while part := line.recv(1_000_000):
                got += len(part)
                if got == length:
                    break
        except ConnectionResetError:
            pass
    assert length > 5_000_000
    assert (got == length) == reads


def test_what_nobody_waits_for_is_never_begun_and_a_stop_ends_what_runs() -> None:
    port, engine = free_port(), StubEngine(seconds=0.8)
    server = build_server(Settings(port=port), engine)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    picture, session = picture_file(), {"X-Session": "by-hand-0123456789"}
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    line.request("POST", "/api/pictures", picture, session)
    key = json.loads(line.getresponse().read())["id"]
    line.request("POST", f"/api/pictures/{key}/encode", b"", session)
    line.getresponse().read()
    asked = json.dumps({"objects": [{"box": [1, 1, 9, 9]}]}).encode()
    crowd = [http.client.HTTPConnection("127.0.0.1", port, timeout=30) for _ in range(5)]
    for one in crowd:
        one.request("POST", f"/api/pictures/{key}/masks", asked, {**session, "Content-Type": "application/json"})
        time.sleep(0.05)
    for one in crowd[1:4]:
        one.close()  # a newer question replaces them
    time.sleep(0.2)
    server.should_exit = True
    assert [one.getresponse().status for one in (crowd[0], crowd[4])] == [200, 200]
    thread.join(30)
    assert not thread.is_alive()
    assert engine.answered == 2


def test_nothing_is_left_on_disk_and_memory_is_bounded(site: tuple[int, Any], tmp_path: Path) -> None:
    if not Path("/proc/self/statm").exists():
        pytest.skip("memory is read from /proc")
    port, _ = site
    before, files = resident(), open_files()
    out = io.BytesIO()
    frames = [Image.fromarray(np.full((400, 600, 3), k, np.uint8)) for k in range(40)]
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:])
    most = 0
    for _ in range(3):
        for data, code in ((b"x" * (60 * MB), 413), (huge_png(20_000, 15_000), 413), (out.getvalue(), 201)):
            assert f" {code} " in talk(port, post(len(data)), data)
            most = max(most, resident())
    assert most - before < 150 * MB  # the client's own bytes are in this process too
    assert open_files() == files


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def open_files() -> set[str]:
    """Regular files that this process has open, such as those that bodies are spooled to."""
    found = set()
    for link in Path("/proc/self/fd").iterdir():
        try:
            target = os.readlink(link)
        except OSError:
            continue
        if target.startswith(("/tmp", "/var/tmp")):
            found.add(target)
    return found
