"""What a server's model answers, as it travels, and what becomes of answers that are none."""

from __future__ import annotations

import io
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from socketserver import BaseRequestHandler, TCPServer

import numpy as np
import pytest
from backends import Backend

from vns_sam.dis.mattes import Matte, MatteAnswers
from vns_sam.errors import DataError, UsageError
from vns_sam.inference import wire
from vns_sam.inference.load import check_model_name, load_model, load_network, takes_prompts
from vns_sam.inference.remote import Link, RemoteModel, connect
from vns_sam.prompts.validate import make_prompts
from vns_sam.sam.answers import MapAnswers
from vns_sam.types import Geometry, ImageFeatures, Prompts


def coarse(scores: list[list[float]]) -> MapAnswers:
    rows, offered = len(scores), len(scores[0])
    maps = np.random.default_rng(0).normal(size=(rows, offered, 8, 8)).astype(np.float32)
    place = (Geometry(30, 40, 24, 32, 32, 32),) * rows
    single = np.full(rows, 0.7, np.float32)
    return MapAnswers(maps[:, :1], single, place, None, maps, np.array(scores, np.float32))


def _older_savez(file: io.BytesIO, **arrays: object) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        for name, value in arrays.items():
            with archive.open(f"{name}.npy", "w") as entry:
                np.save(entry, np.asarray(value))


def test_a_question_travels_with_the_oldest_numpy_that_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to 2.1 ``savez_compressed`` knows no option: each keyword is the name of an array."""
    monkeypatch.setattr(wire.np, "savez_compressed", _older_savez)
    question = wire.pack_prompts(Prompts(boxes=np.float32([[1, 2, 3, 4]])), candidates=True)
    asked, candidates, again = wire.unpack_prompts(question, 9**9)
    assert asked is not None
    assert asked.boxes is not None
    assert asked.boxes.tolist() == [[1, 2, 3, 4]]
    assert (candidates, again) == (True, False)


def masks_of(values: np.ndarray) -> np.ndarray:
    prompts = make_prompts(30, 40, masks=values)
    assert prompts.masks is not None
    return prompts.masks


@pytest.mark.parametrize("kind", ["bool", "bytes", "shares"])
def test_masks_travel_as_they_are_and_drawn_ones_in_few_bytes(kind: str) -> None:
    drawn = np.random.default_rng(2).integers(0, 256, (3, 30, 40)).astype(np.uint8)
    given = {"bool": drawn > 127, "bytes": drawn, "shares": np.random.default_rng(3).uniform(size=(3, 30, 40))}[kind]
    masks = masks_of(given)
    question = wire.pack_prompts(Prompts(masks=masks))
    assert len(question) < {"bool": masks.nbytes / 8, "bytes": masks.nbytes / 3, "shares": masks.nbytes}[kind]
    asked, *_ = wire.unpack_prompts(question, 10**6)
    assert asked is not None
    assert asked.masks is not None
    np.testing.assert_array_equal(asked.masks, masks)
    assert asked.masks.dtype == np.float32


def claiming(shape: tuple[int, ...], method: int = zipfile.ZIP_STORED) -> bytes:
    """An archive of masks whose head says that they have this shape, and that holds 50 bytes."""
    head = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file := io.BytesIO(), head)
    with zipfile.ZipFile(out := io.BytesIO(), "w", method) as archive:
        archive.writestr("masks.npy", file.getvalue() + bytes(50))
    return out.getvalue()


def damaged() -> bytes:
    content = bytearray(wire.pack({"boxes": np.random.default_rng(0).uniform(size=(90, 4))}, compressed=True))
    content[100:200] = bytes(100)
    return bytes(content)


def zeros(name: str, *shape: int) -> bytes:
    return wire.pack({name: np.zeros(shape, np.uint8)}, compressed=True)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (zeros("masks", 1, 900, 1200), "1080128 bytes, expected 1000000"),
        (zeros("masks", 1, 500, 600), "1200000 bytes, expected 1000000"),
        (zeros("labels", 1, 130_000), "1040000 bytes, expected 1000000"),
        (claiming((1, 10**7, 10**7)), "larger than its archive"),
        (claiming((1, 10, 6)), "npz"),
        (claiming((1, 5, 10), zipfile.ZIP_LZMA), "npz"),
        (damaged(), "npz"),
    ],
)
def test_a_question_is_judged_by_what_it_takes_once_it_is_unpacked(content: bytes, told: str) -> None:
    with pytest.raises(DataError, match=told):
        wire.unpack_prompts(content, 10**6)


def test_python_objects_are_not_sent() -> None:
    with pytest.raises(DataError, match="found Python objects in 'boxes'"):
        wire.pack({"boxes": np.array([None])})


@pytest.mark.parametrize("scores", [[[0.5, 0.9, 0.4], [0.1, 0.2, 0.3]], [[0.6], [0.5]]])
def test_candidates_of_a_refined_model_travel(scores: list[list[float]]) -> None:
    alphas = np.random.default_rng(1).uniform(size=(2, 4, 30, 40)).astype(np.float32)
    mattes = tuple(Matte(alpha[0], 0.4) for alpha in alphas)
    here = MatteAnswers(
        mattes, np.float32([0.7, 0.7]), coarse(scores), lambda row, number: Matte(alphas[row, number + 1], 0.3)
    )
    there = wire.join_answers([wire.unpack_answers(wire.pack_answers(here))] * 2)
    for row in range(2):
        np.testing.assert_array_equal(there.candidate_scores(row + 2), np.float32(scores[row]))
        for size in (None, (15, 20)):
            found, wanted = there.candidates(row, size), here.candidates(row, size)
            np.testing.assert_array_equal(found.scores, wanted.scores)
            assert (found.masks == wanted.masks).mean() > (0.999 if size is None else 0.9)
        np.testing.assert_array_equal(there.alpha(row), here.alpha(row))
        np.testing.assert_array_equal(there.logits(row), here.logits(row))


def test_answers_without_candidates_offer_themselves() -> None:
    alphas = np.random.default_rng(1).uniform(size=(2, 30, 40)).astype(np.float32)
    here = MatteAnswers(tuple(map(Matte, alphas)), np.float32([0.7, 0.6]))
    content = wire.pack_answers(here)
    assert set(wire.unpack(content)) == {"scores", "logits.0", "logits.1", "alpha.0", "alpha.1"}
    there = wire.unpack_answers(content)
    assert there.candidate_scores(1) == np.float32(0.6)
    np.testing.assert_array_equal(there.candidates(1).masks, here.candidates(1).masks)


@contextmanager
def answering(content: bytes, status: int = 200, **headers: str) -> Iterator[str]:
    """The address of a server that answers everything in one way."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with serving(HTTPServer(("127.0.0.1", 0), Handler)) as address:
        yield address


@contextmanager
def serving(server: TCPServer) -> Iterator[str]:
    with server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    "content",
    [
        b"<!doctype html><title>a shop</title>",
        b"",
        b"\xff\xfe",
        b"[]",
        b"7",
        b"{}",
        b'{"served_as": "x", "prompts": 3}',
        b'{"served_as": "x", "prompts": ["box"]}',
        b'{"served_as": "x", "prompts": ["box"], "name": "x", "digest": "y", "wings": 2}',
    ],
)
def test_a_server_of_something_else_is_told(content: bytes) -> None:
    with answering(content) as address, pytest.raises(DataError, match="expected a JSON object of vns-sam") as caught:
        connect(address)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("content", [b"<html>", b"{}", b"[]"])
def test_a_picture_that_gets_no_id_is_told(content: bytes) -> None:
    with answering(content) as address, pytest.raises(DataError, match="expected a JSON object of vns-sam"):
        RemoteModel(Link(address), "x", replace(Backend().info)).encode([np.zeros((8, 8, 3), np.uint8)])


@dataclass(frozen=True)
class Counted(Link):
    """A connection that answers by itself; ``sent`` is how many prompts each question held."""

    sent: list[int] = field(default_factory=list)

    def send(self, method: str, path: str, body: bytes | None = None) -> bytes:
        prompts, *_ = wire.unpack_prompts(body or b"", 10**6)
        self.sent.append(len(prompts or ()))
        return wire.pack_answers(coarse([[0.5]] * self.sent[-1]))


@pytest.fixture
def counted() -> Counted:
    return Counted("http://127.0.0.1:9")


@pytest.mark.parametrize(
    ("alpha", "candidates", "questions"), [(True, True, [1] * 35), (True, False, [1] * 35), (False, True, [32, 3])]
)
def test_a_refined_model_is_asked_about_one_row_at_a_time(
    alpha: bool, candidates: bool, questions: list[int], counted: Counted
) -> None:
    model = RemoteModel(counted, "x", replace(Backend().info, alpha=alpha))
    place = (Geometry(30, 40, 24, 32, 32, 32),)
    features = ImageFeatures(np.array(["id"]), (), place, owner=model.info)
    boxes = np.arange(35, dtype=np.float32)[:, None] + np.float32([0, 0, 4, 4])
    answers = model.decode(features, [Prompts(boxes=boxes)], [0], candidates=candidates)
    assert (counted.sent, len(answers)) == (questions, 35)


def test_a_question_holds_so_many_masks_as_a_server_takes(counted: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vns_sam.inference.remote.WEIGHT", 4 * 30 * 40 * 3)
    model = RemoteModel(counted, "x", Backend().info)
    features = ImageFeatures(np.array(["id"]), (), (Geometry(30, 40, 24, 32, 32, 32),), owner=model.info)
    answers = model.decode(features, [Prompts(masks=np.ones((7, 30, 40), np.float32))], [0])
    assert (counted.sent, len(answers)) == ([3, 3, 1], 7)
    monkeypatch.setattr("vns_sam.inference.remote.WEIGHT", 1000)
    assert len(model.decode(features, [Prompts(masks=np.ones((2, 30, 40), np.float32))], [0])) == 2


def test_what_is_no_http_is_told() -> None:
    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(1000)
            self.request.sendall(b"220 smtp.example ready\r\n")

    server = serving(TCPServer(("127.0.0.1", 0), Handler))
    with server as address, pytest.raises(DataError, match=r"no answer from .*smtp\.example ready"):
        connect(address)


def test_a_server_that_closes_before_it_has_read_is_heard() -> None:
    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(1000)
            told = b'{"error": "too much", "hint": "less"}'
            self.request.sendall(b"HTTP/1.0 413 Too Large\r\nContent-Length: %d\r\n\r\n%s" % (len(told), told))

    server = serving(TCPServer(("127.0.0.1", 0), Handler))
    with server as address, pytest.raises(DataError, match="too much") as caught:
        Link(address).send("POST", "/api/pictures", bytes(30_000_000))
    assert caught.value.hint == "less"


def test_a_busy_server_may_name_a_date(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr("vns_sam.inference.remote.time.sleep", waited.append)
    for told in ("Wed, 21 Oct 2026 07:28:00 GMT", "-3", "99", "nan"):
        with answering(b"{}", 429, Retry_After=told) as address, pytest.raises(DataError, match="429"):
            connect(address)
    assert set(waited) <= {0.0, 1.0, 10.0}


@pytest.mark.parametrize("key", ["a+b", "+", "a+b:c", "%40+x"])
@pytest.mark.parametrize("place", ["127.0.0.1:8000", "127.0.0.1:8000/sam-tiny"])
def test_a_plus_in_a_key_is_part_of_the_key(key: str, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def remember(address: str) -> Backend:
        asked.append(address)
        return Backend()

    monkeypatch.setattr("vns_sam.inference.load._connect", remember)
    address = f"http://:{key}@{place}"
    check_model_name(address)
    assert load_model(address).info.name == "backend"
    refined = load_model(f"{address}+dis-sam-tiny", backend="onnx")
    assert refined.info.alpha
    assert takes_prompts(f"{address}+dis-sam-tiny")
    assert asked == [address] * 3


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("http://host:99999", "http://host:99999"),
        ("http://host:x", "http://host:x"),
        ("http://[::1", "http://[::1"),
        ("http://", "http://"),
        ("http://:se/cret@host", "...@host"),
        ("http://:a secret@host", "...@host"),
    ],
)
def test_an_address_that_is_none_is_told_without_its_key(address: str, told: str) -> None:
    with pytest.raises(UsageError, match="expected an address such as") as caught:
        connect(address)
    assert f"got '{told}'" in caught.value.message
    assert "cret" not in caught.value.message
    assert ("%2F" in caught.value.hint) == ("@" in address)


def test_a_refusal_tells_an_address_without_its_key() -> None:
    with pytest.raises(UsageError, match="'https://host:8000/small' is a server's"):
        load_network("https://:secret@host:8000/small")
