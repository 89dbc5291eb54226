from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vns_sam.errors import DataError
from vns_sam.images.write import atomic_path, check_writable, write_image, write_json, write_mask


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
