"""Synthetic thin structures: exact, thin, visible, and a function of the seed."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from vns_sam.data.pairs import find_pairs, read_mask
from vns_sam.data.synthesis.thin import SHARE, _branch, _fence, _wheel, _wires, lay_thin, write_thin_set


def photo(seed: int, height: int = 120, width: int = 160) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 6)


def scenes(count: int = 24) -> list[tuple[np.ndarray, np.ndarray]]:
    made = [lay_thin(photo(k), photo(k + 99), np.random.default_rng(k)) for k in range(count)]
    return [(s.image, s.masks[0]) for s in made if s is not None]


def test_structures_are_thin_and_visible() -> None:
    found = scenes()
    assert len(found) > 12
    for image, mask in found:
        assert (image.shape, mask.shape, mask.dtype) == ((120, 160, 3), (120, 160), bool)
        assert SHARE[0] < mask.mean() < SHARE[1]
    widths = [2 * cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 3)[mask].mean() for _, mask in found]
    assert np.median(widths) < 6


def test_only_what_is_covered_or_shaded_changes() -> None:
    ground = photo(0)
    scene = next(s for k in range(40) if (s := lay_thin(ground, photo(1), np.random.default_rng(k))) is not None)
    near = cv2.dilate(scene.masks[0].astype(np.uint8), np.ones((41, 41))) > 0
    np.testing.assert_array_equal(scene.image[~near], ground[~near])


@pytest.mark.parametrize("draw", [_wheel, _fence, _branch, _wires])
def test_each_kind_draws_lines(draw: object) -> None:
    canvas = np.zeros((400, 400), np.uint8)
    draw(canvas, 4.0, np.random.default_rng(3))  # type: ignore[operator]
    assert set(np.unique(canvas)) == {0, 255}
    assert 0.005 < (canvas > 0).mean() < 0.5


def test_a_set_is_written_once_and_the_same_again(tmp_path: Path) -> None:
    source = tmp_path / "photo.png"
    cv2.imwrite(str(source), photo(5))
    folder = write_thin_set(tmp_path / "thin", [source], 3, side=128, seed=1)
    pairs = find_pairs(folder)
    assert [pair.stem for pair in pairs] == ["thin_00000", "thin_00001", "thin_00002"]
    first = [read_mask(pair.mask) for pair in pairs]
    assert all(mask.shape == (96, 128) and mask.any() for mask in first)
    pairs[1].mask.unlink()
    before = pairs[0].mask.stat().st_mtime_ns
    write_thin_set(tmp_path / "thin", [source], 3, side=128, seed=1)
    assert pairs[0].mask.stat().st_mtime_ns == before
    np.testing.assert_array_equal(read_mask(pairs[1].mask), first[1])
    write_thin_set(tmp_path / "thin", [source], 3, side=128, seed=2)
    assert not np.array_equal(read_mask(pairs[0].mask), first[0])


def test_pairs_beyond_the_count_do_not_outlive_what_they_were_made_of(tmp_path: Path) -> None:
    source = tmp_path / "photo.png"
    cv2.imwrite(str(source), photo(5))
    wanted = write_thin_set(tmp_path / "fresh", [source], 3, side=128, seed=2)
    folder = write_thin_set(tmp_path / "thin", [source], 3, side=128, seed=1)
    write_thin_set(folder, [source], 2, side=128, seed=1)
    assert len(find_pairs(folder)) == 3
    write_thin_set(folder, [source], 2, side=128, seed=2)
    assert [pair.stem for pair in find_pairs(folder)] == ["thin_00000", "thin_00001"]
    write_thin_set(folder, [source], 3, side=128, seed=2)
    for found, fresh in zip(find_pairs(folder), find_pairs(wanted), strict=True):
        np.testing.assert_array_equal(read_mask(found.mask), read_mask(fresh.mask))
