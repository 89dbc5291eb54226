"""What chooses a checkpoint: pixels that are neither object nor background count neither as found nor as missed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from torch import nn
from workshop import write_disks

from vns_sam.data.pairs import Pair, find_pairs
from vns_sam.dis.mattes import Matte
from vns_sam.errors import DataError
from vns_sam.training.dis_settings import Dis
from vns_sam.training.samples.refinement import RefinementSet, RefinementValidator
from vns_sam.training.samples.settings import SetData
from vns_sam.training.samples.weak import segment_iou
from vns_sam.training.settings import Validation
from vns_sam.training.validation import Validator, box_iou


def square(low: int, high: int) -> np.ndarray:
    mask = np.zeros((48, 64), bool)
    mask[low:high, low:high] = True
    return mask


FOUND = square(7, 33)
"""An object of 20 x 20 pixels with its rim of 3 pixels."""


class FillsTheRim(nn.Module):
    """Finds the object with its rim, whatever it is asked."""

    def encode(self, images: Any) -> None:
        """Nothing."""

    def decode(self, *asked: Any) -> FillsTheRim:
        """Itself."""
        self.boxes = asked[1][0].boxes if len(asked) > 1 else None
        return self

    def logits(self, row: int) -> np.ndarray:
        """(H, W)."""
        return np.where(FOUND, 1.0, -1.0)

    def refine(self, image: np.ndarray, mask: np.ndarray, box: np.ndarray) -> Matte:
        """The alpha of it, at the size of the mask."""
        self.boxes = box
        found = cv2.resize(FOUND.astype(np.float32), mask.shape[::-1], interpolation=cv2.INTER_AREA)
        return Matte(found, 0.5)


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    """A picture whose mask has the rim as object, and whose ignored pixels are the rim."""
    root = tmp_path / "data" / "rims"
    kinds = {"images": np.zeros((48, 64, 3), np.uint8), "masks": FOUND, "masks_ignore": FOUND & ~square(10, 30)}
    for name, values in kinds.items():
        (root / name).mkdir(parents=True)
        cv2.imwrite(str(root / name / "a.png"), values.astype(np.uint8) * 255)
    (root / "val.txt").write_text("a\n")
    return find_pairs(root)[0]


@pytest.mark.parametrize("masked", ["with its rim", "without"])
def test_an_ignored_rim_counts_neither_way(pair: Pair, masked: str) -> None:
    if masked == "without":
        cv2.imwrite(str(pair.mask), square(10, 30).astype(np.uint8) * 255)
    model: Any = FillsTheRim()
    assert box_iou(model, pair) == 1.0
    assert model.boxes.tolist() == [[10, 10, 29, 29]]
    assert segment_iou(model, pair) == 1.0


@pytest.mark.parametrize("side", [64, 32])
def test_refined_masks_are_judged_likewise(pair: Pair, side: int) -> None:
    root = pair.image.parents[2]
    data = SetData(root=root, sets={"rims": 1}, sizes=(32,), cache_side=side)
    (pair.image.parents[1] / "val.txt").unlink()
    samples = RefinementSet(data, Dis(), None, None, length=1, step_size=1, seed=0)
    scores = RefinementValidator(samples, {"rims": [pair]}, limit=1)(FillsTheRim())
    assert scores == {"rims": 1.0, "mean": 1.0}


def test_objects_without_a_pixel_that_counts_are_passed_over(pair: Pair) -> None:
    root = pair.image.parents[1]
    (root / "masks_instance").mkdir()
    ids = square(10, 30) + 2 * (FOUND & ~square(10, 30))
    cv2.imwrite(str(root / "masks_instance" / "a.png"), ids.astype(np.uint8))
    assert box_iou(FillsTheRim(), find_pairs(root)[0]) == 1.0  # type: ignore[arg-type]
    cv2.imwrite(str(root / "masks_ignore" / "a.png"), FOUND.astype(np.uint8) * 255)
    data = SetData(root=root.parent, sets={"rims": 1}, sizes=(32,))
    assert Validator(data, Validation())(FillsTheRim()) == {}  # type: ignore[arg-type]


def test_masks_are_read_of_no_more_pictures_than_are_scored(tmp_path: Path) -> None:
    root = write_disks(tmp_path / "disks", 9)
    (root / "val.txt").write_text("".join(f"{i:03d}\n" for i in range(8)))
    cv2.imwrite(str(root / "masks" / "000.png"), np.zeros((48, 64), np.uint8))
    (root / "masks" / "004.png").write_bytes(b"damaged")
    data = SetData(root=tmp_path, sets={"disks": 1}, sizes=(32,))
    assert [pair.stem for pair in Validator(data, Validation(limit=3)).pairs["disks"]] == ["001", "002", "003"]
    with pytest.raises(DataError, match=r"004\.png"):
        Validator(data, Validation(limit=4))


def test_ignored_pixels_of_another_size_are_told_before_training(pair: Pair) -> None:
    assert pair.ignore is not None
    cv2.imwrite(str(pair.ignore), np.zeros((8, 8), np.uint8))
    data = SetData(root=pair.image.parents[2], sets={"rims": 1}, sizes=(32,))
    with pytest.raises(DataError, match="expected the size of its mask, 64 x 48"):
        Validator(data, Validation())
