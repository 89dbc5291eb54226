"""A run that goes on reports what is asked now, of the files as they are now."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from fakes import FakeModel
from workshop import write_disks

from vns_sam.errors import DataError, UsageError
from vns_sam.evaluation.measure import Measure
from vns_sam.evaluation.report import ModelResult
from vns_sam.evaluation.rows import Shard
from vns_sam.evaluation.suite import Suite, make_suite


def measured(suite: Suite, out: Path | None, model: FakeModel | None = None, maps: Path | None = None) -> ModelResult:
    run = suite.run(model or FakeModel(), "fake", out, maps=maps)
    list(run)
    return run.result()


def objects(folder: Path, count: int) -> Path:
    """A set of one picture with up to four objects."""
    if not folder.exists():
        write_disks(folder, 1)
    ids = np.zeros((48, 64), np.uint8)
    for number in range(count):
        ids[5:20, 2 + 15 * number : 14 + 15 * number] = number + 1
    (folder / "masks_instance").mkdir(exist_ok=True)
    cv2.imwrite(str(folder / "masks_instance" / "000.png"), ids)
    return folder


def counts(result: ModelResult) -> dict[str, float]:
    return {name: means["count"] for name, means in result.means()["box"].items()}


def test_an_object_that_is_gone_leaves_the_report(tmp_path: Path) -> None:
    measure = Measure(instances=True)
    assert counts(measured(make_suite([objects(tmp_path / "set", 4)], measure), tmp_path / "out")) == {"set": 4}
    again = measured(make_suite([objects(tmp_path / "set", 3)], measure), tmp_path / "out")
    assert counts(again) == {"set": 3}
    assert not again.left_out()
    back = FakeModel()
    whole = measured(make_suite([objects(tmp_path / "set", 4)], measure), tmp_path / "out", back)
    assert (counts(whole), back.encoded) == ({"set": 4}, [])  # these very files were measured before


def test_a_picture_that_cannot_be_read_any_more_is_skipped(tmp_path: Path) -> None:
    folder = write_disks(tmp_path / "disks", 3)
    assert counts(measured(make_suite([folder]), tmp_path / "out")) == {"disks": 3}
    picture = next((folder / "images").glob("001.*"))
    picture.write_bytes(picture.read_bytes()[:60])
    again = measured(make_suite([folder]), tmp_path / "out")
    assert counts(again) == {"disks": 2}
    assert list(again.skipped) == ["disks/001"]
    for stem in ("000", "002"):
        path = next((folder / "images").glob(f"{stem}.*"))
        path.write_bytes(b"")
    with pytest.raises(DataError, match="none of 3 pictures could be scored"):
        measured(make_suite([folder]), tmp_path / "out")


def test_old_rows_of_other_processes_are_passed_over(tmp_path: Path) -> None:
    folder = write_disks(tmp_path / "disks", 2)
    mask = folder / "masks" / "001.png"
    right = mask.read_bytes()
    cv2.imwrite(str(mask), np.eye(48, 64, dtype=np.uint8) * 255)
    second = make_suite([folder]).run(FakeModel(), "fake", tmp_path / "out", shard=Shard(1, 2))
    list(second)
    mask.write_bytes(right)
    measured(make_suite([folder]), tmp_path / "out")  # writes 1-of-1, which is read before 2-of-2
    model = FakeModel()
    result = measured(make_suite([folder]), tmp_path / "out", model)
    assert model.encoded == []
    assert [row.scores.values["iou"] > 0.7 for row in result.rows] == [True, True]


def test_a_map_does_not_pass_for_that_of_another_prompt(tmp_path: Path) -> None:
    folder, maps = write_disks(tmp_path / "disks", 1), tmp_path / "maps"

    def box() -> bytes:
        measured(make_suite([folder]), tmp_path / "out", maps=maps)
        return (maps / "fake" / "box" / "disks" / "000.png").read_bytes()

    first = box()
    points = make_suite([folder], Measure(prompts=("points:1",)))
    measured(points, tmp_path / "out", maps=maps)
    assert box() == first
    assert (maps / "fake" / "points_1" / "disks" / "000.png").read_bytes() != first


def test_an_object_without_score_is_told(tmp_path: Path) -> None:
    folder = objects(tmp_path / "set", 2)
    (folder / "masks_ignore").mkdir()
    ignored = np.zeros((48, 64), np.uint8)
    ignored[:, :16] = 255
    cv2.imwrite(str(folder / "masks_ignore" / "000.png"), ignored)
    suite = make_suite([folder], Measure(instances=True))
    for _ in range(2):  # a second run tells it again
        result = measured(suite, tmp_path / "out")
        assert counts(result) == {"set": 1}
        assert not result.skipped
        assert list(result.left_out()) == ["set/000/1"]
        assert "the true mask is empty" in result.left_out()["set/000/1"]


def test_what_was_never_measured_is_told(tmp_path: Path) -> None:
    folder = write_disks(tmp_path / "disks", 3)
    run = make_suite([folder]).run(FakeModel(), "fake", tmp_path / "out", shard=Shard(0, 2))
    list(run)
    assert run.result().skipped == {"disks/001": "not measured"}


def test_maps_of_another_question_are_not_replaced(tmp_path: Path) -> None:
    disks, maps = write_disks(tmp_path / "disks", 2), tmp_path / "maps"

    def files(folder: Path) -> dict[str, bytes]:
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    def noisy(seed: int, *metrics: str) -> Suite:
        return make_suite([disks], Measure(prompts=("noise-box",), metrics=metrics or ("iou",), seed=seed))

    measured(noisy(5), tmp_path / "a", maps=maps)
    before = files(maps)
    with pytest.raises(UsageError, match="fake holds maps with seed 5, expected 6"):
        measured(noisy(6), tmp_path / "b", maps=maps)
    assert (files(maps), (tmp_path / "b").exists()) == (before, False)
    measured(noisy(5, "mae"), tmp_path / "c", maps=maps)  # maps do not depend on what is scored
    assert files(maps) == before
    (maps / "fake" / "asked.json").unlink()  # as earlier versions left them
    measured(noisy(5), tmp_path / "a", maps=maps)
    assert files(maps) == before
