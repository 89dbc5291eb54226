"""Files of masks that hold ids: colours, gray values, and palettes with a void."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from vns_sam.errors import DataError
from vns_sam.formats.png import read_instances, read_mask, read_masks

IDS = np.zeros((12, 30), np.uint8)
for _id, _column in enumerate((1, 11, 21), 1):
    IDS[2:9, _column : _column + 7] = _id
FIRST, SECOND, THIRD = ((number == IDS) for number in (1, 2, 3))


def save(path: Path, values: np.ndarray, **options: int) -> Path:
    Image.fromarray(values).save(path, **options)
    return path


def painted(*colours: tuple[int, ...]) -> np.ndarray:
    """Each id in a colour, the background first."""
    return np.array(colours, np.uint8)[IDS]


def check_objects(path: Path, *expected: np.ndarray) -> None:
    """The three ways to read a file of ids agree."""
    for read in (read_masks, read_instances):
        np.testing.assert_array_equal(read(path), expected)
    np.testing.assert_array_equal(read_mask(path), np.any(expected, axis=0))


def test_each_colour_is_an_object(tmp_path: Path) -> None:
    voc = painted((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0))
    check_objects(save(tmp_path / "voc.png", voc), FIRST, SECOND, THIRD)
    check_objects(save(tmp_path / "one.png", painted(*[(0, 0, 0)] * 3, (61, 61, 245))), THIRD)
    opaque = np.dstack([voc, np.full_like(IDS, 255)])
    check_objects(save(tmp_path / "rgba.png", opaque), FIRST, SECOND, THIRD)
    seen = np.dstack([voc, np.where(IDS == 2, 255, 0).astype(np.uint8)])
    np.testing.assert_array_equal(read_masks(save(tmp_path / "alpha.png", seen)), [SECOND])


def test_a_soft_rim_in_one_colour_is_no_object(tmp_path: Path) -> None:
    ramp = np.concatenate([np.zeros(4), np.linspace(0, 1, 14), np.ones(12)])
    green = np.rint(np.multiply.outer(np.tile(ramp, (12, 1)), (30, 220, 0))).astype(np.uint8)
    check_objects(save(tmp_path / "green.png", green), green[..., 1] > 110)


@pytest.mark.parametrize("times", [2, 4])
def test_smooth_rims_of_several_colours_are_no_objects(tmp_path: Path, times: int) -> None:
    y, x = np.mgrid[: 100 * times, : 200 * times] / times
    scene = np.zeros((*y.shape, 3), np.uint8)
    first, second = np.hypot(x - 50, y - 50) < 40, np.hypot(x - 150, y - 50) < 30
    scene[first], scene[second] = (255, 0, 0), (0, 200, 40)
    smooth = np.asarray(Image.fromarray(scene).resize((200, 100), Image.Resampling.BOX))
    found = read_masks(save(tmp_path / "smooth.png", smooth))
    assert [mask.sum() for mask in found] == pytest.approx([first.sum() / times**2, second.sum() / times**2], rel=0.02)


def test_a_thin_object_in_a_darker_shade_is_one(tmp_path: Path) -> None:
    scene = np.zeros((60, 60, 3), np.uint8)
    scene[10:30, 10:30], scene[40, 5:50] = (128, 0, 0), (64, 0, 0)
    assert sorted(mask.sum() for mask in read_masks(save(tmp_path / "thin.png", scene))) == [45, 400]


def test_colours_of_photographs_and_jpeg_are_no_ids(tmp_path: Path) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (12, 30, 3)).astype(np.uint8)
    lossy = painted((0, 0, 0), (200, 0, 0), (0, 200, 0), (200, 200, 0))
    for path in (save(tmp_path / "photo.png", photo), save(tmp_path / "mask.jpg", lossy, quality=95)):
        with pytest.raises(DataError, match="found other colours"):
            read_instances(path)
        first = np.asarray(Image.open(path))[..., 0] > 127
        np.testing.assert_array_equal(read_masks(path), [first])
        np.testing.assert_array_equal(read_mask(path), first)


def test_flat_grays_that_count_are_ids(tmp_path: Path) -> None:
    check_objects(save(tmp_path / "few.png", IDS), FIRST, SECOND, THIRD)
    many = np.kron(np.arange(1, 151, dtype=np.uint8).reshape(10, 15), np.pad(np.ones((5, 5), np.uint8), 1))
    check_objects(save(tmp_path / "many.png", many), *(many == number for number in range(1, 151)))
    check_objects(save(tmp_path / "rgb.png", np.dstack([IDS] * 3)), FIRST, SECOND, THIRD)


def test_white_beside_gray_ids_is_void(tmp_path: Path) -> None:
    ringed = np.where(IDS == 3, 0, IDS)
    ringed[0] = 255
    check_objects(save(tmp_path / "mask.png", ringed), FIRST, SECOND)


def test_grays_without_flat_ids_are_levels(tmp_path: Path) -> None:
    square = np.zeros((400, 400), np.float32)
    square[80:320, 90:310] = 1
    soft = {f"soft{sigma}": (cv2.GaussianBlur(square, (0, 0), sigma) * 254.99).astype(np.uint8) for sigma in (3, 20)}
    speckled = (IDS > 0) * np.random.default_rng(0).integers(1, 4, IDS.shape)
    gap = np.where(IDS == 3, 200, IDS)
    outweighed = np.where(IDS == 1, IDS, 255)
    for name, values in {**soft, "speckled": speckled, "gap": gap, "outweighed": outweighed}.items():
        path = save(tmp_path / f"{name}.png", values.astype(np.uint8))
        np.testing.assert_array_equal(read_mask(path), values > 127, err_msg=name)


@pytest.mark.parametrize(
    ("colours", "void"),
    [
        ({1: (128, 0, 0), 2: (0, 128, 0)}, True),
        ({1: (9, 0, 0), 255: (224, 224, 192)}, True),
        ({1: (9, 0, 0), 255: (224, 224, 0)}, False),
    ],
    ids=["VOC's first colour", "VOC's last colour", "another"],
)
def test_the_void_of_a_palette_is_no_object(tmp_path: Path, colours: dict[int, tuple[int, ...]], void: bool) -> None:
    indices = np.where(IDS == 3, 255, IDS)
    image = Image.fromarray(indices)
    image.putpalette([level for index in range(256) for level in colours.get(index, (0, 0, 0))])
    image.save(tmp_path / "mask.png")
    check_objects(tmp_path / "mask.png", *([FIRST, SECOND] if void else [FIRST, SECOND, THIRD]))


def test_a_palette_of_0_and_255_holds_an_object(tmp_path: Path) -> None:
    image = Image.fromarray(np.where(IDS == 2, 255, 0).astype(np.uint8))
    image.putpalette([level for index in range(256) for level in {1: (128, 0, 0)}.get(index, (0, 0, 0))])
    image.save(tmp_path / "mask.png")
    check_objects(tmp_path / "mask.png", SECOND)


def test_the_void_of_a_painted_mask_is_no_object(tmp_path: Path) -> None:
    path = save(tmp_path / "voc.png", painted((0, 0, 0), (128, 0, 0), (0, 128, 0), (224, 224, 192)))
    check_objects(path, FIRST, SECOND)
