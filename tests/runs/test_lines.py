"""Lines of JSON: what a kill cut off is passed over, the rest stays in order."""

from __future__ import annotations

from pathlib import Path

import pytest

from vns_sam.errors import DataError
from vns_sam.runs.lines import LineFile, read_lines


def test_whole_lines_are_read_in_order(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.write_text('{"a": 1}\n{"b": "half\n\n{"a": 2}\n{"c":')
    assert list(read_lines(path)) == [{"a": 1}, {"a": 2}]


def test_no_file_has_no_lines(tmp_path: Path) -> None:
    assert list(read_lines(tmp_path / "none.jsonl")) == []


def test_lines_are_added_behind_half_a_line(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "lines.jsonl"
    with LineFile(path) as lines:
        assert lines.is_new
        lines.add({"name": "né"})
    with path.open("a") as file:
        file.write('{"name": "cu')
    with LineFile(path) as lines:
        assert not lines.is_new
        lines.add({"name": "b"})
    assert [line["name"] for line in read_lines(path)] == ["né", "b"]


def test_a_full_disk_is_told_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    path.symlink_to("/dev/full")
    with LineFile(path) as lines, pytest.raises(DataError, match=r"cannot write .*no space left"):
        lines.add({"name": "a"})
