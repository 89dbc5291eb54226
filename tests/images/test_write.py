from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest
from PIL import Image

from vns_sam.errors import DataError
from vns_sam.images.write import (
    atomic_path,
    check_writable,
    remove_parts,
    write_bytes,
    write_image,
    write_json,
    write_mask,
)


def test_a_mask_is_black_and_white_and_parents_are_made(tmp_path: Path) -> None:
    mask = np.eye(3, dtype=bool)
    write_mask(tmp_path / "new" / "mask.png", mask)
    with Image.open(tmp_path / "new" / "mask.png") as read:
        np.testing.assert_array_equal(np.asarray(read), mask * 255)


def test_nothing_is_left_when_writing_fails(tmp_path: Path) -> None:
    path = tmp_path / "old.json"
    path.write_text("old")
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"score": float("nan")})
    with pytest.raises(UnicodeEncodeError), atomic_path(path) as part:
        part.write_text("half, then \udc00", encoding="utf-8")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("")
    for path in (tmp_path, blocker / "mask.png", tmp_path / ("x" * 300) / "mask.png"):
        with pytest.raises(DataError, match="cannot write"):
            write_image(path, np.zeros((2, 2), np.uint8))
    for path in (tmp_path, blocker / "mask.png"):
        with pytest.raises(DataError, match="cannot write"):
            check_writable(path)


def test_checking_leaves_no_trace(tmp_path: Path) -> None:
    check_writable(tmp_path / "a" / "b" / "mask.png")
    assert not list(tmp_path.iterdir())


def test_threads_that_write_one_file_do_not_meet(tmp_path: Path) -> None:
    path, both = tmp_path / "one.bin", Barrier(2)

    def write(content: bytes) -> bytes:
        with atomic_path(path) as part:
            both.wait()
            part.write_bytes(content)
            both.wait()
            written = part.read_bytes()
        return written

    contents = [b"a" * 1000, b"b" * 2000]
    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(write, contents)) == contents
    assert path.read_bytes() in contents
    assert list(tmp_path.iterdir()) == [path]


def test_a_name_may_be_as_long_as_the_system_allows(tmp_path: Path) -> None:
    for name in ("x" * 255, "é" * 120 + ".png"):
        write_bytes(tmp_path / name, b"whole")
        assert (tmp_path / name).read_bytes() == b"whole"


def test_parts_of_one_folder_are_removed_and_nothing_else(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "a.png") as part:
        part.touch()
        left = part.with_name(part.name.replace("a.png", "b.png"))
    (tmp_path / "a.png").unlink()
    kept = [tmp_path / name for name in ("part", ".part", "a.1.part", ".a.part", ".a.png.x.part")]
    below = tmp_path / "b" / left.name
    below.parent.mkdir()
    for path in (left, tmp_path / ".a.png.123.part", *kept, below):
        path.touch()
    remove_parts(tmp_path)
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted([*kept, below])
