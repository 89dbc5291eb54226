"""A model behind HTTP answers as it does here, and a predictor stands on it."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import uvicorn
from serving_site import free_port
from serving_stub import SmallEngine
from typing_extensions import override
from workshop import write_disks

from vns_sam.cli.main import main
from vns_sam.errors import DataError, PromptError, UsageError
from vns_sam.inference import wire
from vns_sam.inference.load import check_model_name, is_address, load_model, takes_prompts
from vns_sam.inference.predictor import Predictor
from vns_sam.inference.remote import Link, RemoteModel, connect
from vns_sam.serving.server import build_server
from vns_sam.serving.settings import Settings
from vns_sam.types import Prompts

KEY = "correct horse battery"


@contextmanager
def running(engine: SmallEngine) -> Iterator[uvicorn.Server]:
    """A server of 64 MB."""
    settings = Settings(port=free_port(), api_keys=(KEY,), models=("small",), memory=64_000_000)
    server = build_server(settings, engine)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    yield server
    server.should_exit = True
    thread.join(20)


@pytest.fixture(scope="module")
def server() -> Iterator[uvicorn.Server]:
    with running(SmallEngine()) as server:
        yield server


@pytest.fixture
def remote(server: uvicorn.Server) -> RemoteModel:
    return connect(f"http://127.0.0.1:{server.config.port}", api_key=KEY)


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 255, (60, 90, 3), np.uint8)


def test_it_is_what_it_is_here(remote: RemoteModel) -> None:
    here = SmallEngine().info("small")
    assert remote.info == here
    assert remote.info.digest == here.digest


@pytest.mark.parametrize("second_look", ["off", "on"])
def test_a_predictor_stands_on_it(remote: RemoteModel, image: np.ndarray, second_look: str) -> None:
    asked = {
        "boxes": [[10, 10, 40, 40], [20, 5, 60, 50]],
        "points": [[[20, 20]], [[30, 30], [50, 8]]],
        "labels": [[1], [1, 0]],
    }
    found = []
    for model in (SmallEngine().model("small"), remote):
        predictor = Predictor(model, second_look=second_look)  # type: ignore[arg-type]
        predictor.set_image(image)
        found.append(predictor.predict(**asked, multimask=True))
    here, there = found
    np.testing.assert_allclose(there.logits, here.logits, atol=1e-3)
    np.testing.assert_array_equal(there.scores, here.scores)
    assert here.candidates is not None
    assert there.candidates is not None
    np.testing.assert_array_equal(there.candidates[1].scores, here.candidates[1].scores)


def test_several_pictures_and_many_prompts(remote: RemoteModel, image: np.ndarray) -> None:
    here = SmallEngine().model("small")
    pictures = [image, image[:40, ::-1].copy()]
    boxes = np.array([[k, 2, k + 20, 30] for k in range(40)], np.float32)
    asked = [Prompts(boxes=boxes), Prompts(points=np.array([[[9, 9]]], np.float32), labels=np.array([[1]]))]
    answers = [model.decode(model.encode(pictures), asked, [1, 0]) for model in (here, remote)]
    assert [len(one) for one in answers] == [41, 41]
    for row in (0, 39, 40):
        np.testing.assert_allclose(answers[1].logits(row), answers[0].logits(row), atol=1e-3)


def test_a_picture_that_had_to_make_room_is_sent_again(
    remote: RemoteModel, server: uvicorn.Server, image: np.ndarray
) -> None:
    features = remote.encode([image])
    shelf = server.config.loaded_app.state.service.shelf  # type: ignore[union-attr]
    shelf._pictures.clear()
    assert len(remote.decode(features, [Prompts(boxes=np.array([[1, 1, 9, 9]], np.float32))], [0])) == 1
    assert len(shelf) == 1


@pytest.mark.parametrize("alpha", [True, False])
def test_many_objects_of_a_large_picture_are_answered_by_a_small_server(alpha: bool) -> None:
    engine = SmallEngine()
    model = engine.model("small")
    model.info = replace(model.info, alpha=alpha)
    boxes = Prompts(boxes=np.array([[9, 9, 900, 800], [5, 9, 700, 800], [9, 5, 800, 900]], np.float32))
    image = np.zeros((1500, 2000, 3), np.uint8)
    with running(engine) as server:
        there = connect(f"http://127.0.0.1:{server.config.port}", api_key=KEY)
        features = there.encode([image])
        found = there.decode(features, [boxes], [0])
        if alpha:
            told = "answers about 3 objects of 2000 x 1500 pixels take 117 MB, the server holds 64 MB"
            with pytest.raises(DataError, match=told):
                there.link.send("POST", f"/api/pictures/{features.embedding[0]}/maps", wire.pack_prompts(boxes))
    np.testing.assert_allclose(found.scores, model.decode(model.encode([image]), [boxes], [0]).scores, atol=1e-6)


@dataclass(frozen=True)
class Crowded(Link):
    """A way to a server that had to make room just before some of the requests about a picture that it has."""

    make_room: Callable[[], None] = lambda: None
    gone: Iterator[bool] = field(default_factory=lambda: itertools.repeat(True))

    @override
    def send(self, method: str, path: str, body: bytes | None = None) -> bytes:
        if "/api/pictures/" in path and next(self.gone):
            self.make_room()
        return super().send(method, path, body)


@pytest.mark.parametrize("times", [1, 5, 7, 1000])
def test_a_picture_that_has_to_make_room_again_and_again_is_sent_until_it_is_there(
    remote: RemoteModel, server: uvicorn.Server, image: np.ndarray, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    shelf = server.config.loaded_app.state.service.shelf  # type: ignore[union-attr]
    waits: list[float] = []
    monkeypatch.setattr("vns_sam.inference.remote.time.sleep", waits.append)
    gone = itertools.chain([True], *[(False, True)] * (times - 1), itertools.repeat(False))
    crowded = Crowded(remote.link.root, KEY, make_room=shelf._pictures.clear, gone=gone)
    model = RemoteModel(crowded, remote.served_as, remote.info)
    features = model.encode([image])  # gone before it is encoded
    asked = ([Prompts(boxes=np.array([[1, 1, 9, 9]], np.float32))], [0])
    if times == 1000:
        with pytest.raises(
            DataError, match=r"expected the picture to stay at http://127.*, found it gone 8 times"
        ) as told:
            model.decode(features, *asked)
        assert told.value.hint == "the server's --memory is too small for those who ask"
        assert len(waits) == 7
        return
    there = model.decode(features, *asked)
    np.testing.assert_array_equal(there.scores, remote.decode(remote.encode([image]), *asked).scores)
    assert waits == [0.25 * k for k in range(times)]


def test_what_is_wrong_is_told(remote: RemoteModel, server: uvicorn.Server, image: np.ndarray) -> None:
    port = server.config.port
    with pytest.raises(DataError, match="API key"):
        connect(f"http://127.0.0.1:{port}")
    with pytest.raises(PromptError, match="no model 'nope'"):
        connect(f"http://:{KEY.replace(' ', '%20')}@127.0.0.1:{port}/nope")
    with pytest.raises(DataError, match="no answer"):
        connect(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(UsageError, match="address"):
        connect("ftp://x")
    features = remote.encode([image])
    with pytest.raises(UsageError, match="expected features"):
        SmallEngine(seed=1).model("small").decode(features, [Prompts(boxes=np.ones((1, 4), np.float32))], [0])


def test_a_picture_that_is_too_large_is_told_as_the_server_says_it(remote: RemoteModel) -> None:
    with pytest.raises(DataError, match="the body is too large") as caught:
        remote.link.send("POST", "/api/pictures", bytes(60_000_000))
    assert caught.value.hint == "at most 50 MB; --max-upload allows more"


def test_an_address_is_a_name_of_a_model(server: uvicorn.Server) -> None:
    address = f"http://:{KEY.replace(' ', '%20')}@127.0.0.1:{server.config.port}/small"
    check_model_name(address)
    assert takes_prompts(address)
    assert load_model(address).info == SmallEngine().info("small")


def test_the_key_of_an_address_is_written_nowhere(
    server: uvicorn.Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = KEY.replace(" ", "%20")
    address = f"http://:{key}@127.0.0.1:{server.config.port}/small"
    write_disks(tmp_path / "disks", 1)
    out = tmp_path / "out"
    command = ["evaluate", address, "--data", str(tmp_path / "disks"), "--out", str(out), "--workers", "0"]
    assert main([*command, "--save", str(out / "saved.json"), "--save-maps", str(out / "maps")]) == 0
    assert main(["evaluate", address, "--data", str(tmp_path / "disks"), "--prompt", "clicks", "--multimask"]) == 2
    files = [path for path in out.rglob("*") if path.is_file()]
    written = [path.read_bytes().decode(errors="replace") for path in files]
    for text in (*capsys.readouterr(), *map(str, files), *written):
        assert not any(word in text for word in (key, "correct", "horse"))
    report = json.loads((out / "report.json").read_text())
    assert list(report["models"]) == [f"http://127.0.0.1:{server.config.port}/small"]
    assert KEY not in repr(connect(address))


def test_archives_are_judged_before_they_are_read() -> None:
    with pytest.raises(DataError, match="expected 1000 at most"):
        wire.unpack(wire.pack({"masks": np.zeros(5000, np.uint8)}), 1000)
    for content in (b"", b"PK\x03\x04", b"x" * 99):
        with pytest.raises(DataError, match="npz"):
            wire.unpack(content)
    with pytest.raises(DataError, match="finite"):
        wire.unpack_prompts(wire.pack({"boxes": np.full((1, 4), np.nan)}), 10_000)


def test_addresses() -> None:
    assert is_address("http://127.0.0.1:8000")
    assert not is_address("vns-sam-tiny")
