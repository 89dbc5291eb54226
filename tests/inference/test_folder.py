from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import FakeModel
from PIL import Image

from vns_sam.errors import DataError
from vns_sam.images.read import find_images
from vns_sam.inference.folder import MANIFEST, FolderRun, segment_folder
from vns_sam.inference.predictor import Predictor

BOX = {"boxes": [[2, 2, 20, 20]]}


@pytest.fixture
def run(tmp_path: Path) -> FolderRun:
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    for name in ("a.png", "b.jpg", "sub/c.png"):
        Image.new("RGB", (32, 24)).save(folder / name)
    (folder / "bad.png").write_text("no picture")
    (folder / "notes.txt").write_text("")
    (folder / ".hidden.png").write_text("")
    return FolderRun(folder, tmp_path / "out", dict.fromkeys(find_images(folder), BOX))


def test_only_pictures_are_found(run: FolderRun, tmp_path: Path) -> None:
    assert list(run.prompts) == ["a.png", "b.jpg", "bad.png", "sub/c.png"]
    with pytest.raises(DataError, match="no picture in"):
        find_images(tmp_path / "in" / "nothing")


def test_a_bad_picture_is_told_and_the_rest_is_done(run: FolderRun) -> None:
    outcomes = {o.image: o for o in segment_folder(Predictor(FakeModel()), replace(run, overlay=True))}
    assert "not a picture" in outcomes["bad.png"].error
    assert outcomes["sub/c.png"].outputs == ("sub/c_mask.png", "sub/c_overlay.jpg")
    assert sorted(p.name for p in run.out.iterdir()) == [
        "a_mask.png", "a_overlay.jpg", "b_mask.png", "b_overlay.jpg", MANIFEST, "sub",
    ]  # fmt: skip


def test_a_stopped_run_goes_on_where_it_was(run: FolderRun) -> None:
    first = FakeModel()
    steps = segment_folder(Predictor(first), run)
    next(steps)
    steps.close()
    with (run.out / MANIFEST).open("a") as lines:
        lines.write('{"image": "b.jpg", "ke')  # killed while writing
    second = FakeModel()
    outcomes = list(segment_folder(Predictor(second), run))
    assert [o.image for o in outcomes if o.skipped] == ["a.png"]
    assert len(second.encoded) == 2
    lines = [json.loads(line) for line in (run.out / MANIFEST).read_text().splitlines() if line.endswith("}")]
    assert [line["image"] for line in lines] == ["a.png", "b.jpg", "sub/c.png"]
    (run.out / "a_mask.png").unlink()
    third = [o.image for o in segment_folder(Predictor(FakeModel()), run) if not o.skipped]
    assert third == ["a.png", "bad.png"]
    Image.new("RGB", (32, 24), "red").save(run.folder / "sub" / "c.png")
    changed = [o.image for o in segment_folder(Predictor(FakeModel()), run) if not o.skipped]
    assert changed == ["bad.png", "sub/c.png"]
    other = replace(run, prompts={"a.png": {"boxes": [[1, 1, 9, 9]]}})
    assert [o.skipped for o in segment_folder(Predictor(FakeModel()), other)] == [False]


def test_coco_runs_end_in_one_set(run: FolderRun) -> None:
    list(segment_folder(Predictor(FakeModel()), replace(run, kind="coco")))
    merged = json.loads((run.out / "annotations.json").read_text())
    assert [image["file_name"] for image in merged["images"]] == ["a.png", "b.jpg", "sub/c.png"]
