"""The VNS-score: how little an object stands out from what is around it (paper, equations 6 to 8).

A score is high where the object has its surroundings' colours and texture and no clear edges. The released code,
which gives what the paper's equations leave open, is followed to the number.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from vns_sam.errors import DataError

_WIDEST_RING = 15
_COLOUR_SCALE, _TEXTURE_SCALE = 100.0, 1000.0
_UNDEFINED = 0.5


@dataclass(frozen=True)
class VnsScore:
    """The score of one picture and its parts.

    Attributes:
        color: Distance of the mean Lab colours (8 bit) of object and ring, divided by 100; 0 or more.
        texture: Difference of the texture contrasts of object and ring, divided by 1000; 0 or more.
        contrast: C_fb, equation 6: the mean of the two.
        blur: B_blur, equation 7: 1 less the mean gradient along the object's edge, divided by 255; at most 1.
        score: Equation 8: (1 - contrast + blur) / 2; at most 1, below 0 for the starkest objects.
    """

    color: float
    texture: float
    contrast: float
    blur: float
    score: float


def vns_score(image: np.ndarray, mask: np.ndarray) -> VnsScore:
    """Scores one picture.

    A mask that is empty or fills the picture has nothing to be compared with: its colour, texture and blur are 0.5,
    and so is its score.

    Args:
        image: (H, W, 3) uint8 RGB.
        mask: The object, (H, W) bool.

    Raises:
        DataError: Sizes or types differ from the above, or there is no pixel.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise DataError(f"expected a picture (H, W, 3) uint8, found {image.shape} {image.dtype}")
    if mask.shape != image.shape[:2] or mask.dtype != bool:
        raise DataError(f"expected a mask {image.shape[:2]} bool, found {mask.shape} {mask.dtype}")
    if not mask.any() or mask.all():
        return VnsScore(_UNDEFINED, _UNDEFINED, _UNDEFINED, _UNDEFINED, _UNDEFINED)
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    ring = local_ring(mask)
    color = _colour_distance(image, mask, ring) / _COLOUR_SCALE
    texture = abs(texture_contrast(gray, mask) - texture_contrast(gray, ring)) / _TEXTURE_SCALE
    contrast = (color + texture) / 2
    blur = _edge_blur(gray, mask)
    return VnsScore(color, texture, contrast, blur, 0.5 * (1 - contrast) + 0.5 * blur)


def local_ring(mask: np.ndarray) -> np.ndarray:
    """The surroundings (H, W) bool that an object is compared with.

    The object is widened by an ellipse whose side is the distance from the picture's border to the box of the first
    outer contour, 1 to 15 pixels. Where this adds nothing, everything outside of the object is taken.

    Args:
        mask: (H, W) bool with object and background.
    """
    values = mask.astype(np.uint8)
    contours, _ = cv2.findContours(values, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    x, y, width, height = cv2.boundingRect(contours[0])
    room = min(x, y, mask.shape[1] - x - width, mask.shape[0] - y - height)
    side = max(1, min(_WIDEST_RING, room))
    wide = cv2.dilate(values, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))) > 0
    ring: np.ndarray = wide & ~mask
    return ring if ring.any() else ~mask


def texture_contrast(gray: np.ndarray, region: np.ndarray) -> float:
    """Contrast of the gray-level co-occurrences of neighbours in a row, everything outside of the region set to 0.

    Contrast is the sum over gray levels i, j of P(i, j) (i - j)^2, where P is how often i and j are neighbours. That
    is the mean of the squared differences of neighbours, so no matrix is needed.

    Args:
        gray: (H, W) uint8.
        region: (H, W) bool.

    Returns:
        The contrast, 0 to 255^2; 0 in a picture of one column.
    """
    if gray.shape[1] < 2:
        return 0.0
    values = np.where(region, gray, 0).astype(np.int32)
    steps = np.diff(values, axis=1)
    return float(np.square(steps).mean())


def _colour_distance(image: np.ndarray, mask: np.ndarray, ring: np.ndarray) -> float:
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
    inside, around = (np.array(cv2.mean(lab, region.astype(np.uint8)))[:3] for region in (mask, ring))
    return float(np.linalg.norm(inside - around))


def _edge_blur(gray: np.ndarray, mask: np.ndarray) -> float:
    """1 less the mean Sobel gradient, divided by 255, in the band of two pixels on both sides of the object's edge."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    values = mask.astype(np.uint8)
    band = cv2.dilate(values, kernel) > cv2.erode(values, kernel)
    across, down = (cv2.Sobel(gray, cv2.CV_64F, dx, 1 - dx, ksize=3) for dx in (1, 0))
    return 1 - float(np.hypot(across, down)[band].mean()) / 255
