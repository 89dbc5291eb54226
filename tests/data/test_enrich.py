"""Enrichment of masks: the released code's components, and a set that is written, resumed and mended."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vns_sam.data import enrich
from vns_sam.data.enrich import Component, plan_enrich, samples_of, split_mask
from vns_sam.data.pairs import find_pairs, read_mask
from vns_sam.data.splits import training_pairs
from vns_sam.errors import DataError, UsageError
from vns_sam.images.write import write_mask
from vns_sam.runs.engine import Outcome
from vns_sam.runs.engine import run as run_job
from vns_sam.runs.job import MANIFEST
from vns_sam.runs.plan import prepare
from vns_sam.runs.processes import Processes
from vns_sam.runs.threads import overlapped

CASES = (
    "a_two_big_one_small",
    "b_diagonal_touch",
    "c_single_plus_speck",
    "d_thin_line",
    "e_all_too_small",
    "f_exactly_at_threshold",
)


@pytest.mark.parametrize("case", CASES)
def test_recorded_cases(fixtures_dir: Path, case: str) -> None:
    folder = fixtures_dir / "dis" / "enrich"
    expected = json.loads((folder / "expected.json").read_text())["cases"][case]
    found = split_mask(read_mask(folder / f"{case}.png"))
    told = [{"suffix": f"_comp_{c.id}", "area": c.area, "box_xyxy_inclusive": list(c.box)} for c, _ in found]
    assert told == expected
    assert len(list(folder.glob(f"{case}_comp_*.png"))) == len(found)
    for component, mask in found:
        written = np.asarray(Image.open(folder / f"{case}_comp_{component.id}.png"))
        np.testing.assert_array_equal(written, mask * np.uint8(255))


def bar(*columns: int, size: tuple[int, int] = (20, 50)) -> np.ndarray:
    """A mask of bars of four rows at some columns."""
    mask = np.zeros(size, bool)
    for column in columns:
        mask[5:9, column] = True
    return mask


@pytest.mark.parametrize("width", [25, 50, 75, 175, 250, 875])
def test_equality_is_kept_whatever_the_rounding(width: int) -> None:
    mask = np.zeros((10, width), bool)
    mask[0, : width // 25] = True
    assert [component.area for component, _ in split_mask(mask)] == [width // 25]
    mask[0, width // 25 - 1] = False
    assert split_mask(mask) == []


def test_ids_keep_their_gaps_and_the_whole_comes_last() -> None:
    mask = bar(3, 10, 30)
    mask[5:8, 10] = False  # one pixel is left, 0.1 %
    found = split_mask(mask)
    assert [component.id for component, _ in found] == [1, 2, 0]
    assert found[1][0] == Component(2, 4, (30, 5, 30, 8))
    assert found[2][0].area == 9
    np.testing.assert_array_equal(found[2][1], mask)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A set of four pictures as DIS5K has them: two parts, one part, specks only, two parts."""
    masks = {"a": bar(3, 30), "b": bar(7), "c": bar(), "d": bar(0, 49)}
    masks["c"][0, 0] = True
    for stem, mask in masks.items():
        write_mask(tmp_path / "set" / "gt" / f"{stem}.png", mask)
        path = tmp_path / "set" / "im" / f"{stem}.jpg"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (50, 20), "blue").save(path)
    return tmp_path / "set"


def steps(
    source: Path, out: Path, *, workers: int = 0, split: str | None = None, strict: bool = False, force: bool = False
) -> Iterator[Outcome]:
    mapper = Processes(workers) if workers else overlapped
    plan = prepare(plan_enrich(source, out, split=split, strict=strict), force=force)
    return run_job(plan, mapper, strict=strict)


def run(source: Path, out: Path, **options: Any) -> dict[str, Outcome]:
    return {outcome.name: outcome for outcome in steps(source, out, **options)}


def lines(out: Path) -> list[dict[str, Any]]:
    return [line for text in (out / MANIFEST).read_text().splitlines() if "stem" in (line := json.loads(text))]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_set_is_written(source: Path, tmp_path: Path, workers: int) -> None:
    out = tmp_path / "out"
    outcomes = run(source, out, workers=workers)
    assert {stem: samples_of(outcome.line) for stem, outcome in outcomes.items()} == {
        "a": ["a_comp_1", "a_comp_2", "a_comp_0"],
        "b": ["b_comp_1"],
        "c": [],
        "d": ["d_comp_1", "d_comp_2", "d_comp_0"],
    }
    pairs = find_pairs(out)
    assert [pair.stem for pair in pairs] == sorted(name for o in outcomes.values() for name in samples_of(o.line))
    masks = {pair.stem: read_mask(pair.mask) for pair in pairs}
    np.testing.assert_array_equal(masks["a_comp_2"], bar(30))
    np.testing.assert_array_equal(masks["a_comp_0"], bar(3, 30))
    assert (out / "images" / "a_comp_2.jpg").samefile(source / "im" / "a.jpg")
    assert [line["stem"] for line in lines(out)] == ["a", "b", "c", "d"]
    assert lines(out)[1]["components"] == [{"id": 1, "area": 4, "box": [7, 5, 7, 8]}]


def test_a_stopped_run_goes_on(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    whole = run(source, tmp_path / "whole")
    stopped = steps(source, out)
    assert [next(stopped).name for _ in range(2)] == ["a", "b"]
    stopped.close()
    with (out / MANIFEST).open("a") as file:
        file.write('{"stem": "c", "ke')
    (out / "masks" / "a_comp_2.png").unlink()
    outcomes = run(source, out)
    assert {name for name, outcome in outcomes.items() if outcome.skipped} == {"b"}
    assert (out / MANIFEST).read_text() == (tmp_path / "whole" / MANIFEST).read_text()
    assert {name: o.files for name, o in outcomes.items()} == {name: o.files for name, o in whole.items()}
    monkeypatch.setattr(enrich, "split_mask", None)
    assert all(outcome.skipped for outcome in run(source, out).values())


def test_a_changed_mask_is_done_again(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(source, out)
    write_mask(source / "gt" / "a.png", bar(12))
    outcomes = run(source, out, force=True)
    assert [stem for stem, outcome in outcomes.items() if not outcome.skipped] == ["a"]
    assert sorted(path.name for path in (out / "masks").glob("a_*")) == ["a_comp_1.png"]
    assert sorted(path.name for path in (out / "images").glob("a_*")) == ["a_comp_1.jpg"]


def test_bad_pairs_are_told_and_left_out(source: Path, tmp_path: Path) -> None:
    (source / "gt" / "a.png").write_bytes(b"no picture")
    write_mask(source / "gt" / "b.png", bar(7, size=(20, 40)))
    (source / "gt" / "d.png").unlink()
    errors = {stem: outcome.error for stem, outcome in run(source, tmp_path / "out").items() if outcome.error}
    assert list(errors) == ["d", "a", "b"]
    assert "expected a mask in" in errors["d"]
    assert "expected a mask picture" in errors["a"]
    assert "mask is 40 x 20, its picture 50 x 20" in errors["b"]
    with pytest.raises(DataError, match="expected a mask"):
        run(source, tmp_path / "strict", strict=True)


def test_lists_are_followed_and_written(source: Path, tmp_path: Path) -> None:
    (source / "train.txt").write_text("d\nb.jpg\n")
    run(source, tmp_path / "out", split="train")
    assert (tmp_path / "out" / "train.txt").read_text().split() == ["d_comp_1", "d_comp_2", "d_comp_0", "b_comp_1"]
    assert [pair.stem for pair in find_pairs(tmp_path / "out", "train")][-1] == "b_comp_1"


def test_what_the_source_holds_out_stays_held_out(source: Path, tmp_path: Path) -> None:
    (source / "list").mkdir()
    for split, stems in {"train": "b", "list/val": "a.jpg\nc", "test": "d#2"}.items():
        (source / f"{split}.txt").write_text(f"{stems}\n")
    run(source, tmp_path / "out")
    lists = {path.name: path.read_text().split() for path in (tmp_path / "out").glob("*.txt")}
    assert lists == {
        "train.txt": ["b_comp_1"],
        "val.txt": ["a_comp_1", "a_comp_2", "a_comp_0"],
        "test.txt": ["d_comp_1", "d_comp_2", "d_comp_0"],
    }
    train, held = training_pairs(tmp_path / "out")
    assert [[pair.stem for pair in part] for part in (train, held or [])] == [lists["train.txt"], lists["val.txt"]]


def test_another_split_may_go_to_the_same_place(source: Path, tmp_path: Path) -> None:
    (source / "train.txt").write_text("d\n")
    (source / "val.txt").write_text("b\n")
    for split in ("train", "val"):
        run(source, tmp_path / "out", split=split)
    assert [line["stem"] for line in lines(tmp_path / "out")] == ["d", "b"]
    assert run(source, tmp_path / "out", split="train")["d"].skipped


@pytest.mark.parametrize("workers", [0, 1])
def test_a_place_that_cannot_be_written_ends_the_run(source: Path, tmp_path: Path, workers: int) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / MANIFEST).touch()
    (out / "masks").touch()
    with pytest.raises(DataError, match="cannot write"):
        run(source, out, workers=workers)


def test_ignored_pixels_come_along(source: Path, tmp_path: Path) -> None:
    write_mask(source / "masks_ignore" / "a.png", bar(20))
    run(source, tmp_path / "out")
    ignore = {pair.stem: pair.ignore for pair in find_pairs(tmp_path / "out")}
    assert ignore["b_comp_1"] is None
    assert ignore["a_comp_0"] is not None
    assert read_mask(ignore["a_comp_0"]).sum() == 4


def test_places_that_are_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="outside of"):
        run(source, source / "enriched")
    with pytest.raises(DataError, match="expected a new folder"):
        run(source, source.parent)
    with pytest.raises(DataError, match="expected a data set folder"):
        run(tmp_path / "nowhere", tmp_path / "out")
