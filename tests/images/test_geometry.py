from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vns_sam.errors import UsageError
from vns_sam.images.geometry import (
    boxes_to_model,
    fit,
    maps_to_original,
    masks_to_model,
    points_to_model,
    resize_image,
    resize_maps,
    stretch,
)
from vns_sam.types import Geometry

lengths = st.integers(1, 700)


@settings(deadline=None, max_examples=60)
@given(
    height=lengths,
    width=lengths,
    side=st.sampled_from([64, 512, 1024]),
    where=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_points_and_boxes_come_back(height: int, width: int, side: int, where: tuple[float, float]) -> None:
    geometry = fit(height, width, side)
    point = np.array([[[where[0] * width, where[1] * height]]], np.float32)
    model = points_to_model(point, geometry)
    assert (model >= 0).all()
    assert model[0, 0, 0] <= geometry.fitted_width + 1e-3
    assert model[0, 0, 1] <= geometry.fitted_height + 1e-3
    np.testing.assert_allclose(model / geometry.scale_xy, point, atol=1e-3, rtol=1e-5)
    box = np.concatenate([point[0], point[0]], axis=1)
    np.testing.assert_array_equal(boxes_to_model(box, geometry)[0], np.tile(model[0, 0], 2))


@settings(deadline=None, max_examples=30)
@given(height=lengths, width=lengths)
def test_sizes_come_back(height: int, width: int) -> None:
    geometry = fit(height, width, 64)
    assert max(geometry.fitted_height, geometry.fitted_width) == 64
    assert min(geometry.fitted_height, geometry.fitted_width) >= 1
    image = np.zeros((height, width, 3), np.uint8)
    assert resize_image(image, geometry).shape == (geometry.fitted_height, geometry.fitted_width, 3)
    assert masks_to_model(torch.ones(2, height, width), geometry, (16, 16)).shape == (2, 1, 16, 16)
    assert maps_to_original(torch.zeros(2, 1, 16, 16), geometry).shape == (2, height, width)


@pytest.mark.parametrize(
    ("height", "width", "wanted"),
    [(320, 480, (352, 512)), (480, 321, (512, 352)), (400, 400, (512, 512)), (90, 700, (96, 512)), (1, 900, (32, 512))],
)
def test_a_tight_input_ends_at_the_next_multiple(height: int, width: int, wanted: tuple[int, int]) -> None:
    tight, square = fit(height, width, 512, 32), fit(height, width, 512)
    assert (tight.input, square.input) == (wanted, (512, 512))
    assert tight.scale_xy == square.scale_xy


@pytest.mark.parametrize("array", [True, False])
def test_a_mask_comes_back_from_a_tight_input(array: bool) -> None:
    geometry = fit(90, 160, 256, 32)
    mask = np.zeros((1, 90, 160), np.float32)
    mask[0, 20:70, 30:120] = 1
    given = masks_to_model(mask if array else torch.from_numpy(mask), geometry, (80, 128))
    assert given.shape == (1, 1, 80, 128)
    back = np.asarray(maps_to_original(given, geometry))[0] > 0.5
    assert (back == (mask[0] > 0)).mean() > 0.99


def test_places_are_packed_and_those_of_earlier_versions_refused() -> None:
    places = (fit(30, 64, 64), fit(30, 64, 64, 16))
    packed = Geometry.pack(places)
    assert packed.tolist() == [[30, 64, 30, 64, 64, 64], [30, 64, 30, 64, 32, 64]]
    assert Geometry.unpack(packed) == places
    assert Geometry.unpack(Geometry.pack(())) == ()
    with pytest.raises(UsageError, match="six numbers"):
        Geometry.unpack(packed[:, :5])


@pytest.mark.parametrize("array", [True, False])
def test_a_line_keeps_one_pixel(array: bool) -> None:
    for height, width in ((1, 3000), (3000, 1)):
        geometry = fit(height, width, 64)
        assert (geometry.fitted_height, geometry.fitted_width) == (min(height, 64), min(width, 64))
        mask = np.ones((1, height, width), np.float32)
        square = np.asarray(masks_to_model(mask if array else torch.from_numpy(mask), geometry, (16, 16)))[0, 0]
        assert np.argwhere(square > 0).max(axis=0).tolist() == [min(height, 16) - 1, min(width, 16) - 1]


def test_a_mask_survives_the_way_there_and_back() -> None:
    mask = torch.zeros(1, 90, 160)
    mask[0, 20:70, 30:120] = 1
    geometry = fit(90, 160, 256)
    back = maps_to_original(masks_to_model(mask, geometry, (256, 256)) - 0.5, geometry) > 0
    assert (back[0] == (mask[0] > 0)).float().mean() > 0.995


def test_arrays_and_tensors_are_mapped_alike() -> None:
    rng = np.random.default_rng(0)
    geometry = fit(90, 140, 64)
    maps = rng.normal(size=(3, 1, 16, 16)).astype(np.float32)
    found = maps_to_original(maps, geometry)
    assert found.shape == (3, 90, 140)
    np.testing.assert_allclose(found, maps_to_original(torch.from_numpy(maps), geometry).numpy(), atol=1e-4)
    small = maps_to_original(maps, geometry, (20, 50))
    np.testing.assert_allclose(small, maps_to_original(torch.from_numpy(maps), geometry, (20, 50)).numpy(), atol=1e-4)
    masks = rng.random((2, 90, 140)).astype(np.float32)
    given = masks_to_model(masks, geometry, (16, 16))
    assert given.shape == (2, 1, 16, 16)
    np.testing.assert_allclose(given, masks_to_model(torch.from_numpy(masks), geometry, (16, 16)).numpy(), atol=1e-4)


@pytest.mark.parametrize("given", [(420, 3), (3, 420), (420, 1)])
@pytest.mark.parametrize("size", [(128, 1), (1, 128), (1, 1), (128, 2)])
def test_a_narrow_mask_is_smoothed_alike(given: tuple[int, int], size: tuple[int, int]) -> None:
    maps = np.random.default_rng(0).random((2, 1, *given)).astype(np.float32)
    found = resize_maps(maps, size, antialias=True)
    np.testing.assert_allclose(found, resize_maps(torch.from_numpy(maps), size, antialias=True).numpy(), atol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(30, 64), (64, 64), (64, 30), (90, 64), (64, 90)])
def test_a_picture_of_the_right_size_stays_and_another_does_not(height: int, width: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    geometry = fit(height, width, 64)
    fitted = resize_image(image, geometry)
    assert fitted.shape == (geometry.fitted_height, geometry.fitted_width, 3)
    assert (fitted is image) == (max(height, width) == 64)
    tall = stretch(height, width, 64)
    assert resize_image(image, tall).shape == (64, 64, 3)
    assert (resize_image(image, tall) is image) == ((height, width) == (64, 64))
