"""Lines of JSON: what a kill cut off is passed over, the rest stays in order."""

from __future__ import annotations

from pathlib import Path

from vns_sam.images.lines import read_lines


def test_whole_lines_are_read_in_order(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.write_text('{"a": 1}\n{"b": "half\n\n{"a": 2}\n{"c":')
    assert list(read_lines(path)) == [{"a": 1}, {"a": 2}]


def test_no_file_has_no_lines(tmp_path: Path) -> None:
    assert list(read_lines(tmp_path / "none.jsonl")) == []
