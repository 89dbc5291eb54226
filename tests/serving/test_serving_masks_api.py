"""Pictures in, masks out, over HTTP."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image
from serving_stub import StubEngine, ask, picture_file, send_picture, serve

from vns_sam.formats.rle import decode_rle, encode_rle
from vns_sam.inference.found import LargePrediction
from vns_sam.types import Pieces, Prediction

BOX = [5, 4, 20, 14]


def expected_box() -> np.ndarray:
    mask = np.zeros((30, 40), bool)
    mask[4:14, 5:20] = True
    return mask


def test_a_box_becomes_run_lengths() -> None:
    with serve() as client:
        key = send_picture(client)
        answer = ask(client, key, objects=[{"box": BOX}]).json()
    [found] = answer["objects"]
    np.testing.assert_array_equal(decode_rle(found["rle"]), expected_box())
    assert (found["area"], found["box"], found["score"]) == (150, [5, 4, 20, 14], 0.9)
    assert found["png"] is None
    assert answer["model"] == "stub"


def test_masks_of_a_large_picture_are_made_one_at_a_time() -> None:
    class Large(StubEngine):
        def answer(self, *given: Any, **options: Any) -> Prediction:
            found = super().answer(*given, **options)
            return LargePrediction(Pieces(found.pieces), found.size, found.scores, refuse)

    def refuse(found: LargePrediction, name: str = "") -> Any:
        raise AssertionError(name)

    with pytest.MonkeyPatch.context() as patch, serve(Large()) as client:
        patch.setattr(LargePrediction, "__getattr__", refuse)
        answer = ask(client, send_picture(client), objects=[{"box": BOX}, {"box": [1, 1, 9, 9]}])
    first, second = answer.json()["objects"]
    np.testing.assert_array_equal(decode_rle(first["rle"]), expected_box())
    assert (second["area"], second["box"]) == (64, [1, 1, 9, 9])


def test_masks_as_png_and_as_polygons() -> None:
    with serve() as client:
        key = send_picture(client)
        png = ask(client, key, objects=[{"box": BOX}], output="png").json()["objects"][0]["png"]
        polygons = ask(client, key, objects=[{"box": BOX}], output="polygons").json()["objects"][0]["polygons"]
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(png))))
    np.testing.assert_array_equal(pixels, expected_box() * 255)
    assert sorted(map(tuple, polygons[0][0])) == [(5, 4), (5, 14), (20, 4), (20, 14)]


def test_a_mask_comes_back_and_several_objects_keep_their_order() -> None:
    mask = np.zeros((30, 40), bool)
    mask[3:9, 10:30] = True
    with serve() as client:
        key = send_picture(client)
        [found] = ask(client, key, objects=[{"mask": encode_rle(mask)}]).json()["objects"]
        two = ask(client, key, objects=[{"box": [0, 0, 2, 2]}, {"box": [0, 0, 3, 3]}]).json()["objects"]
    np.testing.assert_array_equal(decode_rle(found["rle"]), mask)
    assert [row["area"] for row in two] == [4, 9]


def test_candidates_and_edges_come_only_when_asked_for() -> None:
    with serve() as client:
        key = send_picture(client)
        plain = ask(client, key, objects=[{"points": [[9, 9]]}]).json()["objects"][0]
        rich = ask(client, key, objects=[{"points": [[9, 9]]}], candidates=True, edges=True).json()["objects"][0]
    assert (plain["candidates"], plain["edges"]) == ([], None)
    assert [row["score"] for row in rich["candidates"]] == [0.9, 0.1]
    assert Image.open(io.BytesIO(base64.b64decode(rich["edges"]))).size == (40, 30)


def test_a_model_without_prompts_finds_what_there_is() -> None:
    with serve() as client:
        key = send_picture(client)
        assert ask(client, key, model="finder").json()["objects"][0]["area"] == 4
        assert ask(client, key, model="stub").status_code == 422


def test_a_picture_is_encoded_once() -> None:
    with serve() as client:
        key = send_picture(client)
        assert client.post(f"/api/pictures/{key}/encode").status_code == 204
        for _ in range(3):
            ask(client, key, objects=[{"box": BOX}])
        assert client.app.state.service.engine.encoded == ["stub"]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"objects": [{"box": [9, 9, 3, 3]}]}, "reversed"),
        ({"objects": [{"points": [[400, 3]]}]}, "outside"),
        ({"objects": [{"points": [[4, 3]], "labels": [1, 0]}]}, "label"),
        ({"objects": [{}]}, "no prompt"),
        ({"objects": [{"box": BOX}, {"points": [[1, 1]]}]}, "some objects have"),
        ({"objects": [{"mask": {"size": [30, 40], "counts": [7]}}]}, "add up"),
        ({"objects": [{"mask": {"size": [3, 4], "counts": [12]}}]}, "size"),
        ({"objects": [{"mask": {"size": [30, 40], "counts": "o" * 9000}}]}, "run lengths"),
        ({"objects": [{"box": BOX}] * 65}, "65 objects"),
        ({"objects": [{"points": [[1, 1]] * 513}]}, "513 points"),
        ({"objects": [{"box": [0, 0, 1e309, 4]}]}, "box"),
        ({"objects": [], "model": "/etc/passwd"}, "no model"),
        ({"pbjects": []}, "Extra inputs"),
    ],
)
def test_what_makes_no_sense_is_told_in_one_line(body: dict[str, object], told: str) -> None:
    with serve() as client:
        response = ask(client, send_picture(client), **body)
    assert response.status_code == 422, response.text
    assert told in response.json()["error"]
    assert "\n" not in response.json()["error"]


def test_preview_is_reduced() -> None:
    with serve() as client:
        key = send_picture(client, picture_file(400, 100))
        shown = client.get(f"/api/pictures/{key}/preview?side=200")
    assert Image.open(io.BytesIO(shown.content)).size == (200, 50)


def test_a_part_of_the_picture_is_cut_out() -> None:
    values = np.zeros((100, 400, 3), np.uint8)
    values[40:60, 300:340] = 255
    out = io.BytesIO()
    Image.fromarray(values).save(out, "PNG")
    with serve() as client:
        path = f"/api/pictures/{send_picture(client, out.getvalue())}/preview"
        part = Image.open(io.BytesIO(client.get(f"{path}?side=2048&box=300&box=40&box=340&box=60").content))
        assert client.get(f"{path}?box=9&box=9&box=9&box=20").status_code == 422
        assert client.get(f"{path}?box=9&box=9").status_code == 422
    assert part.size == (40, 20)
    assert np.asarray(part).min() > 250
