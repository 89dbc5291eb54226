import json
import pickle
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from jobs import given, label
from labelling_colours import ColourModel, frog_strokes, write_pond
from PIL import Image

from vns_sam.data.sparse import SparseLabels
from vns_sam.errors import DataError, UsageError
from vns_sam.inference.folder import RESULTS, SegmentJob, list_folder
from vns_sam.labelling.folder import LabelJob, plan_run
from vns_sam.labelling.fusion import Selection
from vns_sam.labelling.labeller import LabelSettings
from vns_sam.labelling.records import LINES
from vns_sam.labelling.store import LabelStore
from vns_sam.runs.job import Done, Job, attempt


def test_each_picture_is_a_map_and_a_line(tmp_path: Path) -> None:
    images, labels = write_pond(tmp_path)
    outcomes = list(label(ColourModel(), plan_run(images, labels, tmp_path / "out")))
    assert [o.name for o in outcomes] == ["eel.png", "frog.png", "newt.png"]
    store = LabelStore(tmp_path / "out")
    assert len(store.kept(Selection())) == 3
    record = store.records["frog.png"]
    assert (record.levels, record.kind, len(record.answers)) == (12, "scribble", 12)
    assert record.area == pytest.approx(640 / 3072, abs=0.01)
    assert record.prompts["labels"] == [[1] * 10 + [0] * 10]


def test_a_killed_run_goes_on_and_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    images, labels = write_pond(tmp_path)
    run = plan_run(images, labels, tmp_path / "out")
    steps = label(ColourModel(), run)
    next(steps)
    steps.close()
    with (run.out / LINES).open("a") as lines:
        lines.write('{"image": "frog.png", "ke')
    model = ColourModel()
    assert [o.skipped for o in label(model, run)] == [True, False, False]
    assert model.encoded == 24
    whole = plan_run(images, labels, tmp_path / "whole")
    list(label(ColourModel(), whole))
    one, other = ([replace(r, seconds=0) for r in LabelStore(out).records.values()] for out in (run.out, whole.out))
    assert one == other


def test_a_split_may_be_in_the_folder_of_lists_or_a_folder_of_pictures(tmp_path: Path) -> None:
    images, labels = write_pond(tmp_path)
    (images / "list").mkdir()
    (images / "list" / "train.txt").write_text("newt.png\neel\n")
    assert plan_run(images, labels, tmp_path / "out", split="train").names == ("eel.png", "newt.png")
    (images / "masks").rename(images / "truth")
    (images / "images_val").mkdir()
    (images / "images" / "frog.png").rename(images / "images_val" / "frog.png")
    found = plan_run(images, labels, tmp_path / "out", split="val")
    assert (found.folder, found.names) == (images / "images_val", ("frog.png",))
    with pytest.raises(DataError, match=r"expected the list .*test\.txt"):
        plan_run(images, labels, tmp_path / "out", split="test")


def test_whoever_does_the_work_gets_what_is_to_do_and_may_answer_in_any_order(tmp_path: Path) -> None:
    images, labels = write_pond(tmp_path)
    run = plan_run(images, labels, tmp_path / "out")
    steps = label(ColourModel(), run)
    next(steps)
    steps.close()
    asked: list[str] = []

    def backwards(job: Job[str], names: Sequence[str]) -> Iterator[Done]:
        asked.extend(names)
        return (attempt(job, name) for name in reversed(names))

    outcomes = list(label(ColourModel(), run, mapper=backwards))
    assert asked == ["frog.png", "newt.png"]
    assert [o.name for o in outcomes] == ["eel.png", "newt.png", "frog.png"]
    assert list(LabelStore(run.out).records) == ["eel.png", "frog.png", "newt.png"]


def test_what_has_changed_is_asked_again(tmp_path: Path) -> None:
    images, labels = write_pond(tmp_path)
    run = plan_run(images, labels, tmp_path / "out")
    list(label(ColourModel(), run))
    codes = frog_strokes()
    codes[0, 0] = 2
    Image.fromarray(codes).save(labels / "frog.png")
    (run.out / "maps" / "newt.png.png").unlink()
    with pytest.raises(UsageError, match=r"made from another input or question: frog\.png"):
        list(label(ColourModel(), run))
    outcomes = {o.name: o for o in label(ColourModel(), run, force=True)}
    assert [name for name, o in outcomes.items() if o.skipped] == ["eel.png"]
    assert [name for name, o in outcomes.items() if o.replaced] == ["frog.png"]
    otherwise = replace(run, settings=LabelSettings(points=3))
    with pytest.raises(UsageError, match="3 made with points 10 instead of 3"):
        list(label(ColourModel(), otherwise))
    assert all(o.replaced for o in label(ColourModel(), otherwise, force=True))


def test_bad_input_is_told_by_name_and_nothing_else_is_lost(tmp_path: Path) -> None:
    names = [f"{name}.png" for name in ("blank", "broken", "codes", "frog", "missing", "size")]
    images, labels = write_pond(tmp_path, names)
    Image.fromarray(np.zeros((48, 64), np.uint8)).save(labels / "blank.png")
    (images / "images" / "broken.png").write_bytes(b"no picture")
    Image.fromarray(np.full((48, 64), 255, np.uint8)).save(labels / "codes.png")
    (labels / "missing.png").unlink()
    Image.fromarray(np.ones((10, 10), np.uint8)).save(labels / "size.png")
    outcomes = {o.name: o for o in label(ColourModel(), plan_run(images, labels, tmp_path / "out"))}
    said = {"blank": "mark on the object", "broken": "not a picture", "codes": "found 255", "missing": "found none"}
    for stem, reason in {**said, "size": "found 10 x 10"}.items():
        assert stem in outcomes[f"{stem}.png"].error
        assert reason in outcomes[f"{stem}.png"].error
    assert list(LabelStore(tmp_path / "out").records) == ["frog.png"]


def test_contradicting_points_are_told(tmp_path: Path) -> None:
    images, _ = write_pond(tmp_path)
    table = tmp_path / "points.csv"
    table.write_text("name,x,y,label\neel,20,25,1\nfrog,9,9,1\nfrog,9,9,2\nnewt,20,25,1\n")
    outcomes = list(label(ColourModel(), plan_run(images, table, tmp_path / "out")))
    assert [bool(o.error) for o in outcomes] == [False, True, False]
    assert "frog.png: the pixel 9 9 is marked as object and as background" in outcomes[1].error


def test_a_split_leaves_the_others_as_they_were(tmp_path: Path) -> None:
    images, labels = write_pond(tmp_path)
    list(label(ColourModel(), plan_run(images, labels, tmp_path / "out")))
    (images / "train.txt").write_text("frog\n")
    outcomes = list(label(ColourModel(), plan_run(images, labels, tmp_path / "out", split="train")))
    assert [(o.name, o.skipped) for o in outcomes] == [("frog.png", True)]
    assert len(LabelStore(tmp_path / "out").records) == 3
    with pytest.raises(DataError, match=r"val\.txt"):
        plan_run(images, labels, tmp_path / "out", split="val")


def test_labels_and_stores_inside_of_the_folder_are_no_pictures(tmp_path: Path) -> None:
    images, labels = write_pond(tmp_path)
    photos = images / "images"
    labels = labels.rename(photos / "labels")
    names = ("eel.png", "frog.png", "newt.png")
    run = plan_run(photos, labels, photos / "pseudo")
    assert (run.names, run.left_out) == (names, "1 folder(s) of results")
    list(label(ColourModel(), run))
    assert [o.skipped for o in label(ColourModel(), plan_run(photos, labels, photos / "pseudo"))] == [True] * 3
    assert plan_run(photos, labels, tmp_path / "other").names == names
    assert RESULTS[LabelJob.manifest] == LabelJob.verb
    assert RESULTS[SegmentJob.manifest] == SegmentJob.verb
    assert {Path(name).parent.name for name in list_folder(photos, tmp_path / "masks").names} == {"", "labels"}


def test_wrong_places(tmp_path: Path) -> None:
    images, labels = write_pond(tmp_path)
    for place in (images, images / "images", labels):
        with pytest.raises(UsageError, match="beside"):
            plan_run(images, labels, place)
    with pytest.raises(DataError, match="other files"):
        list(label(ColourModel(), plan_run(images, labels, images / "masks")))
    with pytest.raises(DataError, match="no folder"):
        plan_run(images / "none", labels, tmp_path / "out")


def test_whoever_works_elsewhere_finds_the_same_labels(tmp_path: Path) -> None:
    images, _ = write_pond(tmp_path)
    table = tmp_path / "points.csv"
    table.write_text(f"name,x,y,label\n{images}/images/eel.png,20,25,1\nfrog,9,9,1\nnewt,20,25,1\n")
    job = LabelJob(plan_run(images, table, tmp_path / "out"), given(ColourModel()))
    there = pickle.loads(pickle.dumps(job.portable()))
    assert [there.key(name) for name in job.items] == [job.key(name) for name in job.items]


def test_whoever_works_elsewhere_finds_marks_of_a_table_and_of_another_tool(tmp_path: Path) -> None:
    images, _ = write_pond(tmp_path)
    labels = tmp_path / "marks"
    labels.mkdir()
    (labels / "points.csv").write_text("name,x,y,label\neel.png,20,25,1\nfrog.png,20,25,1\n")
    shapes = [{"label": "newt", "shape_type": "point", "points": [[20, 25]]}]
    for stem in ("frog", "newt"):
        size = {"imageHeight": 48, "imageWidth": 64}
        (labels / f"{stem}.json").write_text(json.dumps({"imagePath": f"{stem}.png", "shapes": shapes, **size}))
    run = plan_run(images, labels, tmp_path / "out")
    coloured = SparseLabels(labels, {(255, 0, 0): 1})
    coloured.follow(run.folder, run.names)
    for each in (run, replace(run, labels=coloured)):
        job = LabelJob(each, given(ColourModel()))
        there = pickle.loads(pickle.dumps(job.portable()))
        assert [there.key(name) for name in job.items] == [job.key(name) for name in job.items]
        assert there.label_run.labels.colours == each.labels.colours
