"""Unpaired pictures: every layout of LOL, tests kept out, and samples that depend on their position only."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from vns_sam.errors import DataError
from vns_sam.training.samples.unpaired import (
    BRIGHT_FOLDERS,
    DARK_FOLDERS,
    UnpairedData,
    UnpairedSet,
    collate_unpaired,
    find_domain,
)


def write(folder: Path, count: int, value: int) -> None:
    folder.mkdir(parents=True)
    for i in range(count):
        image = np.full((40, 60, 3), value + i, np.uint8)
        image[:, :30] = value + i + 20
        cv2.imwrite(str(folder / f"{i}.png"), image)


@pytest.mark.parametrize(
    ("bright", "dark", "kept_out"),
    [
        ("our485/high", "our485/low", "eval15"),
        ("high", "low", None),
        ("Real_captured/Train/Normal", "Real_captured/Train/Low", "Real_captured/Test"),
        ("normal", "low", None),
    ],
)
def test_layouts_of_lol(tmp_path: Path, bright: str, dark: str, kept_out: str | None) -> None:
    write(tmp_path / bright, 3, 150)
    write(tmp_path / dark, 2, 5)
    if kept_out:
        write(tmp_path / kept_out / Path(bright).name, 2, 150)
        write(tmp_path / kept_out / Path(dark).name, 2, 5)
    assert {path.parent for path in find_domain(tmp_path, BRIGHT_FOLDERS)} == {tmp_path / bright}
    assert [path.parent for path in find_domain(tmp_path, DARK_FOLDERS)] == [tmp_path / dark] * 2


def test_sets_and_plain_folders(tmp_path: Path) -> None:
    write(tmp_path / "set" / "images", 2, 150)
    write(tmp_path / "set" / "masks", 2, 150)
    write(tmp_path / "plain" / "deep", 3, 5)
    assert len(find_domain(tmp_path / "set", BRIGHT_FOLDERS)) == 2
    assert len(find_domain(tmp_path / "plain", DARK_FOLDERS)) == 3
    with pytest.raises(DataError, match="expected a folder of pictures"):
        find_domain(tmp_path / "nothing", DARK_FOLDERS)


@pytest.fixture
def pictures(tmp_path: Path) -> UnpairedData:
    write(tmp_path / "day", 5, 150)
    write(tmp_path / "night", 3, 5)
    write(tmp_path / "dusk", 3, 90)
    return UnpairedData((tmp_path / "day",), (tmp_path / "night", tmp_path / "dusk"), 40.0, load=40, crop=32)


def test_an_epoch_sees_every_bright_picture_once(pictures: UnpairedData) -> None:
    samples = UnpairedSet(pictures, seed=0)
    assert len(samples) == 5
    assert len(samples.dark) == 3
    for epoch in range(2):
        values = [int(samples[epoch * 5 + i]["bright"].min()) for i in range(5)]
        assert sorted(values) == [150, 151, 152, 153, 154]


def test_position_and_seed_decide(pictures: UnpairedData) -> None:
    first, again, other = UnpairedSet(pictures, 0)[7], UnpairedSet(pictures, 0)[7], UnpairedSet(pictures, 1)
    assert all(np.array_equal(first[k], again[k]) for k in ("bright", "dark"))
    assert any(not np.array_equal(UnpairedSet(pictures, 0)[i]["dark"], other[i]["dark"]) for i in range(7))
    assert first["dark"].shape == (3, 32, 32)
    assert first["dark"].max() < 40


def test_batches_are_between_minus_one_and_one(pictures: UnpairedData) -> None:
    samples = UnpairedSet(pictures, 0)
    batch = collate_unpaired([samples[0], samples[1]])
    assert batch["bright"].shape == (2, 3, 32, 32)
    assert batch["dark"].max() < -0.6 < 0.1 < batch["bright"].min() < 1


def test_nothing_dark_enough(pictures: UnpairedData) -> None:
    with pytest.raises(DataError, match="below a mean luminance of 1"):
        UnpairedSet(UnpairedData(pictures.bright, pictures.dark, 1.0), 0)
    with pytest.raises(ValueError, match="crop"):
        UnpairedData(pictures.bright, pictures.dark, crop=30)
