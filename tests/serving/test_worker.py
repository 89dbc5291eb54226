"""Work that several wait for is done once, and whoever hangs up ends it for nobody else."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event, current_thread
from typing import Any

import numpy as np
import pytest
from serving_stub import JSON, StubEngine, ask, picture_file, send_picture, serve

from vns_sam.serving.problems import CLIENT_GONE, Problem
from vns_sam.serving.worker import Worker
from vns_sam.types import ImageFeatures, ModelInfo

BOX = {"objects": [{"box": [1, 1, 9, 9]}]}


class Client:
    """A request of a client that can hang up."""

    def __init__(self) -> None:
        self._gone = asyncio.Event()

    def hang_up(self) -> None:
        self._gone.set()

    async def receive(self) -> dict[str, str]:
        await self._gone.wait()
        return {"type": "http.disconnect"}


class Counted:
    """Work that ends when it is let, counts how often it was begun, and lists what was kept of it."""

    def __init__(self, worker: Worker) -> None:
        self.worker, self.begun, self.free = worker, 0, Event()
        self.kept: list[int] = []

    def work(self) -> int:
        self.begun += 1
        self.free.wait(20)
        return 7

    def keep(self, found: int) -> int:
        self.kept.append(found)
        return found + 1

    def wanted_by(self, client: Client) -> asyncio.Future[int]:
        once: Any = self.worker.run_once
        return asyncio.ensure_future(once(client, "key", self.work, self.keep))


def played(scene: Callable[[Worker, Counted], Awaitable[None]]) -> Counted:
    async def play() -> Counted:
        worker = Worker(queue=2)
        counted = Counted(worker)
        await scene(worker, counted)
        assert worker.waiting == 0
        worker.close()
        return counted

    return asyncio.run(play())


async def until(holds: Callable[[], bool]) -> None:
    while not holds():
        await asyncio.sleep(0.01)


def test_who_waits_may_hang_up_without_ending_it_for_others() -> None:
    async def scene(worker: Worker, counted: Counted) -> None:
        busy = Event()
        before = asyncio.ensure_future(worker.run(None, lambda: busy.wait(20)))
        first, second = Client(), Client()
        asked = [counted.wanted_by(client) for client in (first, second)]
        await asyncio.sleep(0.05)
        with pytest.raises(Problem, match="busy"):  # who waits for the same waits, too
            await counted.wanted_by(Client())
        first.hang_up()
        with pytest.raises(Problem) as gone:
            await asked[0]
        assert gone.value.status_code == CLIENT_GONE
        busy.set()
        counted.free.set()
        assert (await asked[1], await before) == (8, True)

    counted = played(scene)
    assert (counted.begun, counted.kept) == (1, [7])


def test_what_has_begun_is_kept_whoever_has_gone() -> None:
    async def scene(_: Worker, counted: Counted) -> None:
        client = Client()
        asked = counted.wanted_by(client)
        await until(lambda: counted.begun == 1)
        client.hang_up()
        with pytest.raises(Problem):
            await asked
        again = counted.wanted_by(Client())
        await asyncio.sleep(0.05)
        counted.free.set()
        assert await again == 8

    counted = played(scene)
    assert (counted.begun, counted.kept) == (1, [7])


def test_what_nobody_waits_for_any_longer_is_dropped_and_begun_anew_when_it_is_asked_for() -> None:
    async def scene(worker: Worker, counted: Counted) -> None:
        busy = Event()
        before = asyncio.ensure_future(worker.run(None, lambda: busy.wait(20)))
        client = Client()
        asked = counted.wanted_by(client)
        await asyncio.sleep(0.05)
        client.hang_up()
        with pytest.raises(Problem):
            await asked
        again = counted.wanted_by(Client())  # at once, as the page does
        busy.set()
        counted.free.set()
        assert (await again, await before) == (8, True)
        assert await counted.wanted_by(Client()) == 8

    counted = played(scene)
    assert (counted.begun, counted.kept) == (2, [7, 7])


def test_what_fails_fails_for_all_and_is_tried_again() -> None:
    async def scene(worker: Worker, counted: Counted) -> None:
        def fail() -> int:
            counted.begun += 1
            time.sleep(0.1)
            raise ValueError("no weights")

        once: Any = worker.run_once
        asked = [asyncio.ensure_future(once(Client(), "key", fail, counted.keep)) for _ in range(2)]
        assert {str(told) for told in await asyncio.gather(*asked, return_exceptions=True)} == {"no weights"}
        counted.free.set()
        assert await counted.wanted_by(Client()) == 8

    assert played(scene).begun == 2


class _Slow(StubEngine):
    def encode(self, name: str, pixels: np.ndarray) -> ImageFeatures:
        time.sleep(0.3)
        return super().encode(name, pixels)


def test_a_picture_is_encoded_once_however_many_ask_meanwhile() -> None:
    engine = _Slow()
    with serve(engine) as client, ThreadPoolExecutor(3) as pool:
        key = send_picture(client)
        encode = pool.submit(client.post, f"/api/pictures/{key}/encode")
        answers = [pool.submit(ask, client, key, **BOX) for _ in range(2)]
        assert encode.result().status_code == 204
        assert [answer.result().status_code for answer in answers] == [200, 200]
        assert engine.encoded == ["stub"]
        assert ask(client, key, **BOX).json()["encode_ms"] == 0


def test_a_picture_that_is_sent_along_is_encoded_once_too() -> None:
    engine = _Slow()
    image = base64.b64encode(picture_file()).decode()
    body = json.dumps({"image": image, "prompt": {"points": [[9, 9]], "point_labels": [1]}})
    with serve(engine) as client, ThreadPoolExecutor(3) as pool:
        answers = [pool.submit(client.post, "/api/generate", content=body, headers=JSON) for _ in range(3)]
        assert [answer.result().status_code for answer in answers] == [200] * 3
        assert len(client.app.state.service.shelf) == 1  # type: ignore[attr-defined]
    assert engine.encoded == ["stub"]


def test_a_picture_that_is_forgotten_while_it_is_encoded_is_answered_and_not_kept() -> None:
    engine = _Slow()
    with serve(engine) as client, ThreadPoolExecutor(1) as pool:
        key = send_picture(client)
        answer = pool.submit(ask, client, key, **BOX)
        while not client.app.state.service.worker.waiting:  # type: ignore[attr-defined]
            time.sleep(0.01)
        assert client.delete(f"/api/pictures/{key}").status_code == 204
        assert answer.result().status_code == 200
        assert client.app.state.service.shelf.nbytes == 0  # type: ignore[attr-defined]
    assert engine.encoded == ["stub"]


def test_a_model_is_loaded_in_the_models_thread_where_masks_are_to_be_refined() -> None:
    class Loading(StubEngine):
        def info(self, name: str) -> ModelInfo:
            loaded_in.append(current_thread().name)
            return super().info(name)

    loaded_in: list[str] = []
    with serve(Loading()) as client:
        key = send_picture(client)
        for _ in range(2):
            assert ask(client, key, refine=True, **BOX).json()["model"] == "stub+stub-refiner"
        told = ask(client, key, refine=True, model="finder", objects=[])
    assert (told.status_code, told.json()["hint"]) == (422, "leave refine out")
    assert loaded_in == ["model_0"] * 3  # stub, with its refiner, finder: one for each model, not for each question
