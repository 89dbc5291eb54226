"""Rows survive a kill, belong to one set of weights, and are shared between processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from vns_sam.errors import UsageError
from vns_sam.evaluation.rows import Key, Row, RowStore, Shard
from vns_sam.metrics.scoring import ImageScores


def row(stem: str, value: float = 0.5) -> Row:
    return Row(Key("camo", stem, "", "box"), ImageScores({"iou": value}), 0.25, 0.5, data="files")


def test_rows_come_back(tmp_path: Path) -> None:
    store = RowStore(tmp_path, "model", {"seed": 0})
    store.add(row("a"))
    store.skip("camo", "b", "broken")
    again = RowStore(tmp_path, "model", {"seed": 0})
    assert list(again.rows.values()) == [row("a")]
    assert again.skipped == {("camo", "b"): "broken"}
    assert again.known() == {("camo", "a"): {row("a").key: {"files"}}}


def test_half_a_line_is_passed_over(tmp_path: Path) -> None:
    store = RowStore(tmp_path, "model", {})
    store.add(row("a"))
    (path,) = tmp_path.iterdir()
    with path.open("a") as file:
        file.write('{"dataset": "camo", "stem')
    RowStore(tmp_path, "model", {}).add(row("b"))
    assert [key.stem for key in RowStore(tmp_path, "model", {}).rows] == ["a", "b"]


def test_rows_of_other_weights_are_refused(tmp_path: Path) -> None:
    RowStore(tmp_path, "model", {"weights": "one"}).add(row("a"))
    with pytest.raises(UsageError, match="weights one, expected two"):
        RowStore(tmp_path, "model", {"weights": "two"})
    assert RowStore(tmp_path, "model", {"weights": "one", "since": "later"}).rows


def test_rows_of_other_weights_may_stand_apart(tmp_path: Path) -> None:
    for weights in ("one", "two", "three"):
        RowStore(tmp_path, "model", {"weights": weights}, apart=True).add(row(weights))
    for weights in ("two", "three", "one"):
        store = RowStore(tmp_path, "model", {"weights": weights, "since": "later"}, apart=True)
        assert [key.stem for key in store.rows] == [weights]
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("other", ["model_b", "runs/model a", "runs_model a"])
def test_models_keep_apart(tmp_path: Path, other: str) -> None:
    RowStore(tmp_path, "runs/model_a", {}).add(row("a"))
    assert not RowStore(tmp_path, other, {}).rows


def test_processes_read_each_other(tmp_path: Path) -> None:
    for index, stem in enumerate("ab"):
        RowStore(tmp_path, "model", {}, Shard(index, 2)).add(row(stem))
    assert sorted(key.stem for key in RowStore(tmp_path, "model", {}).rows) == ["a", "b"]
    assert len(list(tmp_path.iterdir())) == 3
