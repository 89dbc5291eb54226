from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from fakes import FakeModel
from jobs import do
from PIL import Image

from vns_sam.errors import DataError, UsageError
from vns_sam.images.find import find_images
from vns_sam.inference.folder import MANIFEST, FolderRun, SegmentJob
from vns_sam.inference.predictor import Predictor
from vns_sam.runs.engine import Outcome

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


def segment(run: FolderRun, model: FakeModel | None = None, *, force: bool = False) -> Iterator[Outcome]:
    return do(SegmentJob(run, lambda: Predictor(model or FakeModel())), force=force)


def lines(run: FolderRun) -> list[dict[str, object]]:
    return [json.loads(line) for line in (run.out / MANIFEST).read_text().splitlines() if line.endswith("}")]


def test_only_pictures_are_found(run: FolderRun, tmp_path: Path) -> None:
    assert list(run.prompts) == ["a.png", "b.jpg", "bad.png", "sub/c.png"]
    with pytest.raises(DataError, match="no picture in"):
        find_images(tmp_path / "in" / "nothing")


def test_a_picture_that_was_read_for_the_run_is_not_copied(run: FolderRun) -> None:
    job = SegmentJob(run, lambda: Predictor(FakeModel()))
    content = job.read("a.png")
    answer = job.work("a.png", content)
    assert answer.image is content[0]
    assert answer.prediction.image is content[0]


def test_a_bad_picture_is_told_and_the_rest_is_done(run: FolderRun) -> None:
    outcomes = {o.name: o for o in segment(replace(run, overlay=True))}
    assert "not a picture" in outcomes["bad.png"].error
    assert outcomes["sub/c.png"].files == ("sub/c_mask.png", "sub/c_overlay.jpg")
    assert outcomes["sub/c.png"].line["scores"] == [0.9]
    assert sorted(p.name for p in run.out.iterdir()) == [
        "a_mask.png", "a_overlay.jpg", "b_mask.png", "b_overlay.jpg", MANIFEST, "sub",
    ]  # fmt: skip


def test_an_overlay_of_a_scan_that_no_jpeg_holds_is_reduced_and_its_masks_are_written(run: FolderRun) -> None:
    Image.new("RGB", (66_000, 8), (200, 0, 0)).save(run.folder / "line.png")
    line = replace(run, prompts={"line.png": {"boxes": [[2, 1, 60_000, 6]]}}, overlay=True)
    (outcome,) = segment(line)
    assert (outcome.error, outcome.files) == ("", ("line_mask.png", "line_overlay.jpg"))
    with Image.open(run.out / "line_mask.png") as mask, Image.open(run.out / "line_overlay.jpg") as overlay:
        assert (mask.size, overlay.size) == ((66_000, 8), (65_500, 8))


def test_a_picture_of_another_size_than_was_annotated_is_told_and_the_rest_is_done(run: FolderRun) -> None:
    sized = {"a.png": {**BOX, "sizes": [[48, 64]]}, "b.jpg": {**BOX, "sizes": [[24, 32]]}}
    errors = {outcome.name: outcome.error for outcome in segment(replace(run, prompts=sized))}
    assert errors == {"a.png": "a.png: annotated as 64 x 48, the picture is 32 x 24", "b.jpg": ""}


@pytest.mark.parametrize(
    "given", [{"boxes": [2, 2, 20, 20]}, {"points": [[4, 4], [9, 9]]}, {"points": [[4, 4], [9, 9]], "labels": [1, 0]}]
)
def test_a_flat_row_is_one_object_and_somebodys_mask_stays(run: FolderRun, given: dict[str, list[object]]) -> None:
    flat = replace(run, prompts={"a.png": given})
    run.out.mkdir()
    (run.out / "a_mask.png").write_text("mine")
    with pytest.raises(UsageError, match=r"a_mask\.png"):
        list(segment(flat))
    assert (run.out / "a_mask.png").read_text() == "mine"
    (outcome,) = segment(flat, force=True)
    assert outcome.files == ("a_mask.png",)


def test_a_stopped_run_goes_on_where_it_was(run: FolderRun) -> None:
    steps = segment(run)
    next(steps)
    steps.close()
    with (run.out / MANIFEST).open("a") as file:
        file.write('{"image": "b.jpg", "ke')  # killed while writing
    second = FakeModel()
    outcomes = list(segment(run, second))
    assert [o.name for o in outcomes if o.skipped] == ["a.png"]
    assert len(second.encoded) == 2
    assert [line.get("image") for line in lines(run)] == [None, "a.png", "b.jpg", "bad.png", "sub/c.png"]
    (run.out / "a_mask.png").unlink()
    assert [o.name for o in segment(run) if not o.skipped] == ["a.png", "bad.png"]


def test_results_of_another_picture_or_prompt_are_replaced_when_that_is_said(run: FolderRun) -> None:
    list(segment(run))
    Image.new("RGB", (32, 24), "red").save(run.folder / "sub" / "c.png")
    with pytest.raises(UsageError, match=r"found one made from another input or question: sub/c\.png"):
        list(segment(run))
    changed = list(segment(run, force=True))
    assert [(o.name, o.replaced) for o in changed if not o.skipped] == [("bad.png", False), ("sub/c.png", True)]
    (run.out / "a_mask.png").write_bytes(b"drawn by hand")
    other = replace(run, prompts={"a.png": {"boxes": [[1, 1, 9, 9]]}})
    with pytest.raises(UsageError, match=r"a\.png"):
        list(segment(other))
    assert [o.replaced for o in segment(other, force=True)] == [True]
    assert [line.get("image") for line in lines(run)] == [None, "b.jpg", "bad.png", "sub/c.png", "a.png"]


def test_a_corrected_prompt_is_done_again_and_nothing_else(run: FolderRun) -> None:
    list(segment(run))
    corrected = replace(run, prompts={**run.prompts, "a.png": {"boxes": [[2, 2, 20, 20], [1, 1, 9, 9]]}})
    outcomes = [o for o in segment(corrected) if not o.skipped]
    assert [(o.name, o.replaced) for o in outcomes] == [("a.png", True), ("bad.png", False)]
    assert sorted(path.name for path in run.out.glob("a_*")) == ["a_mask_0.png", "a_mask_1.png"]
    assert all(o.skipped for o in segment(corrected) if o.name != "bad.png")
    (run.out / "a_mask.png").write_bytes(b"somebody's")
    with pytest.raises(UsageError, match=r"a\.png"):
        list(segment(run))  # back to one object, whose name somebody has taken


def test_candidates_of_a_folder_are_files_beside_the_masks(run: FolderRun) -> None:
    now = replace(run, formats=("png", "candidates"), prompts={"a.png": BOX})
    (outcome,) = segment(now)
    assert outcome.files[0] == "a_mask.png"
    assert len(outcome.line["candidates"][0]) == len(outcome.files) - 1


def test_one_object_instead_of_two_leaves_no_file_of_the_second(run: FolderRun) -> None:
    two = replace(run, prompts={"a.png": {"boxes": [[2, 2, 20, 20], [1, 1, 9, 9]]}})
    one = replace(run, prompts={"a.png": BOX})
    for now, left in ((one, ["a_mask.png"]), (two, ["a_mask_0.png", "a_mask_1.png"]), (one, ["a_mask.png"])):
        list(segment(now, force=True))
        assert sorted(path.name for path in run.out.glob("*.png")) == left


def test_pictures_that_differ_in_their_ending_alone_keep_it(run: FolderRun) -> None:
    Image.new("RGB", (32, 24)).save(run.folder / "a.jpg")
    Image.new("RGB", (32, 24)).save(run.folder / "B.png")
    now = replace(run, prompts=dict.fromkeys(("a.png", "a.jpg", "b.jpg", "B.png"), BOX))
    found = {o.name: o.files for o in segment(now)}
    assert found == {
        "a.png": ("a_png_mask.png",), "a.jpg": ("a_jpg_mask.png",),
        "b.jpg": ("b_jpg_mask.png",), "B.png": ("B_png_mask.png",),
    }  # fmt: skip


def test_names_that_lead_out_of_the_folder_are_told(run: FolderRun, tmp_path: Path) -> None:
    Image.new("RGB", (32, 24)).save(tmp_path / "c.jpg")
    names = ("../c.jpg", str(tmp_path / "c.jpg"), "a.png")
    outcomes = list(segment(replace(run, prompts=dict.fromkeys(names, BOX))))
    assert [bool(o.error) for o in outcomes] == [True, True, False]
    assert "expected a picture inside of" in outcomes[0].error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.jpg", "in", "out"]


def test_coco_runs_end_in_one_set(run: FolderRun) -> None:
    list(segment(replace(run, formats=("coco",))))
    merged = json.loads((run.out / "annotations.json").read_text())
    assert [image["file_name"] for image in merged["images"]] == ["a.png", "b.jpg", "sub/c.png"]


@pytest.mark.parametrize(
    ("before", "after"), [(("a.png",), ("a.jpg", "a.png")), (("a.jpg", "a.png"), ("a.png",))], ids=["comes", "leaves"]
)
def test_a_set_is_written_where_a_picture_of_the_same_stem_comes_or_leaves(
    run: FolderRun, before: tuple[str, ...], after: tuple[str, ...]
) -> None:
    Image.new("RGB", (32, 24)).save(run.folder / "a.jpg")
    formats = ("coco", "yolo", "labelstudio", "cvat")
    for names in (before, after, after):
        now = replace(run, prompts=dict.fromkeys(names, BOX), formats=formats)
        outcomes = list(segment(now))
    assert all(outcome.skipped for outcome in outcomes)
    merged = json.loads((run.out / "annotations.json").read_text())
    assert [image["file_name"] for image in merged["images"]] == list(after)


@pytest.mark.parametrize("known", [{1: "object"}, {4: "frog"}])
def test_a_set_names_every_class_of_its_pictures(run: FolderRun, known: dict[int, str]) -> None:
    prompts = {
        "a.png": {**BOX, "classes": ["frog"]},
        "b.jpg": BOX,
        "sub/c.png": {"boxes": BOX["boxes"] * 2, "classes": ["owl", ""]},
    }
    list(segment(replace(run, prompts=prompts, categories=known, formats=("coco", "yolo"))))
    merged = json.loads((run.out / "annotations.json").read_text())
    names = {row["id"]: row["name"] for row in merged["categories"]}
    assert [names[row["category_id"]] for row in merged["annotations"]] == ["frog", "object", "owl", "object"]
    ranks = yaml.safe_load((run.out / "data.yaml").read_text())["names"]
    labels = [(run.out / f"labels/{stem}.txt").read_text().split("\n") for stem in ("a", "b", "sub/c")]
    drawn = [ranks[int(line.split()[0])] for lines_ in labels for line in lines_ if line]
    assert drawn == ["frog", "object", "owl", "object"]


def numbered(run: FolderRun) -> list[tuple[str, int, str]]:
    """What the sets of COCO and YOLO say of each object: its picture, its number and the name of that."""
    merged = json.loads((run.out / "annotations.json").read_text())
    names = {row["id"]: row["name"] for row in merged["categories"]}
    pictures = {row["id"]: row["file_name"] for row in merged["images"]}
    of = [(row["image_id"], row["category_id"]) for row in merged["annotations"]]
    ranks = yaml.safe_load((run.out / "data.yaml").read_text())["names"]
    for picture, number in of:
        label = run.out / "labels" / Path(pictures[picture]).with_suffix(".txt")
        assert ranks[int(label.read_text().split()[0])] == names[number]
    return [(pictures[picture], number, names[number]) for picture, number in of]


def test_a_night_with_other_classes_goes_on_and_numbers_stay(run: FolderRun) -> None:
    def night(known: dict[int, str], **classes: str) -> list[Outcome]:
        names = {"a": "a.png", "b": "b.jpg", "c": "sub/c.png"}
        prompts = {names[key]: {**BOX, "classes": [name]} for key, name in classes.items()}
        return list(segment(replace(run, prompts=prompts, categories=known, formats=("coco", "yolo"))))

    night({1: "crack", 4: "moth"}, a="moth")
    (first, second) = night({1: "dent", 2: "moth", 3: "crack"}, a="moth", b="dent")
    assert (first.skipped, second.skipped, second.replaced) == (True, False, False)
    assert numbered(run) == [("a.png", 4, "moth"), ("b.jpg", 5, "dent")]
    (third,) = night({1: "scratch"}, c="scratch")
    assert not third.skipped
    assert numbered(run) == [("sub/c.png", 6, "scratch")]
    assert all(outcome.skipped for outcome in night({}, a="moth", b="dent", c="scratch"))
    assert numbered(run) == [("a.png", 4, "moth"), ("b.jpg", 5, "dent"), ("sub/c.png", 6, "scratch")]


def test_numbers_of_a_night_that_failed_are_free(run: FolderRun) -> None:
    for name, known in (("bad.png", {1: "frog"}), ("a.png", {1: "owl"})):
        prompts = {name: {**BOX, "classes": [known[1]]}}
        list(segment(replace(run, prompts=prompts, categories=known, formats=("coco", "yolo"))))
    assert numbered(run) == [("a.png", 1, "owl")]


def test_numbers_of_results_whose_picture_has_failed_since_stay(run: FolderRun) -> None:
    def night(name: str, known: dict[int, str], box: list[int]) -> str:
        prompts = {name: {"boxes": [box], "classes": [known[1]]}}
        (outcome,) = segment(replace(run, prompts=prompts, categories=known, formats=("coco", "yolo")))
        return outcome.error

    assert night("a.png", {1: "frog"}, [2, 2, 20, 20]) == ""
    assert "outside" in night("a.png", {1: "frog"}, [200, 2, 220, 20])
    assert (run.out / "labels" / "a.txt").read_text().startswith("0 ")
    assert night("b.jpg", {1: "owl"}, [2, 2, 20, 20]) == ""
    assert numbered(run) == [("b.jpg", 2, "owl")]


def test_files_without_numbers_ask_for_no_classes(run: FolderRun) -> None:
    for known in ({1: "frog"}, {1: "owl"}):
        outcomes = list(segment(replace(run, prompts={"a.png": BOX}, categories=known, formats=("png", "svg"))))
    assert [outcome.skipped for outcome in outcomes] == [True]
    assert "classes" not in lines(run)[0]["asked"]  # type: ignore[operator]


def test_classes_of_a_manifest_that_are_none_are_told(run: FolderRun) -> None:
    now = replace(run, prompts={"a.png": BOX}, formats=("coco",))
    list(segment(now))
    text = (run.out / MANIFEST).read_text()
    (run.out / MANIFEST).write_text(text.replace('{"1": "object"}', '{"one": "object"}'))
    with pytest.raises(DataError, match=r"expected classes by number in .*manifest\.jsonl, found {'one': 'object'}"):
        list(segment(now))


def test_other_processes_number_classes_in_the_same_way(run: FolderRun) -> None:
    prompts = {"a.png": {**BOX, "classes": ["frog"]}}
    list(segment(replace(run, prompts=prompts, categories={3: "frog"}, formats=("coco",))))
    job = SegmentJob(replace(run, prompts=prompts, categories={1: "owl"}, formats=("coco",)), Predictor)
    there = job.portable()
    (run.out / MANIFEST).unlink()  # as on a machine that does not see the output
    assert there.categories == job.categories == {3: "frog", 4: "owl"}
