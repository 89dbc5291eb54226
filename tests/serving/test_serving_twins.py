"""Pictures of one stem in a folder that is labelled: they come and go, and each has its own work."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from serving_stub import JSON, keys_of, picture_file, serve

from vns_sam.formats.rle import encode_rle
from vns_sam.serving.folder import Project
from vns_sam.serving.schemas import Annotations


class Days:
    """A folder whose pictures change while nobody serves it."""

    def __init__(self, place: Path) -> None:
        self.photos, self.out = place / "photos", place / "masks"
        self.photos.mkdir()

    def serve(self, *names: str) -> Project:
        for path in self.photos.iterdir():
            path.unlink()
        for name in names:
            (self.photos / name).write_bytes(picture_file())
        return Project(self.photos, self.out)

    def files(self) -> list[str]:
        return sorted(path.name for path in self.out.iterdir())


@pytest.fixture
def days(tmp_path: Path) -> Days:
    return Days(tmp_path)


def rows(count: int) -> np.ndarray:
    mask = np.zeros((30, 40), bool)
    mask[:count] = True
    return mask


def work(count: int, **more: object) -> Annotations:
    return Annotations.model_validate({"objects": [{"mask": encode_rle(rows(count))}], "saved_at": count, **more})


def found(project: Project) -> dict[str, int]:
    """For each picture how many rows of it are marked."""
    masks = {name: project.masks(index) for index, name in enumerate(project.names)}
    assert [row.objects for row in project.listing().pictures] == [len(each) for each in masks.values()]
    return {name: int(sum(mask[:, 0].sum() for mask in each)) for name, each in masks.items()}


def test_work_is_there_when_a_picture_of_the_stem_comes_and_goes(days: Days) -> None:
    project = days.serve("frog.jpg")
    project.save(0, work(3), (30, 40))
    project = days.serve("frog.jpg", "frog.png")
    assert found(project) == {"frog.jpg": 3, "frog.png": 0}
    project.save(0, work(4), (30, 40), base=3)
    project.save(1, work(7), (30, 40), base=0)
    assert days.files() == ["frog.json", "frog.png", "frog.png.json", "frog.png.png"]
    np.testing.assert_array_equal(np.asarray(Image.open(days.out / "frog.png")), rows(4) * 255)
    assert found(days.serve("frog.jpg", "frog.png")) == {"frog.jpg": 4, "frog.png": 7}
    project = days.serve("frog.png")
    assert found(project) == {"frog.png": 7}
    project.save(0, work(8), (30, 40), base=7)
    assert found(days.serve("frog.jpg")) == {"frog.jpg": 4}
    assert found(days.serve("frog.jpg", "frog.png")) == {"frog.jpg": 4, "frog.png": 8}
    assert days.files() == ["frog.json", "frog.png", "frog.png.json", "frog.png.png"]


def test_work_is_never_that_of_another_picture(days: Days, caplog: pytest.LogCaptureFixture) -> None:
    days.serve("frog.jpg").save(0, work(3), (30, 40))
    project = days.serve("frog.png")
    assert found(project) == {"frog.png": 0}
    assert f"{days.out / 'frog.json'} is about frog.jpg and is left out for frog.png" in caplog.text
    project.save(0, work(7), (30, 40), base=0)
    assert found(days.serve("frog.png")) == {"frog.png": 7}
    assert found(days.serve("frog.jpg", "frog.png", "frog.jpg.png")) == {
        "frog.jpg": 3,
        "frog.jpg.png": 0,
        "frog.png": 7,
    }
    assert days.files() == ["frog.json", "frog.png", "frog.png.json", "frog.png.png"]


def test_where_both_places_are_taken_what_is_there_is_kept(days: Days) -> None:
    days.serve("frog.jpg").save(0, work(3), (30, 40))
    days.serve("frog.png.tif").save(0, work(5), (30, 40))
    before = (days.out / "frog.json").read_bytes()
    days.serve("frog.png").save(0, work(7), (30, 40), base=0)
    assert (days.out / "frog.json.kept").read_bytes() == before
    assert found(days.serve("frog.png", "frog.png.tif")) == {"frog.png": 7, "frog.png.tif": 5}


def test_a_file_that_names_no_picture_is_that_of_its_place_alone(days: Days, caplog: pytest.LogCaptureFixture) -> None:
    days.out.mkdir()
    (days.out / "frog.json").write_text(work(3).model_dump_json(exclude={"picture"}))
    assert found(days.serve("frog.jpg")) == {"frog.jpg": 3}
    assert caplog.text == ""
    project = days.serve("frog.jpg", "frog.png")
    assert found(project) == {"frog.jpg": 0, "frog.png": 0}
    told = "frog.json names no picture and is left out for frog.jpg: rename it to frog.jpg.json if it is about that"
    assert told in caplog.text
    project.save(1, work(7), (30, 40), base=0)
    assert "frog.json" in days.files()
    (days.out / "frog.json").rename(days.out / "frog.jpg.json")
    assert found(days.serve("frog.jpg", "frog.png")) == {"frog.jpg": 3, "frog.png": 7}


@pytest.mark.parametrize("name", [os.fsdecode(b"caf\xe9.png"), "cafe\u0301.png", "a" * 200 + ".png"])
def test_names_of_every_kind_are_known_again(days: Days, name: str) -> None:
    try:
        days.serve(name).save(0, work(3), (30, 40))
    except OSError:
        pytest.skip("names of files are UTF-8 here")
    twin = f"{name[:-4]}.jpg"
    assert found(days.serve(name, twin)) == {twin: 0, name: 3}


def test_the_server_says_which_picture_a_file_is_about(days: Days) -> None:
    days.serve("frog.png")
    with serve(folder=days.photos, out=days.out) as client:
        [key] = keys_of(client)
        picture = client.post(f"/api/folder/{key}").json()["id"]
        body = work(3, picture="owl.png").model_dump_json()
        place = f"/api/folder/{key}/annotations"
        assert client.put(place, params={"picture": picture}, content=body, headers=JSON).status_code == 204
        assert client.get(place).json()["picture"] == "frog.png"
        wrong = client.put(place, params={"picture": picture}, content='{"picture": 5}', headers=JSON)
        assert wrong.status_code == 422
    assert json.loads((days.out / "frog.json").read_text())["picture"] == "frog.png"
