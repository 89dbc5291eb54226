"""Learning from what was annotated: one at a time, apart from the server, and nothing lost with either of the two."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_lesson import ROWS, faked
from serving_stub import JSON, StubEngine, keys_of, picture_file, send_picture, serve
from starlette.testclient import TestClient

from vns_sam.data.pairs import find_pairs, read_instances
from vns_sam.errors import CheckpointError
from vns_sam.formats.rle import encode_rle
from vns_sam.images.write import write_json
from vns_sam.serving import learning as module
from vns_sam.serving.engine import Adapted
from vns_sam.serving.learning import Learning
from vns_sam.serving.lesson import ORDER, RESULT, RUN, SET, TOLD
from vns_sam.types import ModelInfo


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    with faked(monkeypatch, tmp_path):
        yield


def give(client: TestClient, count: int) -> None:
    for k in range(count):
        masks = np.zeros((2, 30, 40), bool)
        masks[0, 3:9, 4 + k : 12 + k] = masks[1, 20:25, 5:9] = True
        body = {"objects": [{"mask": encode_rle(mask)} for mask in masks]}
        key = send_picture(client)
        answer = client.put(f"/api/learn/pictures/{key}", content=json.dumps(body), headers=JSON)
        assert answer.status_code == 204, answer.text


def order(client: TestClient, **body: Any) -> Any:
    return client.post("/api/learn", content=json.dumps(body), headers=JSON)


def until(client: TestClient, holds: Callable[[Any], bool]) -> Any:
    for _ in range(500):
        state = client.get("/api/learn").json()
        if holds(state):
            return state
        time.sleep(0.02)
    raise AssertionError(state)


def test_what_is_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve() as client:
        state = client.get("/api/learn").json()
        assert (state["possible"], state["state"]) == (False, "none")
        assert "--learn" in state["missing"]
        assert order(client).status_code == 422
    with serve(learn=tmp_path / "learned") as client:
        give(client, 2)
        assert client.get("/api/learn").json()["given"] == 2
        refused = order(client)
        assert (refused.status_code, refused.json()["error"]) == (
            422,
            "expected 12 annotated pictures at least, found 2",
        )
        monkeypatch.setattr(module, "find_spec", lambda name: None if name == "torch" else object())
        assert "torch is not installed" in client.get("/api/learn").json()["missing"]
        assert client.delete("/api/learn/pictures").status_code == 204
        assert client.get("/api/learn").json()["given"] == 0
    assert not list((tmp_path / "learned").rglob("*.png"))


@pytest.mark.usefixtures("fake")
def test_a_lesson_from_the_first_picture_to_the_model_on_offer(tmp_path: Path) -> None:
    root = tmp_path / "learned"
    with serve(StubEngine(), learn=root) as client:
        client.app.state.service.engine.more = Learning(root).models  # type: ignore[attr-defined]
        give(client, 12)
        assert order(client, minutes=3).json()["state"] in ("running", "stopped")
        state = until(client, lambda state: state["done"] == 3)
        assert (state["state"], state["what"], state["total"], state["name"]) == ("running", "training", 9, "learned-1")
        assert order(client).status_code == 409
        assert order(client, go_on=True).status_code == 409
        pairs = find_pairs(root / "learned-1" / SET)
        assert len(pairs) == 12
        assert [mask.sum() for mask in read_instances(pairs[0].instances or "")] == [48, 20]
        write_json(root / "learned-1" / "finish", {"taken": True, "why": "better", "rows": ROWS})
        state = until(client, lambda state: state["state"] == "done")
        assert (state["taken"], state["rows"][0]["before"], state["rows"][0]["after"]) == (True, 0.6, 0.7)
        names = {row["name"]: row["adapted_from"] for row in client.get("/api/models").json()}
    assert names == {"stub": "", "finder": "", "learned-1": "stub"}


@pytest.mark.usefixtures("fake")
def test_a_lesson_is_stopped_and_goes_on(tmp_path: Path) -> None:
    with serve(learn=tmp_path) as client:
        assert client.delete("/api/learn").status_code == 422
        give(client, 12)
        order(client)
        until(client, lambda state: state["done"] == 3)
        stopped = client.delete("/api/learn").json()
        assert (stopped["state"], stopped["busy"], stopped["why"]) == ("stopped", False, "It was stopped.")
        assert order(client, go_on=True).json()["name"] == "learned-1"
        until(client, lambda state: state["state"] == "running")
        write_json(tmp_path / "learned-1" / "finish", {"error": "expected more", "hint": "add some"})
        state = until(client, lambda state: state["state"] == "failed" and not state["busy"])
        assert (state["why"], state["hint"]) == ("expected more", "add some")
        assert order(client, go_on=True).status_code == 422


@pytest.mark.usefixtures("fake")
def test_a_server_that_is_stopped_says_so_and_one_that_is_killed_finds_its_lesson_again(tmp_path: Path) -> None:
    with serve(learn=tmp_path) as client:
        give(client, 12)
        order(client)
        until(client, lambda state: state["done"] == 3)
    with serve(learn=tmp_path) as client:
        state = client.get("/api/learn").json()
        assert (state["state"], state["why"]) == ("stopped", "The server was stopped meanwhile.")
        order(client, go_on=True)
        until(client, lambda state: state["state"] == "running")
        client.app.state.service.learning._process = None  # type: ignore[attr-defined]  # as after SIGKILL
    with serve(learn=tmp_path) as client:
        assert until(client, lambda state: state["state"] == "running")["busy"]
        assert order(client).status_code == 409
        assert client.delete("/api/learn").json()["state"] == "stopped"


@pytest.mark.usefixtures("fake")
def test_a_lesson_that_was_killed_is_told_apart_from_one_that_runs(tmp_path: Path) -> None:
    with serve(learn=tmp_path) as client:
        give(client, 12)
        order(client)
        until(client, lambda state: state["done"] == 3)
        client.app.state.service.learning._process.kill()  # type: ignore[attr-defined]
        state = until(client, lambda state: state["state"] == "stopped")
    assert "from outside" in state["why"]


@pytest.mark.usefixtures("fake")
def test_lessons_belong_to_a_key(tmp_path: Path) -> None:
    keys = ("the first secret", "the second secret")
    with serve(learn=tmp_path, host="0.0.0.0", api_keys=keys) as client:
        client.headers["authorization"] = f"Bearer {keys[0]}"
        give(client, 12)
        order(client)
        until(client, lambda state: state["done"] == 3)
        client.headers["authorization"] = f"Bearer {keys[1]}"
        state = client.get("/api/learn").json()
        assert (state["state"], state["busy"], state["name"], state["given"]) == ("none", True, "", 0)
        assert client.delete("/api/learn").status_code == 422
        assert order(client).status_code == 409


@pytest.mark.usefixtures("fake")
def test_a_key_sees_and_stops_its_own_lesson_alone(tmp_path: Path) -> None:
    keys = ("the first secret", "the second secret")
    with serve(learn=tmp_path, host="0.0.0.0", api_keys=keys) as client:
        for key in keys:  # the first key's lesson is stopped, the second key's runs
            client.headers["authorization"] = f"Bearer {key}"
            give(client, 12)
            order(client)
            until(client, lambda state: state["done"] == 3)
            if key == keys[0]:
                client.delete("/api/learn")
        client.headers["authorization"] = f"Bearer {keys[0]}"
        for _ in range(2):  # of the server that began it, then of one that reads the lock
            state = client.get("/api/learn").json()
            assert (state["name"], state["state"], state["busy"]) == ("learned-1", "stopped", True)
            assert client.delete("/api/learn").status_code == 422
            client.app.state.service.learning._process = None  # type: ignore[attr-defined]
        client.headers["authorization"] = f"Bearer {keys[1]}"
        assert client.get("/api/learn").json()["state"] == "running"
        assert client.delete("/api/learn").json()["state"] == "stopped"


@pytest.mark.usefixtures("fake")
def test_a_server_that_is_stopped_says_so_where_its_lesson_lies(tmp_path: Path) -> None:
    keys = ("the first secret", "the second secret")
    with serve(learn=tmp_path, host="0.0.0.0", api_keys=keys) as client:
        for key in keys:
            client.headers["authorization"] = f"Bearer {key}"
            give(client, 12)
            order(client)
            until(client, lambda state: state["done"] == 3)
            client.delete("/api/learn")
        client.headers["authorization"] = f"Bearer {keys[0]}"
        order(client, go_on=True)
        until(client, lambda state: state["state"] == "running")
    whys = [json.loads((tmp_path / f"learned-{k}" / "stopped").read_text())["why"] for k in (1, 2)]
    assert whys == ["The server was stopped meanwhile.", "It was stopped."]


def test_pictures_whose_names_differ_are_all_learned_from(tmp_path: Path) -> None:
    learning, mask = Learning(tmp_path), np.ones((3, 4), bool)
    names = [
        "frog 1.png",
        "frog_1.png",
        "Frog_1.png",
        "x" * 200 + "a",
        "x" * 200 + "b",
        "\u86d9" * 200,
        "",
        "/",
        "\udce9",
        "\udce8",
    ]
    for name in (*names, names[0]):
        learning.give("me", name, np.zeros((3, 4, 3), np.uint8), [mask])
    assert learning.given("me") == len(names)
    assert len({path.stem.lower() for path in (tmp_path / "drafts" / "me" / "images").iterdir()}) == len(names)


@pytest.mark.usefixtures("fake")
def test_a_folder_that_was_labelled_is_learned_from_without_sending_it(tmp_path: Path) -> None:
    photos, masks, learned = tmp_path / "photos", tmp_path / "masks", tmp_path / "learned"
    photos.mkdir()
    for k in range(13):
        (photos / f"{k}.png").write_bytes(picture_file())
    mask = np.zeros((30, 40), bool)
    mask[3:9, 4:12] = True
    with serve(learn=learned, folder=photos, out=masks) as client:
        for key in keys_of(client)[:12]:
            opened = client.post(f"/api/folder/{key}").json()["id"]
            body = {"objects": [{"label": "frog", "mask": encode_rle(mask)}]}
            client.put(f"/api/folder/{key}/annotations?picture={opened}", content=json.dumps(body), headers=JSON)
        told = order(client, folder="0123456789abcdef")
        assert (told.status_code, told.json()["error"]) == (422, "another folder is served now")
        assert order(client, folder=client.get("/api/folder").json()["key"]).status_code == 202
        until(client, lambda state: state["done"] == 3)
        assert len(find_pairs(learned / "learned-1" / SET)) == 12


@pytest.mark.usefixtures("fake")
def test_a_server_without_a_folder_says_how_one_is_served(tmp_path: Path) -> None:
    with serve(learn=tmp_path) as client:
        for told, status in ((client.post("/api/folder/0123456789abcdef"), 404), (order(client, folder="x" * 16), 422)):
            assert (told.status_code, told.json()["error"]) == (status, "the server was started without a folder")
            assert told.json()["hint"] == "vns-sam serve photos/ --out masks/"


class _OneIsGone(StubEngine):
    """Three models were learned; the weights of the first are missing."""

    def __init__(self) -> None:
        super().__init__()
        learned = {"learned-1": "other", "learned-2": "other", "learned-3": "stub"}
        self.more = lambda: {name: Adapted(name, start) for name, start in learned.items()}

    def info(self, name: str) -> ModelInfo:
        if name == "learned-1":
            raise CheckpointError("no weights in learned-1/run/model")
        return super().info(name)


def test_a_learned_model_that_does_not_load_is_left_out_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    offered = ["stub", "finder", "learned-2", "learned-3"]
    with serve(_OneIsGone()) as client:
        rows = client.get("/api/models").json()
        assert [row["name"] for row in rows] == offered
        assert [row["adapted_from"] for row in rows] == ["", "", "other", "stub"]
        assert list(client.get("/v1/models").json()["data"]) == offered
        refused = client.get("/api/model?name=learned-1")
    assert (refused.status_code, refused.json()["error"]) == (503, "no weights in learned-1/run/model")
    assert "learned-1 is left out of the models on offer: no weights in learned-1/run/model" in caplog.messages


@pytest.mark.slow
def test_a_true_lesson(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workshop = pytest.importorskip("workshop")
    from vns_sam.serving.lesson import learn
    from vns_sam.training import adapting

    monkeypatch.setattr(adapting, "time_steps", lambda recipe: 0.5)
    monkeypatch.setattr(adapting, "FEWEST_STEPS", 4)
    folder = tmp_path / "learned-1"
    workshop.write_disks(folder / SET, 14)
    workshop.narrow_sam().save_pretrained(tmp_path / "narrow")
    changes = [["data.sizes", [64]], ["workers", 0], ["validation.patience", 0]]
    asked = {"owner": "", "model": "x", "minutes": 0.01, "device": "cpu", "changes": changes}
    write_json(folder / ORDER, {**asked, "start": str(tmp_path / "narrow")})
    learn(folder)
    result = json.loads((folder / RESULT).read_text())
    assert {row["metric"] for row in result["rows"]} == {"iou", "biou"}
    assert json.loads((folder / TOLD).read_text())["total"] >= 1
    assert (folder / RUN / "model" / "config.json").is_file()
    write_json(folder / ORDER, {**asked, "start": "no-such-model"})
    (folder / RESULT).unlink()
    learn(folder)
    assert "no-such-model" in json.loads((folder / RESULT).read_text())["error"]
