"""The realism report: KID is unbiased, its error honest, and luminance that of the pictures."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from workshop import narrow_sam

from vns_sam.errors import DataError
from vns_sam.evaluation.realism import compare, gather, kernel_distance, to_json, to_markdown


def draw(seed: int, count: int, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, 1, (count, 8))


def test_distance_is_that_of_the_definition() -> None:
    a, b = draw(0, 4), draw(1, 4, 1.0)

    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        return float((x @ y / 8 + 1) ** 3)

    pairs = [(i, j) for i in range(4) for j in range(4) if i != j]
    within = sum(kernel(x[i], x[j]) for x in (a, b) for i, j in pairs) / 12
    across = np.mean([kernel(x, y) for x in a for y in b])
    found = kernel_distance(a, b)[0]
    assert found == pytest.approx(within - 2 * across, abs=0.25)  # over random halves


def test_distance_of_two_draws_of_one_kind_is_zero_within_its_error() -> None:
    found = [kernel_distance(draw(2 * k, 30), draw(2 * k + 1, 30)) for k in range(40)]
    distances = np.array([distance for distance, _ in found])
    errors = np.array([error for _, error in found])
    assert abs(distances.mean()) < 3 * distances.std() / np.sqrt(40)  # unbiased: a biased one is above zero
    assert 0.5 < errors.mean() / distances.std() < 2  # the error is what repeated draws show


def test_farther_is_larger_and_seeded() -> None:
    real = draw(0, 40)
    near, far = (kernel_distance(draw(1, 40, shift), real)[0] for shift in (0.3, 0.9))
    assert 0 < near < far
    assert kernel_distance(draw(1, 40), real, seed=1) == kernel_distance(draw(1, 40), real, seed=1)
    with pytest.raises(DataError, match="found 3 and 40"):
        kernel_distance(real[:3], real)


def write(folder: Path, level: float, count: int = 6) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(int(level))
    for i in range(count):
        image = np.clip(rng.normal(level + i, level / 4, (40, 50, 3)), 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"{i}.png"), image)
    return folder


def test_report(tmp_path: Path) -> None:
    model = narrow_sam()
    folders = {name: write(tmp_path / name, level) for name, level in (("day", 130), ("dark", 12), ("real", 14))}
    (folders["dark"] / "bad.png").write_bytes(b"")
    told = []
    sets = {
        name: gather(name, folder, model, below=17 if name == "real" else 256, progress=lambda *a: told.append(a))
        for name, folder in folders.items()
    }
    rows = compare(sets["real"], [sets["day"], sets["dark"]])
    assert [row.name for row in rows] == ["day", "dark", "real"]
    assert rows[0].mean == pytest.approx(132.5, abs=1)
    assert rows[0].sd == pytest.approx(21.8, rel=0.05)  # 130 / 4, reduced by mixing three channels
    assert rows[0].kid > rows[1].kid  # type: ignore[operator]
    assert rows[2].kid is None
    assert rows[2].left_out == 2
    assert "bad.png" in sets["dark"].broken[0]
    assert told[-1] == (6, 6)
    table = to_markdown(rows)
    assert "| real | 4 of 6 | " in table
    assert to_json(rows)["rows"][0]["name"] == "day"


def test_too_few_dark_pictures(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="below a luminance of 3 in"):
        gather("real", write(tmp_path / "real", 14), narrow_sam(), below=3)


def test_a_limit_spreads_over_the_names(tmp_path: Path) -> None:
    found = gather("day", write(tmp_path / "day", 100, 8), narrow_sam(), limit=4)
    assert [round(light.mean) for light in found.luminance] == [100, 102, 104, 106]


def test_the_limit_counts_pictures_that_are_dark_enough(tmp_path: Path) -> None:
    night = write(tmp_path / "night", 20, count=5)
    for i in range(5):
        cv2.imwrite(str(night / f"bright{i}.png"), np.full((40, 50, 3), 200, np.uint8))
    found = gather("night", night, narrow_sam(), below=100, limit=4)
    assert len(found.features) == len(found.luminance) == 4
    assert found.left_out == 5
