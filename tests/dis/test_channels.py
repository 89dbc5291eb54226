"""The five channels: as the release's loader and demo make them, and at the limits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from vns_sam.dis.channels import box_channel, colour_channels, mask_channel, reduced, released_sample
from vns_sam.dis.isnet import IsNet
from vns_sam.dis.mattes import stretch, threshold, to_picture
from vns_sam.errors import DataError


@pytest.fixture(scope="module")
def recorded(fixtures_dir: Path) -> dict[str, torch.Tensor]:
    return load_file(fixtures_dir / "dis" / "preproc" / "fixture_preproc.safetensors")


def read(fixtures_dir: Path, name: str) -> np.ndarray:
    with Image.open(fixtures_dir / "dis" / "preproc" / f"{name}.png") as image:
        return np.asarray(image.convert("RGB" if name.endswith("im") else "L"))


@pytest.mark.parametrize("sample", ["s0", "s1"])
def test_training_samples_equal_the_release(sample: str, recorded: dict[str, torch.Tensor], fixtures_dir: Path) -> None:
    pictures = [read(fixtures_dir, f"{sample}_{name}") for name in ("im", "gt", "mask")]
    channels, label = released_sample(*pictures, size=96)
    torch.testing.assert_close(channels, recorded[f"{sample}_image5"], rtol=0, atol=1e-6)
    torch.testing.assert_close(label, recorded[f"{sample}_label"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("sample", ["s0", "s1"])
def test_inference_equals_the_release(
    sample: str, recorded: dict[str, torch.Tensor], fixtures_dir: Path, isnet: IsNet
) -> None:
    image, mask = read(fixtures_dir, f"{sample}_im"), read(fixtures_dir, f"{sample}_mask") > 0
    box = recorded[f"demo_{sample}_box_xyxy"].numpy()
    height, width = mask.shape
    drawn = box_channel(box, height, width, 128)
    channels = torch.cat([colour_channels(image, 128), mask_channel(mask, 128), drawn])[None]
    torch.testing.assert_close(channels, recorded[f"demo_{sample}_x"], rtol=0, atol=1e-6)
    with torch.no_grad():
        probability = isnet.mask_logits(channels).sigmoid()
    torch.testing.assert_close(probability, recorded[f"demo_{sample}_d1"], rtol=0, atol=1e-5)
    alpha = stretch(to_picture(probability, height, width))
    np.testing.assert_allclose(alpha, recorded[f"demo_{sample}_minmax"].numpy(), atol=1e-4)
    found, expected = alpha > threshold(alpha, "otsu"), recorded[f"demo_{sample}_otsu"].numpy() > 0
    assert (found != expected).mean() < 1e-3


def test_a_training_sample_by_hand() -> None:
    """Without resizing: colours from -0.5 to 0.5, the mask and the box from 0 to 1, the label soft."""
    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    truth, mask = np.zeros((2, 4, 4), np.uint8)
    truth[1:, 2:] = [[255, 51], [255, 255], [255, 255]]
    mask[0, 0] = 102
    channels, label = (made.numpy() for made in released_sample(image, truth, mask, 4))
    np.testing.assert_allclose(channels[:3], image.transpose(2, 0, 1) / 255 - 0.5, atol=1e-6)
    np.testing.assert_allclose(channels[3], mask / 255, atol=1e-6)
    np.testing.assert_allclose(label[0], truth / 255, atol=1e-6)
    box = np.zeros((4, 4))
    box[1:3, 2] = 1  # without the object's last row and column,
    box[2:, 2:] = 1  # but for what is fully the object's
    np.testing.assert_array_equal(channels[4], box)


def test_an_empty_truth_makes_no_sample() -> None:
    nothing = np.zeros((8, 8), np.uint8)
    with pytest.raises(DataError, match="expected an object"):
        released_sample(np.zeros((8, 8, 3), np.uint8), nothing, nothing, 16)


@pytest.mark.parametrize("box", [(3, 5, 4, 6), (0, 0, 1, 1), (999, 699, 1000, 700), (500.4, 300.2, 500.6, 300.9)])
def test_a_box_of_one_pixel_is_still_seen(box: tuple[float, ...]) -> None:
    channel = box_channel(np.array(box), 700, 1000, 64)
    assert channel.sum() == 1
    row, column = torch.nonzero(channel[0])[0].tolist()
    assert (row, column) == (int((box[1] + box[3]) / 2 * 64 / 700), int((box[0] + box[2]) / 2 * 64 / 1000))


def test_a_box_beside_the_picture_is_its_last_pixel() -> None:
    channel = box_channel(np.array([1005, 720, 1006, 721]), 700, 1000, 64)[0]
    assert torch.nonzero(channel).tolist() == [[63, 63]]


def test_a_box_is_drawn_half_open() -> None:
    channel = box_channel(np.array([2, 1, 5, 3]), 8, 8, 8)[0]
    assert torch.nonzero(channel.any(1))[:, 0].tolist() == [1, 2]
    assert torch.nonzero(channel.any(0))[:, 0].tolist() == [2, 3, 4]


def test_a_box_reaches_the_borders_and_no_further() -> None:
    for box, pixels in (((0, 0, 2, 2), [0, 1]), ((6, 6, 8, 8), [6, 7]), ((7, 7, 8, 8), [7])):
        channel = box_channel(np.array(box), 8, 8, 8)[0]
        assert torch.nonzero(channel.any(0))[:, 0].tolist() == torch.nonzero(channel.any(1))[:, 0].tolist() == pixels


def test_a_box_below_the_picture_keeps_its_width() -> None:
    channel = box_channel(np.array([0, 9, 8, 10]), 8, 8, 8)[0]
    assert torch.nonzero(channel.any(1))[:, 0].tolist() == [7]
    assert channel[7].all()


def test_a_shrunk_pixel_that_is_half_in_a_box_is_inside() -> None:
    assert box_channel(np.array([1, 0, 4, 4]), 4, 4, 2).all()


def test_ranges() -> None:
    image = np.random.default_rng(0).integers(0, 256, (30, 50, 3), dtype=np.uint8)
    colours = colour_channels(image, 20, antialias=True)
    assert colours.shape == (3, 20, 20)
    assert colours.abs().max() <= 0.5
    assert set(mask_channel(np.ones((30, 50), bool), 20).unique().tolist()) == {1.0}


def test_large_pictures_are_reduced() -> None:
    assert reduced(np.zeros((10, 5000, 3), np.uint8)).shape == (8, 4096, 3)
    assert reduced(np.zeros((1, 9000), np.uint8)).shape == (1, 4096)
    assert reduced(np.zeros((9000, 1), np.uint8)).shape == (4096, 1)
    small = np.zeros((10, 4096), np.uint8)
    assert reduced(small) is small


def test_stretch_leaves_a_constant_map() -> None:
    assert stretch(np.full((2, 2), 0.3, np.float32)).tolist() == [[np.float32(0.3)] * 2] * 2
    assert stretch(np.array([[0.2, 0.6]], np.float32)).tolist() == [[0, 1]]
