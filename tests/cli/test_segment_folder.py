"""``vns-sam segment DIR``: what a folder of pictures becomes, from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeModel
from PIL import Image

from vns_sam.cli.main import main
from vns_sam.inference import load

BOX = ["--box", "2", "2", "20", "20"]


@pytest.fixture(autouse=True)
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three pictures and a file that is none, in the working directory's ``photos``; a model without weights."""
    monkeypatch.setattr(load, "load_model", lambda *_, **__: FakeModel())
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    for name in ("a.png", "b.jpg", "sub/c.png"):
        Image.new("RGB", (32, 24)).save(folder / name)
    (folder / "notes.txt").touch()
    monkeypatch.chdir(tmp_path)
    return folder


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_inside_of_the_folder_twice(
    photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(photos)
    assert main(["segment", ".", *BOX]) == 0
    assert "photos_masks: 3 done" in capsys.readouterr().out
    assert main(["segment", ".", *BOX]) == 0
    shown = capsys.readouterr()
    assert "photos_masks: 0 done, 3 done before" in shown.out
    assert "left out: 1 .txt, 1 folder(s) of results" in shown.err
    assert files(photos / "photos_masks") == ["a_mask.png", "b_mask.png", "manifest.jsonl", "sub/c_mask.png"]
    assert main(["segment", ".", *BOX, "--out", "other"]) == 0
    assert "other: 3 done" in capsys.readouterr().out


def test_a_picture_above_the_ceiling_of_memory_is_told_and_the_others_are_done(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (400, 300)).save(photos / "large.png")
    assert main(["segment", "photos", *BOX, "--out", "out", "--memory", "0.0001"]) == 0
    shown = capsys.readouterr()
    assert "out: 3 done, 0 done before, 1 failed" in shown.out
    assert "large.png: it takes about 0.00179 GiB, --memory allows 0.0001: scale it down, or allow more" in shown.err
    assert main(["segment", "photos/large.png", *BOX, "--memory", "0.0001"]) == 3
    assert "large.png: it takes about" in capsys.readouterr().err
    for nothing in ("0", "nan", "inf"):
        assert main(["segment", "photos", *BOX, "--out", "out", "--memory", nothing]) == 2
        assert "argument --memory: expected a number above 0, 1,000,000 at most, found" in capsys.readouterr().err
    assert main(["segment", "photos", *BOX, "--out", "out"]) == 0
    assert "out: 1 done, 3 done before" in capsys.readouterr().out


def test_the_folder_itself_is_no_output(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["segment", "photos", *BOX, "--out", "photos"]) == 2
    assert "expected --out beside the pictures" in capsys.readouterr().err
    assert files(photos) == ["a.png", "b.jpg", "notes.txt", "sub/c.png"]


def test_results_in_the_folder_above_replace_no_picture(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (32, 24)).save(photos / "sub" / "a_mask.png")
    Image.new("RGB", (32, 24)).save(photos / "sub" / "a.png")
    assert main(["segment", "photos/sub", *BOX, "--out", "photos", "--force"]) == 0
    Image.new("RGB", (32, 24)).save(photos / "x.png")
    Image.new("RGB", (32, 24)).save(photos / "x_mask.png")
    (photos / "manifest.jsonl").unlink()
    assert main(["segment", "photos/sub", *BOX, "--out", "photos"]) == 2
    assert "found photos/a_mask.png" in capsys.readouterr().err


def test_pictures_without_prompts_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    Path("boxes.csv").write_text("a.png,2,2,20,20\n")
    assert main(["segment", "photos", "--prompts", "boxes.csv", "--out", "out"]) == 0
    assert "left out: 2 picture(s) without prompts, 1 .txt" in capsys.readouterr().err


def test_a_file_of_the_whole_run_takes_the_place_of_nobodys(capsys: pytest.CaptureFixture[str]) -> None:
    Path("set").mkdir()
    given = {"images": [{"id": 1, "file_name": "a.png", "width": 32, "height": 24}]}
    given["annotations"] = [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [2, 2, 18, 18]}]
    own = json.dumps({**given, "categories": [{"id": 1, "name": "frog"}]})
    Path("set/annotations.json").write_text(own)
    command = ["segment", "photos", "--prompts", "set/annotations.json", "--format", "coco", "--out", "set"]
    assert main(command) == 2
    assert "expected no file of others in the way, found set/annotations.json" in capsys.readouterr().err
    assert files(Path("set")) == ["annotations.json"]
    assert Path("set/annotations.json").read_text() == own
    assert main([*command, "--force"]) == 0
    assert Path("set/annotations.json").read_text() != own


def test_a_prompt_by_its_full_path_is_a_picture_of_the_folder(photos: Path) -> None:
    Path("boxes.csv").write_text(f"{photos / 'sub' / 'c.png'},2,2,20,20\n")
    assert main(["segment", "photos", "--prompts", "boxes.csv", "--out", "out"]) == 0
    assert files(Path("out")) == ["manifest.jsonl", "sub/c_mask.png"]
    assert files(photos) == ["a.png", "b.jpg", "notes.txt", "sub/c.png"]


def test_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    Path("photos/bad.png").write_text("no picture")
    assert main(["segment", "photos", *BOX, "--out", "out", "--json"]) == 0
    lines: list[dict[str, Any]] = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line.get("image"), line.get("state")) for line in lines[:-1]] == [
        ("a.png", "done"), ("b.jpg", "done"), ("bad.png", "failed"), ("sub/c.png", "done"),
    ]  # fmt: skip
    assert lines[0]["scores"] == [0.9]
    assert list(lines[0]["files"]) == ["a_mask.png"]
    assert "not a picture" in lines[2]["error"]
    assert lines[-1] == {"out": "out", "done": 3, "earlier": 0, "failed": 1, "replaced": 0}


def test_a_dry_run_says_what_would_be_done_and_does_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["segment", "photos", *BOX, "--out", "out"]) == 0
    Path("out/b_mask.png").unlink()
    Image.new("RGB", (32, 24), "red").save("photos/a.png")
    before = files(Path("out"))
    monkeypatch.setattr(load, "load_model", lambda *_, **__: pytest.fail("a model was loaded"))
    capsys.readouterr()
    assert main(["segment", "photos", *BOX, "--out", "out", "--dry-run", "--force"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "replace: a.png -> a_mask.png",
        "do: b.jpg -> b_mask.png",
        "keep: sub/c.png -> sub/c_mask.png",
        "out: 1 to do, 1 to replace, 1 to keep",
    ]
    assert files(Path("out")) == before


def test_what_partial_failure_means(capsys: pytest.CaptureFixture[str]) -> None:
    Path("photos/bad.png").write_text("no picture")
    arguments = ["segment", "photos", *BOX, "--out", "out"]
    assert main(arguments) == 0
    assert "out: 3 done, 0 done before, 1 failed" in capsys.readouterr().out
    assert main([*arguments, "--strict"]) == 3
    assert "error: photos/bad.png is not a picture" in capsys.readouterr().err
    Image.new("RGB", (32, 24)).save("photos/bad.png")
    assert main([*arguments, "--retry-failed"]) == 0
    assert "out: 1 done, 3 done before, 0 failed" in capsys.readouterr().out


def test_results_of_another_verb_stay(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["segment", "photos", *BOX, "--out", "out"]) == 0
    before = Path("out/manifest.jsonl").read_bytes()
    for force in ([], ["--force"]):
        assert main(["data", "darken", "photos", "--out", "out", "--workers", "0", *force]) == 2
        assert "expected results of 'data darken' in out, found those of 'segment'" in capsys.readouterr().err
    assert Path("out/manifest.jsonl").read_bytes() == before


def test_a_name_with_a_line_break_is_told_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    Path("photos/two\nlines.png").write_text("no picture")
    assert main(["segment", "photos", *BOX, "--out", "out", "--quiet"]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("failed: photos/two\\nlines.png is not a picture")


def test_prompts_for_pictures_that_are_not_there_are_no_work(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    boxes = {"boxes": [[1, 1, 9, 9]]}
    Path("p.json").write_text(json.dumps({"a.png": boxes, "ghost.png": boxes}))
    assert main(["segment", "photos", "--prompts", "p.json", "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "photos_masks: 1 to do" in shown
    assert "no image at photos/ghost.png" in shown
    assert "ghost_mask.png" not in shown
    assert main(["segment", "photos", "--prompts", "p.json"]) == 0
    shown_then = capsys.readouterr()
    assert "photos_masks: 1 done, 0 done before, 1 failed" in shown_then.out
    assert "no image at photos/ghost.png" in shown_then.err


def test_pictures_on_which_nothing_was_detected_are_told_and_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    Path("boxes.csv").write_text("a.png,2,2,20,20,frog\nb.jpg,,,,,\n")
    assert main(["segment", "photos", "--prompts", "boxes.csv", "--out", "out"]) == 0
    shown = capsys.readouterr()
    assert "left out: 2 picture(s) without prompts, 1 .txt" in shown.err
    assert "out: 1 done, 0 done before, 0 failed" in shown.out


def test_a_night_without_any_object_has_nothing_to_do(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "load_model", lambda *_, **__: pytest.fail("a model was loaded"))
    picture = {"id": 1, "file_name": "a.png", "width": 32, "height": 24}
    Path("none.json").write_text(json.dumps({"images": [picture], "annotations": []}))
    command = ["segment", "photos", "--prompts", "none.json", "--out", "out"]
    for more in ([], ["--dry-run"]):
        assert main([*command, *more]) == 0
        shown = capsys.readouterr()
        assert shown.err.splitlines() == [
            "left out: 3 picture(s) without prompts, 1 .txt",
            "nothing to do: none.json has no object for any picture",
        ]
        assert shown.out == "out: 0 done, 0 done before, 0 failed\n"
    assert main([*command, "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line) == {"out": "out", "done": 0, "earlier": 0, "failed": 0, "replaced": 0}
    assert not Path("out").exists()
    assert main(["segment", "photos/a.png", "--prompts", "none.json"]) == 0
    assert capsys.readouterr().err == "nothing to do: none.json has no object for a.png\n"
    assert main(["segment", "photos/b.jpg", "--prompts", "none.json"]) == 3
    assert "none.json has no prompts for b.jpg" in capsys.readouterr().err
    Path("none.json").write_text(json.dumps({"images": [], "annotations": []}))
    assert main(command) == 3
    assert "none.json is a COCO file without objects" in capsys.readouterr().err


def test_an_empty_file_of_yolo_is_a_picture_without_objects(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.txt", "prompts.txt"):
        Path(name).write_text("\n")
    assert main(["segment", "photos/a.png", "--prompts", "a.txt"]) == 0
    assert capsys.readouterr().err == "nothing to do: a.txt has no object for a.png\n"
    assert main(["segment", "photos", "--prompts", "a.txt"]) == 0
    assert "nothing to do: a.txt has no object for any picture" in capsys.readouterr().err
    for pictures, told in (("photos", "names no picture of photos"), ("photos/a.png", "has no prompts for a.png")):
        assert main(["segment", pictures, "--prompts", "prompts.txt"]) == 3
        assert f"error: prompts.txt {told}\ntry: it names prompts\n" in capsys.readouterr().err


def test_a_night_without_any_object_leaves_no_set_of_the_night_before(capsys: pytest.CaptureFixture[str]) -> None:
    def night(*boxes: list[int]) -> list[Any]:
        """What the set holds after a night with these boxes in one picture."""
        marks = [{"id": k, "image_id": 1, "category_id": 3, "bbox": box} for k, box in enumerate(boxes)]
        picture = {"id": 1, "file_name": "a.png", "width": 32, "height": 24}
        found = {"images": [picture], "annotations": marks, "categories": [{"id": 3, "name": "moth"}]}
        Path("night.json").write_text(json.dumps(found))
        assert main(command) == 0
        held = json.loads(Path("out/annotations.json").read_text())
        assert held["categories"] == [{"id": 3, "name": "moth"}]
        return [len(held["images"]), len(held["annotations"])]

    command = ["segment", "photos", "--prompts", "night.json", "--format", "coco", "--out", "out"]
    assert night([2, 2, 18, 18]) == [1, 1]
    before = files(Path("out"))
    assert night() == [0, 0]
    assert files(Path("out")) == before
    shown = capsys.readouterr()
    assert "nothing to do: night.json has no object for any picture" in shown.err
    assert shown.out.endswith("out: 0 done, 0 done before, 0 failed\n")
    assert main([*command, "--dry-run"]) == 0
    assert capsys.readouterr().out == "out: 0 to do\n"
    assert night([2, 2, 18, 18]) == [1, 1]
    assert "out: 0 done, 1 done before, 0 failed" in capsys.readouterr().out


def test_pictures_given_by_the_folder_above_are_done_beside_others(
    photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos.parent / "elsewhere").mkdir()
    Image.new("RGB", (32, 24)).save(photos.parent / "elsewhere" / "d.png")
    (photos / "elsewhere").mkdir()
    (photos / "elsewhere" / "link").symlink_to(photos / "sub")
    monkeypatch.chdir(photos / "sub")
    given = ["c.png", "../a.png", "../sub/../b.jpg", "../elsewhere/link/../a.png", "../../elsewhere/d.png"]
    given.append("../elsewhere/link/c.png")  # a link is called as it is
    assert main(["segment", *given, *BOX, "--out", str(photos.parent / "out")]) == 0
    assert "5 done, 0 done before, 0 failed" in capsys.readouterr().out
    found = [name for name in files(photos.parent / "out") if name.endswith(".png")]
    assert found == [
        "elsewhere/d_mask.png",
        "photos/a_mask.png",
        "photos/b_mask.png",
        "photos/elsewhere/link/c_mask.png",
        "photos/sub/c_mask.png",
    ]
