"""Synthetic defects: the mask is where the picture changed, and only the generator decides."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from vns_sam.data.synthesis import defects
from vns_sam.data.synthesis.defects import SMALLEST, crack, scar
from vns_sam.data.synthesis.scenes import Scene


def picture(height: int = 96, width: int = 128) -> np.ndarray:
    return np.random.default_rng(0).integers(90, 160, (height, width, 3), dtype=np.uint8)


def drawn(image: np.ndarray, count: int = 60) -> list[Scene]:
    return [scene for seed in range(count) if (scene := scar(image, np.random.default_rng(seed)))]


def test_defects_are_one_object_of_useful_size_at_any_place() -> None:
    scenes = drawn(picture())
    assert len(scenes) > 30
    for scene in scenes:
        assert scene.image.shape == (96, 128, 3)
        assert scene.image.dtype == np.uint8
        assert scene.masks.shape == (1, 96, 128)
        assert SMALLEST <= scene.masks.sum() <= 0.6 * 96 * 128
    ever = np.any([scene.masks[0] for scene in scenes], axis=0)
    assert ever.mean() > 0.7


@pytest.mark.parametrize("draw", ["_blob", "_scratches", "_crack"])
def test_picture_changes_inside_the_mask_and_hardly_outside(draw: str, monkeypatch: pytest.MonkeyPatch) -> None:
    flat = np.full((96, 128, 3), 128, np.uint8)
    for name in ("_blob", "_scratches", "_crack"):
        monkeypatch.setattr(defects, name, getattr(defects, draw))
    scenes = drawn(flat, 30)
    assert len(scenes) > 5
    for scene in scenes:
        change = np.abs(scene.image.astype(int) - 128).mean(axis=2)
        assert change[scene.masks[0]].mean() > 4 * change[~scene.masks[0]].mean()


def test_same_generator_same_defect() -> None:
    first, second = (scar(picture(), np.random.default_rng(3)) for _ in range(2))
    assert first is not None
    assert second is not None
    assert np.array_equal(first.image, second.image)
    assert np.array_equal(first.masks, second.masks)


def test_cracks_are_fine_and_darker_or_lighter_than_the_ground() -> None:
    scenes = [scene for seed in range(40) if (scene := crack(picture(448, 448), np.random.default_rng(seed)))]
    assert len(scenes) > 20
    darker = 0
    for scene in scenes:
        mask = scene.masks[0]
        assert mask.mean() < 0.1
        away = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5)[mask].mean()
        assert 2 <= 4 * away <= 10
        inside, outside = scene.image[mask].mean(), scene.image[~mask].mean()
        assert abs(inside - outside) > 4
        darker += inside < outside
    assert 0.5 < darker / len(scenes) < 1
