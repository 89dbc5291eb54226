"""The camera model: true sRGB, the noise it promises, the darkness of the paper, and nothing but name and seed."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from vns_sam.lowlight.camera import CameraDarkener, Shot, blend, draw_shot, take, to_linear
from vns_sam.lowlight.darkener import generator_for
from vns_sam.lowlight.luminance import PAPER_DARKNESS, Luminance, measure, pooled

CLEAN = Shot(stops=0.0, red=1.0, blue=1.0, shot_noise=0.0, read_noise=0.0, bits=14, quality=90)


def scene(seed: int, brightness: float = 1.0, side: int = 64) -> np.ndarray:
    """Smooth colours with some texture."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8)).resize((side, side))
    values = np.asarray(coarse) * brightness + rng.normal(0, 6, (side, side, 3))
    return np.clip(values, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(("value", "light"), [(0, 0.0), (10, 0.0030353), (128, 0.2158605), (255, 1.0)])
def test_transfer_function_is_that_of_srgb(value: int, light: float) -> None:
    assert to_linear(np.array([value], np.uint8))[0] == pytest.approx(light, rel=1e-4)


def test_a_shot_without_change_gives_the_picture_back() -> None:
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    assert np.abs(take(ramp, CLEAN, np.random.default_rng(0)).astype(int) - ramp).max() <= 1


def test_stops_and_tint_act_on_light() -> None:
    grey = np.full((4, 4, 3), 200, np.uint8)
    shot = Shot(stops=-2.0, red=1.2, blue=0.8, shot_noise=0.0, read_noise=0.0, bits=14, quality=90)
    found = to_linear(take(grey, shot, np.random.default_rng(0)))[0, 0] / to_linear(grey)[0, 0]
    assert found == pytest.approx([0.3, 0.25, 0.2], rel=0.03)


@pytest.mark.parametrize("value", [60, 120, 220])
def test_noise_has_the_variance_of_shot_and_read_noise(value: int) -> None:
    shot = Shot(stops=0.0, red=1.0, blue=1.0, shot_noise=4e-4, read_noise=2e-3, bits=14, quality=90)
    grey = np.full((200, 200, 3), value, np.uint8)
    light = to_linear(grey)[0, 0, 0]
    slope = (light - to_linear(np.array([value - 1], np.uint8))[0]) * 1.0  # light of one 8 bit step
    found = take(grey, shot, np.random.default_rng(0)).astype(float).std() * slope
    assert found == pytest.approx(np.sqrt(4e-4 * light + 4e-6), rel=0.08)


def test_few_bits_leave_few_values() -> None:
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    dark = [take(ramp, Shot(-5.0, 1, 1, 0, 0, bits, 90), np.random.default_rng(0)) for bits in (10, 14)]
    assert len(np.unique(dark[0])) < 0.8 * len(np.unique(dark[1]))


def test_strength_one_has_the_darkness_of_the_paper() -> None:
    darkener = CameraDarkener()
    for brightness in (0.5, 1.0):
        means = [measure(darkener(scene(k, brightness, 32), f"{k}").image).mean for k in range(120)]
        assert np.mean(means) == pytest.approx(PAPER_DARKNESS, rel=0.09)
        assert np.std(means) > 1.5


def test_the_expected_luminance_counts_the_noise() -> None:
    image = scene(0)
    for seed in range(8):
        rng = np.random.default_rng(seed)
        shot = draw_shot(image, rng)
        target = PAPER_DARKNESS * 2 ** (np.random.default_rng(seed).normal(0, 0.4) - 0.16 * np.log(2) / 2)
        assert measure(take(image, shot, rng)).mean == pytest.approx(target, rel=0.06)


def test_strength_is_a_share_of_the_stops() -> None:
    image = scene(0)
    half, full = (draw_shot(image, np.random.default_rng(3), strength) for strength in (0.5, 1.0))
    assert half.stops == pytest.approx(full.stops / 2)
    assert full.stops < -3
    faint = CameraDarkener(strength=0.0)(image, "x").image
    assert np.abs(faint.astype(int) - image).max() <= 2


def test_a_picture_that_is_dark_already_is_not_made_brighter() -> None:
    assert draw_shot(np.full((20, 20, 3), 2, np.uint8), np.random.default_rng(0)).stops == 0


def test_name_and_seed_decide() -> None:
    image = scene(0)
    first, again = (CameraDarkener(seed=1)(image, "a") for _ in range(2))
    assert np.array_equal(first.image, again.image)
    assert first.parameters == again.parameters
    for other in (CameraDarkener(seed=1)(image, "b"), CameraDarkener(seed=2)(image, "a")):
        assert other.parameters["stops"] != first.parameters["stops"]
    assert generator_for(0, "frog").integers(1 << 30) == 977150418


def test_large_pictures_are_exposed_in_strips_that_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    image = scene(0)
    whole = CameraDarkener()(image, "a").image
    monkeypatch.setattr("vns_sam.lowlight.camera.STRIP", 7 * 64 + 3)
    assert np.array_equal(CameraDarkener()(image, "a").image, whole)


def test_the_file_is_the_jpeg_that_was_drawn() -> None:
    dark = CameraDarkener()(scene(0), "a")
    file = Image.open(io.BytesIO(dark.encode()))
    assert file.format == "JPEG"
    assert 70 <= dark.parameters["quality"] <= 95
    assert measure(np.asarray(file)).mean == pytest.approx(measure(dark.image).mean, abs=1)


def test_blending_goes_through_the_stops() -> None:
    bright, dark = np.full((2, 2, 3), 200, np.uint8), np.full((2, 2, 3), 20, np.uint8)
    middle = to_linear(blend(bright, dark, 0.5))
    assert middle**2 == pytest.approx(to_linear(bright) * to_linear(dark), rel=0.05)
    assert np.abs(blend(bright, dark, 0.0).astype(int) - bright).max() <= 1
    assert np.abs(blend(bright, dark, 1.0).astype(int) - dark).max() <= 1


def test_luminance_of_many_is_that_of_all_their_pixels() -> None:
    images = [scene(k) for k in range(3)]
    together = measure(np.concatenate(images))
    found = pooled([measure(image) for image in images])
    assert (found.mean, found.sd) == pytest.approx((together.mean, together.sd))
    assert pooled([Luminance(3.0, 0.0)]) == Luminance(3.0, 0.0)
