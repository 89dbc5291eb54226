"""Differences in pairs: intervals that hold the truth, and reports that do not fit told in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vns_sam.errors import DataError, UsageError
from vns_sam.evaluation.compare import bootstrap, compare, compare_means, read_report, read_rows, to_markdown


def line(stem: str, iou: float, dataset: str = "camo", prompt: str = "box") -> dict[str, Any]:
    return {"dataset": dataset, "stem": stem, "target": "", "prompt": prompt, "iou": iou}


def write(path: Path, **models: list[dict[str, Any]]) -> str:
    path.write_text(json.dumps({"models": {name: {"rows": rows} for name, rows in models.items()}}))
    return str(path)


def test_differences_are_taken_over_shared_objects(tmp_path: Path) -> None:
    first = write(tmp_path / "a.json", one=[line("x", 0.2), line("y", 0.4), line("only", 1.0)])
    second = write(tmp_path / "b.json", two=[line("y", 0.7), line("x", 0.5), line("z", 0.0), line("x", 0.1, "other")])
    (name, before), (other, after) = read_rows(first), read_rows(second)
    assert (name, other) == ("one", "two")
    (d,) = compare(before, after, ["iou", "biou"])
    assert (d.prompt, d.dataset, d.metric, d.count) == ("box", "camo", "iou", 2)
    assert (d.first, d.second, d.change) == pytest.approx((0.3, 0.6, 0.3))
    assert (d.low, d.high) == pytest.approx((0.3, 0.3))
    assert "| box | camo | 2 | iou | 0.300 | 0.600 | +0.300 | +0.300 to +0.300 |" in to_markdown([d], "one", "two")


@pytest.mark.parametrize(("count", "certain"), [(1, False), (5, False), (6, True)])
def test_a_few_objects_make_nothing_certain(count: int, certain: bool) -> None:
    before, after = ({("box", "camo"): {(str(i), ""): {"iou": v} for i in range(count)}} for v in (0.2, 0.5))
    (d,) = compare(before, after, ["iou"])
    assert d.certain is certain
    assert ("+0.300 *" in to_markdown([d], "one", "two")) is certain


def test_intervals_hold_the_true_mean_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(60):
        low, high = bootstrap(rng.normal(0.1, 1, 80), rng)
        hits += low <= 0.1 <= high
    assert 50 <= hits <= 60


def test_no_difference_is_not_certain(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    values = rng.random(40)
    before = [line(str(i), float(v)) for i, v in enumerate(values)]
    after = [line(str(i), float(v)) for i, v in enumerate(rng.permutation(values))]
    source = write(tmp_path / "a.json", one=before, two=after)
    (d,) = compare(read_rows(f"{source}:one")[1], read_rows(f"{source}:two")[1], ["iou"])
    assert not d.certain
    assert d.low < 0 < d.high


def test_mistakes_are_told(tmp_path: Path) -> None:
    both = write(tmp_path / "both.json", one=[line("x", 0.2)], two=[line("y", 0.2)])
    with pytest.raises(UsageError, match="holds 2 models: one, two"):
        read_rows(both)
    with pytest.raises(UsageError, match="holds no model 'three'"):
        read_rows(f"{both}:three")
    with pytest.raises(DataError, match="cannot read"):
        read_rows(str(tmp_path / "none.json"))
    (tmp_path / "other.json").write_text("[1]")
    with pytest.raises(DataError, match="expected a report"):
        read_rows(str(tmp_path / "other.json"))
    with pytest.raises(DataError, match="share no object"):
        compare(read_rows(f"{both}:one")[1], read_rows(f"{both}:two")[1])


def test_every_metric_that_both_hold(tmp_path: Path) -> None:
    first = write(tmp_path / "a.json", one=[{**line(stem, 0.2), "mae": 0.3, "hce": 9} for stem in "xy"])
    second = write(tmp_path / "b.json", two=[{**line(stem, 0.4), "s": 0.5, "mae": 0.1} for stem in "xy"])
    found = compare(read_rows(first)[1], read_rows(second)[1])
    assert [d.metric for d in found] == ["iou", "mae"]
    assert [d.change for d in found] == pytest.approx([0.2, -0.2])


def test_means_that_are_none_over_objects_are_shown_without_an_interval(tmp_path: Path) -> None:
    def report(path: Path, name: str, iou: float, ap: float) -> str:
        means = {"box": {"camo": {"iou": iou, "ap": ap, "count": 2.0}}}
        rows = [line("x", iou), line("y", iou)]
        path.write_text(json.dumps({"models": {name: {"rows": rows, "means": means}}}))
        return str(path)

    first, second = report(tmp_path / "a.json", "one", 0.2, 0.1), report(tmp_path / "b.json", "two", 0.5, 0.4)
    known = compare(read_rows(first)[1], read_rows(second)[1])
    (found,) = compare_means(read_report(first).means, read_report(second).means, known)
    assert (found.metric, found.count, found.low, found.certain) == ("ap", 2, None, False)
    assert found.change == pytest.approx(0.3)
    assert "| box | camo | 2 | ap | 0.100 | 0.400 | +0.300 | - |" in to_markdown([found], "one", "two")


def test_objects_of_one_picture_are_drawn_together() -> None:
    rng, hits, alone = np.random.default_rng(3), 0, 0
    names = [str(i) for i in range(20) for _ in range(10)]
    for _ in range(100):
        values = np.repeat(rng.normal(0.3, 1, 20), 10) + rng.normal(0, 0.5, 200)
        low, high = bootstrap(values, np.random.default_rng(0), names)
        hits += low <= 0.3 <= high
        low, high = bootstrap(values, np.random.default_rng(0))
        alone += low <= 0.3 <= high
    assert alone < 60 < 85 < hits


def test_one_object_a_picture_changes_no_interval() -> None:
    values = np.random.default_rng(5).random(30)
    rng = np.random.default_rng(0)
    means = np.concatenate([values[rng.integers(30, size=(500, 30))].mean(axis=1) for _ in range(20)])
    expected = tuple(np.quantile(means, [0.025, 0.975]).tolist())
    assert bootstrap(values, np.random.default_rng(0), [f"p{i}" for i in range(30)]) == pytest.approx(expected, abs=0)
    assert bootstrap(values, np.random.default_rng(0)) == pytest.approx(expected, abs=0)


def test_pictures_of_unlike_many_objects_keep_their_weight() -> None:
    values, names = np.array([1.0, 1, 1, 0]), ["a", "a", "a", "b"]
    low, high = bootstrap(values, np.random.default_rng(0), names)
    assert (low, high) == (0, 1)  # both of one picture; 3 of 4 in between


@pytest.mark.parametrize(("pictures", "certain"), [(5, False), (6, True)])
def test_many_objects_of_a_few_pictures_make_nothing_certain(pictures: int, certain: bool) -> None:
    keys = [(str(i), str(j)) for i in range(pictures) for j in range(10)]
    before, after = ({("box", "camo"): {key: {"iou": value} for key in keys}} for value in (0.2, 0.5))
    (d,) = compare(before, after)
    assert (d.count, d.pictures, d.certain) == (pictures * 10, pictures, certain)
