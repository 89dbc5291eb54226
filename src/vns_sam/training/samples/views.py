"""Views of a picture with what is known of it: its sparse label, its pseudo-label and the weights move along."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from vns_sam.data.synthesis.scenes import MEAN_COLOUR
from vns_sam.prompts.codes import BACKGROUND, OBJECT, UNLABELLED

ZOOM = (0.8, 1.8)
"""Side of the picture in a view relative to the view's."""
STRETCH = 0.15
"""Largest natural logarithm of how much a view is stretched across, and shrunk down, or the reverse."""
TURNED, TURN = 0.2, 15.0
"""Share of the views that are turned, and by how many degrees at most."""


@dataclass(frozen=True)
class WeakPicture:
    """A picture and what is known of it.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        codes: (H, W) uint8, the sparse label: 0 unlabelled, 1 object, 2 background.
        target: (H, W) uint8, the pseudo-label or true mask times 255.
        weight: (H, W) uint8, how much each pixel of the target counts, times 255.
        keep: Whether the target counts at all.
    """

    image: np.ndarray
    codes: np.ndarray
    target: np.ndarray
    weight: np.ndarray
    keep: bool

    @property
    def nbytes(self) -> int:
        """Bytes of all maps."""
        return self.image.nbytes + self.codes.nbytes + self.target.nbytes + self.weight.nbytes

    def reduced(self, longest: int) -> WeakPicture:
        """The picture with its longer side no longer than so many pixels."""
        height, width = self.codes.shape
        scale = min(1.0, longest / max(height, width))
        if scale == 1:
            return self
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        image, target, weight = (cv2.resize(m, size, interpolation=cv2.INTER_AREA) for m in self._dense())
        matrix = _between_centres(np.diag([size[0] / width, size[1] / height, 1.0]))
        return WeakPicture(image, move_codes(self.codes, matrix, size), target, weight, self.keep)

    def view(self, matrix: np.ndarray, side: int) -> WeakPicture:
        """A square view. Beyond the picture it has the mean colour, no mark, target 0 and weight 0. So the terms of the
        loss that follow marks and weights leave it out; those that take no weight do not, see
        :func:`vns_sam.ws.losses.undecided_loss` and ``WsLossConfig.bce``.

        Args:
            matrix: (2, 3) from pixels of the picture to pixels of the view, such as :func:`draw_view`'s.
            side: Side of the view in pixels.
        """
        size = (side, side)
        image, target, weight = (
            cv2.warpAffine(m, matrix, size, flags=cv2.INTER_LINEAR, borderValue=MEAN_COLOUR if m.ndim == 3 else 0)
            for m in self._dense()
        )
        return WeakPicture(image, move_codes(self.codes, matrix, size), target, weight, self.keep)

    def _dense(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The maps that may be interpolated."""
        return self.image, self.target, self.weight


def draw_view(height: int, width: int, side: int, rng: np.random.Generator) -> np.ndarray:
    """A view of a picture (H, W): mirrored half of the time, zoomed, stretched and now and then turned.

    A view that is not zoomed shows the picture squashed to the square, as the segmenter sees it.

    Returns:
        (2, 3) float64 from pixels of the picture to pixels of the view.
    """
    zoom = float(np.exp(rng.uniform(*np.log(ZOOM))))
    stretch = float(np.exp(rng.uniform(-STRETCH, STRETCH)))
    shown_height, shown_width = height / zoom * stretch, width / zoom / stretch
    top, left = (height - shown_height) * rng.random(), (width - shown_width) * rng.random()
    middle = (left + shown_width / 2, top + shown_height / 2)
    angle = rng.uniform(-TURN, TURN) if rng.random() < TURNED else 0.0
    turn = np.vstack([cv2.getRotationMatrix2D(middle, angle, 1.0), [0, 0, 1]])
    across, down = side / shown_width, side / shown_height
    crop = np.array([[across, 0, -left * across], [0, down, -top * down], [0, 0, 1]])
    mirror = np.array([[-1.0, 0, side], [0, 1, 0], [0, 0, 1]]) if rng.random() < 0.5 else np.eye(3)
    return _between_centres(mirror @ crop @ turn)


def move_codes(codes: np.ndarray, matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Moves a label map without interpolation.

    Each pixel takes the code of the nearest one. A mark that would be lost between the pixels, such as a single point
    in a smaller view, is put into the pixel that it falls into.

    Args:
        codes: (H, W) uint8 in {0, 1, 2}.
        matrix: (2, 3), see :meth:`WeakPicture.view`.
        size: Width and height of the result.
    """
    moved = cv2.warpAffine(codes, matrix, size, flags=cv2.INTER_NEAREST, borderValue=UNLABELLED)
    ys, xs = np.nonzero(codes)
    places = np.rint(matrix @ np.stack([xs, ys, np.ones_like(xs)])).astype(int)
    inside = ((places >= 0) & (places < np.array(size)[:, None])).all(axis=0)
    hit = np.zeros((BACKGROUND + 1, size[1], size[0]), bool)
    hit[codes[ys, xs][inside], places[1, inside], places[0, inside]] = True
    free = (moved == UNLABELLED) & (hit[OBJECT] != hit[BACKGROUND])
    moved[free] = np.where(hit[OBJECT], OBJECT, BACKGROUND)[free]
    result: np.ndarray = moved
    return result


def _between_centres(matrix: np.ndarray) -> np.ndarray:
    """A map (3, 3) of places, where pixel 0 reaches from 0 to 1, as a map (2, 3) of pixels by their middles."""
    moved = matrix.copy()
    moved[:2, 2] += 0.5 * (matrix[:2, 0] + matrix[:2, 1]) - 0.5
    return moved[:2]
