"""Lines of JSON: what a kill cut off is passed over, the rest stays in order."""

from __future__ import annotations

import subprocess
import sys
from io import BytesIO
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


def test_a_line_that_the_system_takes_in_parts_is_whole(tmp_path: Path) -> None:
    class Parts(BytesIO):
        def write(self, content: memoryview) -> int:  # type: ignore[override]
            return super().write(content[:7])

    with LineFile(tmp_path / "lines.jsonl") as lines:
        with lines._file:
            lines._file = Parts()
        lines._write('{"name": "an owl on a branch"}\n')
        assert lines._file.getvalue() == b'{"name": "an owl on a branch"}\n'


LIMITED = """
import resource, sys
from pathlib import Path
from vns_sam.errors import OutputError
from vns_sam.runs.lines import LineFile
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
with LineFile(Path(sys.argv[1])) as lines:
    lines.add({"name": "a" * 40})
    try:
        lines.add({"name": "b" * 60})
    except OutputError as error:
        print(error.message)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits of processes")
def test_a_file_that_has_room_for_half_a_line_is_told(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    done = subprocess.run([sys.executable, "-c", LIMITED, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout == f"cannot write {path}: file too large\n"
    assert path.stat().st_size == 100
    with LineFile(path) as lines:
        lines.add({"name": "c"})
    assert [line["name"] for line in read_lines(path)] == ["a" * 40, "c"]
