"""All objects without a prompt, and several questions in one request."""

from __future__ import annotations

import io
import json
import threading
import time
from typing import Any

import numpy as np
import pytest
from PIL import Image
from serving_stub import JSON, SmallEngine, ask, picture_file, send_picture, serve

from vns_sam.formats.rle import decode_rle
from vns_sam.inference.automatic import AutomaticOptions, AutomaticSegmenter
from vns_sam.serving.problems import Problem
from vns_sam.serving.worker import Turns
from vns_sam.types import PromptableModel

OPEN = {"score": 0.0, "stability": 0.0}


def post(client: Any, path: str, **body: Any) -> Any:
    return client.post(path, content=json.dumps(body), headers=JSON)


def test_all_objects_are_those_that_python_finds() -> None:
    data = picture_file()
    pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    engine = SmallEngine()
    options = AutomaticOptions(points_per_side=4, least_area=4, **OPEN)
    expected = AutomaticSegmenter(engine.model("small"), options)(pixels)
    with serve(engine) as client:
        key = send_picture(client, data)
        sent = {"points_per_side": 4, "least_area": 4, **OPEN}
        found = post(client, f"/api/pictures/{key}/automatic", **sent).json()["objects"]
        two = post(client, f"/api/pictures/{key}/automatic", **sent, most=2, output="polygons").json()["objects"]
    assert len(found) == len(expected) > 2
    for row, region in zip(found, expected.regions, strict=True):
        np.testing.assert_array_equal(decode_rle(row["rle"]), region.full((30, 40)))
        assert row["score"] == round(region.score, 4)
    assert [row["area"] for row in two] == [row["area"] for row in found[:2]]
    assert two[0]["polygons"]


def test_a_model_without_clicks_is_refused() -> None:
    with serve() as client:
        key = send_picture(client)
        refused = post(client, f"/api/pictures/{key}/automatic", model="finder")
    assert refused.status_code == 422
    assert "no model" not in refused.json()["error"]


class SlowEngine(SmallEngine):
    """An engine whose model takes a tenth of a second for every call of long work."""

    def model(self, name: str) -> PromptableModel:
        model = super().model(name)
        decode = model.decode

        def slowly(*arguments: Any, **options: Any) -> Any:
            if len(arguments[1]) > 1:
                time.sleep(0.1)
            return decode(*arguments, **options)

        model.decode = slowly  # type: ignore[method-assign]
        return model


def test_short_questions_are_answered_while_all_objects_are_looked_for() -> None:
    with serve(SlowEngine()) as client:
        key = send_picture(client)
        ask(client, key, objects=[{"points": [[9, 9]]}])
        took: list[float] = []

        def look() -> None:
            start = time.perf_counter()
            assert post(client, f"/api/pictures/{key}/automatic", points_per_side=16).status_code == 200
            took.append(time.perf_counter() - start)

        thread = threading.Thread(target=look)
        thread.start()
        time.sleep(0.2)
        waits = []
        for _ in range(3):
            start = time.perf_counter()
            assert ask(client, key, objects=[{"points": [[9, 9]]}]).status_code == 200
            waits.append(time.perf_counter() - start)
        assert thread.is_alive()
        thread.join()
    assert took[0] > 1
    assert max(waits) < 0.5 * took[0]


def test_long_work_ends_at_its_next_turn_once_nobody_waits() -> None:
    engine = SmallEngine()
    with serve(engine) as client:
        turns = Turns(client.app.state.service.worker._pool)  # type: ignore[attr-defined]
        model = turns.model(engine.model("small"))
        turns.gone.set()
        with pytest.raises(Problem, match="went away"):
            model.encode([np.zeros((4, 4, 3), np.uint8)])


def test_several_questions_are_answered_each_by_itself() -> None:
    with serve() as client:
        first, second = send_picture(client), send_picture(client, picture_file(20, 10))
        box = [{"box": [2, 2, 6, 7]}]
        questions = [
            {"picture": first, "objects": box},
            {"picture": "nobody", "objects": box},
            {"picture": second, "objects": [{"box": [30, 2, 36, 7]}]},
            {"picture": second, "objects": box, "output": "png"},
        ]
        rows = post(client, "/api/batch", questions=questions).json()
        assert post(client, "/api/batch", questions=[]).status_code == 422
    assert [row["status"] for row in rows] == [200, 404, 422, 200]
    assert rows[0]["answer"]["objects"][0]["area"] == rows[3]["answer"]["objects"][0]["area"] == 20
    assert rows[1]["answer"] is None
    assert "outside" in rows[2]["error"]
