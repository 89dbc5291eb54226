"""Whether a mask lies on its object: the outline of a good mask follows edges of the picture.

The picture and the mask are reduced to 128 pixels. Each has a field of edge directions (the double-angle form of
the structure tensor, so that a bright and a dark side count alike). Their correlation, for all shifts up to a quarter
of the picture, says how well the outline fits at each place, in standard deviations over all places. A mask
is suspected only where it fits badly as it lies and very well elsewhere; objects without visible edges never are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

SIDE = 128
"""Longer side, in pixels, at which masks are compared."""

FIT, GAIN, POOR = 5.0, 3.0, 2.5
"""In standard deviations: a suspected place has FIT, GAIN more than the mask as it lies, and that at most POOR."""

_REACH = 0.25  # largest shift, as a share of each side
_NEAR, _FAR = 4, 6  # pixels at SIDE: what still counts as in place, and what counts as elsewhere
_INSIDE = 0.7  # share of the outline that must stay in the picture
_SMOOTH, _LOCAL, _FLOOR, _FRAME = 1.0, 8.0, 4.0, 2
_SHORTEST_OUTLINE = 100.0
_DISTINCT_IOU = 0.7  # a flipped mask that covers more of the mask is no evidence
_SQUARE = 0.05

Way = Callable[[np.ndarray], np.ndarray]

_FLIPS: dict[str, Way] = {
    "mirrored left to right": lambda a: a[:, ::-1],
    "turned upside down": lambda a: a[::-1],
    "rotated by 180 degrees": lambda a: a[::-1, ::-1],
}
_TURNS: dict[str, Way] = {
    "transposed": lambda a: a.T,
    "rotated by 90 degrees": lambda a: np.rot90(a),
    "rotated by 270 degrees": lambda a: np.rot90(a, 3),
    "transposed along the other diagonal": lambda a: np.rot90(a.T, 2),
}


@dataclass(frozen=True)
class Misfit:
    """Why a mask seems not to lie on its object.

    Attributes:
        text: What would put it in place, for a reader.
        here: Fit of the mask as it lies, in standard deviations over all shifts.
        there: Fit of the better place.
    """

    text: str
    here: float
    there: float


def find_misfit(image: np.ndarray, mask: np.ndarray) -> Misfit | None:
    """Looks for a shift, flip or rotation that fits the picture much better than the mask as it lies.

    Args:
        image: (H, W, 3) uint8 RGB.
        mask: (H, W) bool.

    Returns:
        The best such place, or None where the mask is good or nothing can be said.
    """
    height, width = mask.shape
    scale = SIDE / max(height, width)
    size = max(8, round(width * scale)), max(8, round(height * scale))
    shape = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    outline = _outline(shape)
    if np.hypot(*outline).sum() < _SHORTEST_OUTLINE:
        return None
    field = _Field(cv2.resize(image, size, interpolation=cv2.INTER_AREA))
    fits = field.fits(outline, _REACH)
    mean, deviation = float(np.nanmean(fits)), float(np.nanstd(fits)) + 1e-6
    fits = (fits - mean) / deviation
    distance = _distances(fits.shape)
    here = float(np.nanmax(np.where(distance <= _NEAR, fits, np.nan)))
    if here > POOR:
        return None
    elsewhere = np.where((distance >= _FAR) & ~np.isnan(fits), fits, -np.inf)
    row, column = np.unravel_index(int(elsewhere.argmax()), fits.shape)
    right, down = (int(i) - n // 2 for i, n in zip((column, row), fits.shape[::-1], strict=True))
    shift = f"shifted: it fits {round(right / scale):+d} px to the right and {round(down / scale):+d} px down"
    places = [Misfit(shift, here, float(elsewhere.max()))]
    for text, moved in _flipped(shape):
        there = (float(np.nanmax(field.fits(_outline(moved), _NEAR / SIDE))) - mean) / deviation
        places.append(Misfit(f"{text}: so it fits", here, there))
    best = max(places, key=lambda place: place.there)
    return best if best.there >= FIT and best.there - here >= GAIN else None


def _flipped(shape: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """The mask flipped, and rotated where the picture is square, unless that changes little."""
    height, width = shape.shape
    ways = dict(_FLIPS)
    if abs(height - width) <= _SQUARE * max(height, width):
        ways |= _TURNS
    found = []
    for text, way in ways.items():
        moved = cv2.resize(np.ascontiguousarray(way(shape)), (width, height))
        inside, also = shape > 0.5, moved > 0.5
        if (inside & also).sum() < _DISTINCT_IOU * max((inside | also).sum(), 1) and moved.any():
            found.append((text, moved))
    return found


class _Field:
    """Edge directions of a picture, ready to be correlated with outlines."""

    def __init__(self, image: np.ndarray) -> None:
        directions = _directions(image)
        strength = np.hypot(*directions)
        directions = directions / (cv2.GaussianBlur(strength, (0, 0), _LOCAL) + _FLOOR)
        self.shape = strength.shape
        self.padded = (2 * strength.shape[0], 2 * strength.shape[1])
        self.spectra = [np.fft.rfft2(part, self.padded) for part in (*directions, np.ones_like(strength))]

    def fits(self, outline: np.ndarray, reach: float) -> np.ndarray:
        """Mean agreement along an outline (2, h, w) for shifts up to ``reach``; NaN where it leaves the picture."""
        weight = np.hypot(*outline)
        parts = [np.conj(np.fft.rfft2(part, self.padded)) for part in (*outline, weight)]
        u, v, one = self.spectra
        agreement = np.fft.irfft2(u * parts[0] + v * parts[1], self.padded)
        inside = np.fft.irfft2(one * parts[2], self.padded)
        rows, columns = (np.arange(-int(reach * n), int(reach * n) + 1) for n in self.shape)
        agreement, inside = (a[rows[:, None], columns[None]] for a in (agreement, inside))
        return np.where(inside > _INSIDE * weight.sum(), agreement / np.maximum(inside, 1e-3), np.nan)


def _outline(shape: np.ndarray) -> np.ndarray:
    """Edge directions (2, h, w) of a mask in [0, 1]; along the frame of the picture there are none."""
    outline = _directions(shape[..., None] * 255) / 255
    inner = np.zeros_like(outline)
    cut = (slice(None), slice(_FRAME, -_FRAME), slice(_FRAME, -_FRAME))
    inner[cut] = outline[cut]
    return inner


def _directions(image: np.ndarray) -> np.ndarray:
    """Double-angle edge directions (2, h, w) of (h, w, C), summed over channels; their length is the gradient's."""
    smooth = cv2.GaussianBlur(image.astype(np.float32), (0, 0), _SMOOTH).reshape(image.shape)
    across, down = cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    across, down = (part.reshape(image.shape) for part in (across, down))
    tensor = np.stack([(across**2 - down**2).sum(axis=-1), (2 * across * down).sum(axis=-1)])
    return np.asarray(tensor / np.sqrt(np.hypot(*tensor) + 1e-6), np.float32)


def _distances(shape: tuple[int, ...]) -> np.ndarray:
    """Distance in pixels of each shift of a map from no shift, its centre."""
    rows, columns = (np.arange(n) - n // 2 for n in shape)
    return np.hypot(rows[:, None], columns[None])
