from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from vns_sam.data.doctor.alike import alike


def noise(seed: int) -> np.ndarray:
    small = np.random.default_rng(seed).integers(0, 255, (12, 16, 3), dtype=np.uint8)
    return cv2.resize(small, (128, 96), interpolation=cv2.INTER_CUBIC)


def write(folder: Path, *pictures: np.ndarray) -> list[Path]:
    paths = []
    for i, picture in enumerate(pictures):
        paths.append(folder / f"{i}.png")
        cv2.imwrite(str(paths[-1]), picture)
    return paths


def test_copies_near_copies_and_mirrored_ones_are_one_group(tmp_path: Path) -> None:
    first, other, third = noise(0), noise(1), noise(2)
    brighter = np.clip(first.astype(int) + 6, 0, 255).astype(np.uint8)
    paths = write(tmp_path, first, other, brighter, other[:, ::-1], third, third)
    assert alike(paths) == [[0, 2], [1, 3], [4, 5]]


def test_flat_pictures_are_alike_only_if_they_are_the_same(tmp_path: Path) -> None:
    paths = write(tmp_path, *(np.full((20, 30, 3), value, np.uint8) for value in (10, 200, 10)))
    assert alike(paths) == [[0, 2], [1]]


def test_a_chain_is_one_group_and_progress_is_told(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    base = noise(5)
    paths = write(tmp_path, base, base[:, ::-1], base[::-1])
    assert alike(paths, lambda *step: told.append(step)) == [[0, 1, 2]]
    assert told == [("compare", i, 3) for i in (1, 2, 3)]
