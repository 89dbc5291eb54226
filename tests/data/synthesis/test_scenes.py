"""Scenes: masks stay exact through every change, and only the generator decides."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from vns_sam.data.synthesis.scenes import MEAN_COLOUR, Scene, camouflage, paste, patchwork, recolour, view

SEEDS = range(12)
GREEN, RED = (60, 120, 60), (200, 40, 40)


def disk(centre: tuple[int, int], radius: int, height: int = 80, width: int = 100) -> np.ndarray:
    mask = np.zeros((height, width), np.uint8)
    cv2.circle(mask, centre, radius, 1, -1)
    return mask.astype(bool)


def black_and_white(*masks: np.ndarray) -> Scene:
    """White objects on black; the picture says what the masks must be."""
    image = np.any(masks, axis=0).astype(np.uint8) * 255
    return Scene(np.repeat(image[..., None], 3, axis=2), np.stack(masks))


def textured(mask: np.ndarray, seed: int = 0) -> Scene:
    """A red object on green, both noisy."""
    image = np.where(mask[..., None], RED, GREEN) + np.random.default_rng(seed).normal(0, 12, (*mask.shape, 3))
    return Scene(np.clip(image, 0, 255).astype(np.uint8), mask[None])


@pytest.mark.parametrize("seed", SEEDS)
def test_mask_of_a_view_is_what_the_picture_shows(seed: int) -> None:
    scene = view(black_and_white(disk((45, 40), 20)), 0, 64, np.random.default_rng(seed))
    assert scene.image.shape == (64, 64, 3)
    assert scene.masks.shape == (1, 64, 64)
    assert np.array_equal(scene.image[..., 0] > 127, scene.masks[0])


@pytest.mark.parametrize("side", [32, 64, 160])
def test_view_keeps_its_target_in_sight(side: int) -> None:
    scene = black_and_white(disk((50, 40), 30), disk((94, 6), 5))
    seen = [view(scene, 1, side, np.random.default_rng(seed)).masks for seed in range(40)]
    assert all(masks[1].any() for masks in seen)
    assert len({masks.tobytes() for masks in seen}) > 30


def test_views_flip_half_the_time() -> None:
    scene = black_and_white(disk((25, 40), 10), disk((75, 40), 10))
    middles = [
        [np.nonzero(mask)[1].mean() for mask in masks]
        for masks in (view(scene, 0, 64, np.random.default_rng(seed)).masks for seed in range(60))
        if masks.any(axis=(1, 2)).all()
    ]
    flipped = np.mean([left > right for left, right in middles])
    assert 0.3 < flipped < 0.7


def test_beyond_the_picture_a_view_has_the_mean_colour() -> None:
    rng = np.random.default_rng(0)
    shown = [view(black_and_white(disk((50, 5), 4, 10)), 0, 64, rng).image.reshape(-1, 3) for _ in range(10)]
    assert all((pixels == MEAN_COLOUR).all(axis=1).mean() > 0.3 for pixels in shown)


@pytest.mark.parametrize(
    "change",
    [
        lambda scene, rng: view(scene, 0, 48, rng).image,
        lambda scene, rng: paste(scene, scene, 0, rng).image,
        lambda scene, rng: camouflage(scene, 0, rng).image,
        lambda scene, rng: patchwork(scene, 0, scene, rng).image,
        lambda scene, rng: recolour(scene.image, rng),
    ],
    ids=["view", "paste", "camouflage", "patchwork", "recolour"],
)
def test_the_generator_decides_alone_and_the_input_stays(
    change: Callable[[Scene, np.random.Generator], np.ndarray],
) -> None:
    scene = textured(disk((40, 40), 18))
    before = scene.image.copy(), scene.masks.copy()
    first, again, other = (change(scene, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first.dtype == np.uint8
    assert np.array_equal(scene.image, before[0])
    assert np.array_equal(scene.masks, before[1])


@pytest.mark.parametrize("seed", SEEDS)
def test_pasted_object_comes_first_and_covers_what_lies_under_it(seed: int) -> None:
    scene = Scene(np.zeros((80, 100, 3), np.uint8), np.stack([disk((20, 20), 9), disk((80, 60), 9)]))
    pasted = paste(scene, black_and_white(disk((50, 40), 20)), 0, np.random.default_rng(seed))
    white = pasted.image[..., 0] > 127
    assert np.count_nonzero(white ^ pasted.masks[0]) <= 0.08 * white.sum()  # its rim is softened
    assert not (pasted.masks[0] & pasted.masks[1:]).any()
    for mask in pasted.masks[1:]:
        assert any(np.array_equal(mask, whole & ~pasted.masks[0]) for whole in scene.masks)


def test_hidden_objects_are_left_out() -> None:
    scene = Scene(np.zeros((80, 100, 3), np.uint8), disk((50, 40), 3)[None])
    donor = black_and_white(disk((50, 40), 30))
    counts = set()
    for seed in range(60):
        pasted = paste(scene, donor, 0, np.random.default_rng(seed))
        visible = (scene.masks[0] & ~pasted.masks[0]).sum() / scene.masks[0].sum()
        assert len(pasted.masks) == (2 if visible > 0.5 else 1)
        counts.add(len(pasted.masks))
    assert counts == {1, 2}


def test_what_is_too_small_to_see_is_not_pasted() -> None:
    scene = textured(disk((40, 40), 18))
    tiny = black_and_white(disk((50, 40), 1))
    assert paste(scene, tiny, 0, np.random.default_rng(0)) is scene


@pytest.mark.parametrize("seed", SEEDS)
def test_camouflage_takes_the_colours_of_the_background(seed: int) -> None:
    scene = textured(disk((40, 40), 18))
    hidden = camouflage(scene, 0, np.random.default_rng(seed))
    assert np.array_equal(hidden.masks, scene.masks)
    core = cv2.erode(scene.masks[0].astype(np.uint8), np.ones((7, 7), np.uint8)).astype(bool)
    far = ~cv2.dilate(scene.masks[0].astype(np.uint8), np.ones((15, 15), np.uint8)).astype(bool)
    assert np.array_equal(hidden.image[far], scene.image[far])

    def contrast(image: np.ndarray) -> float:
        return float(np.linalg.norm(image[core].mean(axis=0) - image[far].mean(axis=0)))

    assert contrast(hidden.image) < 0.5 * contrast(scene.image)
    assert hidden.image[core].std(axis=0).min() > 4  # texture, not a flat fill


def test_recolouring_stays_near_the_picture() -> None:
    scene = textured(disk((40, 40), 18))
    looks = [recolour(scene.image, np.random.default_rng(seed)) for seed in range(80)]
    assert all(look.shape == scene.image.shape for look in looks)
    means = np.array([look.mean() for look in looks])
    assert means.std() > 5
    assert np.all(np.abs(means - scene.image.mean()) < 90)


@pytest.mark.parametrize("seed", SEEDS)
def test_patchwork_changes_an_object_piece_by_piece_and_nothing_else(seed: int) -> None:
    scene, mask = textured(disk((50, 40), 30)), disk((50, 40), 30)
    made = patchwork(scene, 0, textured(mask, seed=1), np.random.default_rng(seed))
    assert np.array_equal(made.masks, scene.masks)
    far = cv2.erode((~mask).astype(np.uint8), np.ones((9, 9), np.uint8)).astype(bool)
    assert np.array_equal(made.image[far], scene.image[far])
    moved = np.abs(made.image.astype(int) - scene.image).max(axis=2)
    assert (moved[mask] > 8).mean() > 0.3


def test_pieces_of_a_patchwork_have_colours_of_their_own() -> None:
    flat = Scene(np.full((80, 100, 3), 120, np.uint8), disk((50, 40), 30)[None])
    spread = []
    for seed in range(20):
        made = patchwork(flat, 0, flat, np.random.default_rng(seed))
        spread.append(made.image[flat.masks[0]].std(axis=0).max())
    assert np.median(spread) > 10
