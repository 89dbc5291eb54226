"""IoU and boundary IoU: equal to the authors' code, right by hand, defined everywhere."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from safetensors.torch import load_file
from scipy.ndimage import binary_erosion

from vns_sam.errors import DataError
from vns_sam.metrics.iou import boundary, boundary_iou, iou

MASKS = arrays(bool, (11, 17), elements=st.booleans())
EMPTY = np.zeros((50, 50), bool)
BLOCK = np.pad(np.ones((20, 20), bool), 15)


def test_scores_equal_the_authors(fixtures_dir: Path) -> None:
    reference = load_file(fixtures_dir / "vns" / "aux.safetensors")
    gts = reference["metric.gt"][:, 0].numpy() > 128
    maps = F.interpolate(reference["metric.logits"], gts.shape[1:], mode="bilinear", align_corners=False)
    for i, (pred, gt) in enumerate(zip(maps[:, 0].numpy() > 0, gts, strict=True)):
        assert iou(pred, gt) == pytest.approx(float(reference["metric.iou"][i]), abs=1e-6)
        assert boundary_iou(pred, gt) == pytest.approx(float(reference["metric.biou"][i]), abs=1e-6)


def test_shifted_block_by_hand() -> None:
    shifted = np.roll(BLOCK, 5, axis=1)
    assert iou(BLOCK, shifted) == pytest.approx(15 * 20 / (25 * 20))
    # The diagonal of 50 x 50 is 70.7, so the rim is 1 pixel: 76 pixels each, 2 x 15 of them shared.
    assert boundary_iou(BLOCK, shifted) == pytest.approx(30 / (2 * 76 - 30))


@pytest.mark.parametrize("score", [iou, boundary_iou])
@pytest.mark.parametrize(
    ("pred", "gt", "expected"),
    [
        (EMPTY, EMPTY, 1.0),
        (EMPTY, BLOCK, 0.0),
        (BLOCK, EMPTY, 0.0),
        (BLOCK, BLOCK, 1.0),
        (~EMPTY, ~EMPTY, 1.0),
    ],
    ids=["both-empty", "empty-pred", "empty-gt", "same", "full"],
)
def test_empty_masks_have_a_score(score, pred: np.ndarray, gt: np.ndarray, expected: float) -> None:  # type: ignore[no-untyped-def]
    assert score(pred, gt) == expected


@pytest.mark.parametrize(("side", "width"), [(20, 1), (100, 3), (200, 6)])
def test_boundary_width_follows_the_diagonal(side: int, width: int) -> None:
    rim = boundary(np.ones((side, side), bool))
    assert rim.sum() == side**2 - (side - 2 * width) ** 2


@settings(max_examples=60, deadline=None)
@given(pred=MASKS, gt=MASKS, ratio=st.floats(0.001, 0.5))
def test_scores_are_symmetric_and_in_range(pred: np.ndarray, gt: np.ndarray, ratio: float) -> None:
    for score in (iou(pred, gt), boundary_iou(pred, gt, ratio)):
        assert 0 <= score <= 1
    assert boundary_iou(pred, gt, ratio) == boundary_iou(gt, pred, ratio)
    assert boundary_iou(pred, pred, ratio) == 1


@settings(max_examples=40, deadline=None)
@given(mask=MASKS, ratio=st.floats(0.001, 0.3))
def test_boundary_equals_repeated_erosion(mask: np.ndarray, ratio: float) -> None:
    width = max(1, round(ratio * np.hypot(11, 17)))
    inner = binary_erosion(mask, np.ones((3, 3), bool), iterations=width, border_value=0)
    assert np.array_equal(boundary(mask, ratio), mask & ~inner)


@pytest.mark.parametrize("size", [(61, 300), (500, 700)])
def test_boundary_equals_a_distance_transform(size: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).random((6, 8)).astype(np.float32)
    mask = cv2.resize(noise, size[::-1], interpolation=cv2.INTER_CUBIC) > 0.5
    distance = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_C, 3)[1:-1, 1:-1]
    assert np.array_equal(boundary(mask), mask & (distance <= round(0.02 * np.hypot(*size))))


@pytest.mark.parametrize("score", [iou, boundary_iou])
def test_masks_that_cannot_be_compared_are_refused(score) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(DataError, match="one size"):
        score(BLOCK, BLOCK[:-1])
    with pytest.raises(DataError, match="must be bool"):
        score(BLOCK.astype(np.uint8), BLOCK)
