"""What a DIS-SAM does around its IS-Net: the first stage's mask in, an alpha map at the picture's size out.

Who runs IS-Net, torch or a graph, is somebody else's business: see :meth:`Refining.look`.
"""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from vns_sam.dis.belief import is_believed
from vns_sam.dis.channels import LARGEST_SIDE, Wrap, box_channel, colour_channels, mask_channel, reduced
from vns_sam.dis.coarse import coarse_answers
from vns_sam.dis.config import DisSamConfig
from vns_sam.dis.mattes import Matte, MatteAnswers, stretch, threshold, to_picture
from vns_sam.dis.windows import Fusion, boundary_windows, surroundings, uncertainty
from vns_sam.errors import PromptError
from vns_sam.images.windows import Window, extent, whole
from vns_sam.sam.second_look import look_again as closer
from vns_sam.types import Geometry, ImageFeatures, ModelInfo, PromptableModel, Prompts, Size

if TYPE_CHECKING:
    from vns_sam.types.features import Map

MOST_WINDOWS = 16
"""Of a second look at one object."""
LEAST_GAIN = 1.25
"""A second look must enlarge the picture by this factor against the first, else it shows nothing new."""


class Refining(ABC):
    """Any promptable model, and what refines its masks; itself a promptable model.

    Attributes:
        config: What defines the second stage.
        first: The first stage.
    """

    config: DisSamConfig
    first: PromptableModel

    if TYPE_CHECKING:

        @property
        def info(self) -> ModelInfo:
            """What the model is, see :func:`refined_info`; whoever inherits has it."""

    @abstractmethod
    def look(self, image: np.ndarray, mask: np.ndarray, box: np.ndarray, window: Window) -> np.ndarray:
        """IS-Net's answer (h, w) float32 in [0, 1] for one window of a picture, see :func:`isnet_input`."""

    def encode(self, images: Sequence[np.ndarray]) -> ImageFeatures:
        """Encodes I pictures, each (H, W, 3) uint8 RGB, with the first stage, and keeps them for the second."""
        return replace(self.first.encode(images), pictures=tuple(images), owner=self.info)

    def decode(
        self,
        features: ImageFeatures,
        prompts: Sequence[Prompts] = (),
        image_index: Sequence[int] = (),
        *,
        candidates: bool = False,
        look_again: bool = False,
    ) -> MatteAnswers:
        """Decodes ``prompts[k]`` on image ``image_index[k]``, then refines each mask.

        With ``look_again`` IS-Net looks again, at windows of a finer scale along uncertain boundaries, or the first
        stage does, see ``DisSamConfig.second_look``; of a picture above 4096 pixels a side it does not.

        Returns:
            The refined answers, with the first stage's scores; candidates are refined when they are asked for.

        Raises:
            UsageError: Another model made the features.
            PromptError: As the first stage.
        """
        features.check_owner(self.info)
        if not features.pictures:
            raise PromptError("features without pictures cannot be refined", hint="use this model's own encode")
        features = replace(features, owner=self.first.info)
        coarse = coarse_answers(self.first, features, prompts, image_index, self.config.choice)
        windows = look_again and self.config.second_look == "windows"
        rows = [
            (features.pictures[image], _working_size(features.geometry[image], windows), given.single(row))
            for given, image in zip(prompts, image_index, strict=True)
            for row in range(len(given))
        ]

        def refine(row: int, logits: np.ndarray) -> Matte:
            boxes = rows[row][2].boxes
            return self.refine(rows[row][0], logits > 0, None if boxes is None else boxes[0], look_again=windows)

        def coarse_logits(row: int) -> np.ndarray:
            image, size, prompt = rows[row]
            logits = coarse.logits(row, size)
            if look_again and not windows and size == image.shape[:2]:
                logits = logits.copy()  # bettered in place
                closer(self.first, image, prompt, logits[None], coarse.scores[row : row + 1])
            return logits

        mattes = tuple(refine(row, coarse_logits(row)) for row in range(len(rows)))
        if not candidates:
            return MatteAnswers(mattes, coarse.scores)
        offered = self.first.decode(features, prompts, image_index, candidates=True)

        def refine_candidate(row: int, number: int) -> Matte:
            return refine(row, offered.candidate(row, number, rows[row][1]))

        return MatteAnswers(mattes, coarse.scores, offered, refine_candidate)

    def refine(
        self, image: np.ndarray, mask: np.ndarray, box: np.ndarray | None = None, *, look_again: bool = False
    ) -> Matte:
        """Refines one coarse mask.

        Args:
            image: (H, W, 3) uint8 RGB; above 4096 pixels a side it is worked on reduced, so that memory stays bounded,
                but for a second look.
            mask: (h, w) bool, at the picture's size or at that of its reduced form.
            box: X0 Y0 X1 Y1 in pixels of the picture; the mask's own when omitted.
            look_again: Whether IS-Net looks again, closer, along uncertain boundaries: of a larger picture at its own
                resolution, in tiles as large as those of a picture of 4096 pixels.

        Returns:
            Alpha at the picture's size; all 0 where there is neither mask nor box. With a box and an empty mask,
            IS-Net has the box alone to go by.

        Raises:
            PromptError: The mask has another size.
        """
        height, width = image.shape[:2]
        small = image if look_again else reduced(image)
        if mask.shape == (height, width) != small.shape[:2]:
            mask = reduced(mask.astype(np.uint8) * 255) > 127
        if mask.shape != small.shape[:2]:
            raise PromptError(
                f"expected a coarse mask of {width} x {height} pixels as its picture, found {mask.shape[::-1]}",
                hint="resize the mask to the picture",
            )
        scale = np.array([small.shape[1] / width, small.shape[0] / height] * 2, np.float32)
        place = extent(mask) if box is None else np.asarray(box, np.float32) * scale
        if place is None:
            return Matte(np.zeros((height, width), np.float32))
        window = whole(*mask.shape)
        if self.config.margin is not None:
            window = surroundings(_hull(place, extent(mask)), self.config.margin, *mask.shape)
        answer = self._refine_reduced(small, mask, place, window, look_again)
        alpha = stretch(answer.copy()) if self.config.stretch else answer  # the guard judges IS-Net's own
        denied = False
        if self.config.guard:
            seen = (small, mask, answer, alpha > threshold(alpha, self.config.cut))
            denied = not is_believed(*(each[window.index] for each in seen))
        if denied:
            alpha = mask.astype(np.float32)
        if alpha.shape != (height, width):
            alpha = to_picture(alpha[None, None], height, width)
        return Matte(alpha, 0.5 if denied else threshold(alpha, self.config.cut))

    def _refine_reduced(
        self, image: np.ndarray, mask: np.ndarray, box: np.ndarray, window: Window, look_again: bool
    ) -> np.ndarray:
        """Alpha (H, W) of a picture of bounded size, of which IS-Net sees a window first."""
        height, width = mask.shape
        alpha = np.zeros((height, width), np.float32)
        alpha[window.index] = self.look(image, mask, box, window)
        side = int(self.config.image_size / LEAST_GAIN)
        if not look_again or max(window.shape) <= side:
            return alpha
        found = alpha > threshold(alpha, self.config.cut)
        longest = max(window.shape)
        reach = max(8, round(0.03 * min(longest, LARGEST_SIDE)))
        side = max(side, min(longest, LARGEST_SIDE) // 4)
        region = _region(found | mask, reach) if max(height, width) > LARGEST_SIDE else whole(height, width)
        doubt = uncertainty(alpha[region.index], found[region.index], mask[region.index], reach)
        fusion = Fusion(alpha[region.index], doubt)
        for part in boundary_windows(doubt, side, MOST_WINDOWS * math.ceil(longest / LARGEST_SIDE) ** 2):
            fusion.add(part, self.look(image, found, box, _within(region, part)))
        alpha[region.index] = fusion.finish()
        return alpha


def isnet_input(
    config: DisSamConfig, image: np.ndarray, mask: np.ndarray, box: np.ndarray, window: Window, wrap: Wrap
) -> tuple[Map, Map, Map]:
    """What IS-Net sees of a window of a picture: colours (3, S, S), coarse mask and box, each (1, S, S).

    Args:
        config: Side S of the square, and which channels there are.
        image: (H, W, 3) uint8 RGB.
        mask: (H, W) bool, the coarse mask.
        box: X0 Y0 X1 Y1 in pixels of the picture.
        window: The part that is seen.
        wrap: Kind of the result.
    """
    size, smooth = config.image_size, config.antialias
    height, width = window.shape
    empty = wrap(np.zeros((1, size, size), np.float32))
    colours = colour_channels(image[window.index], size, antialias=smooth, wrap=wrap)
    coarse = mask_channel(mask[window.index], size, antialias=smooth, wrap=wrap) if config.mask_channel else empty
    drawn = box_channel(window.move(box), height, width, size, wrap=wrap) if config.box_channel else empty
    return colours, coarse, drawn


def refined_info(config: DisSamConfig, name: str, digest: Callable[[], str], first: ModelInfo) -> ModelInfo:
    """What a DIS-SAM is: as its first stage, but with alpha and without edges; it or its first stage looks again."""
    by_first: Literal["first", "never"] = "first" if first.look_again == "crops" else "never"
    return ModelInfo(
        name,
        digest,
        first.prompts,
        first.input_side,
        first.candidates,
        alpha=True,
        look_again=by_first if config.second_look == "first" else "itself",
        least_score=first.least_score,
        least_stability=first.least_stability,
    )


def joined_digest(first: ModelInfo, own: str) -> str:
    """The digest of two stages, of which ``own`` is the second's."""
    return hashlib.sha256(f"{first.digest} {own}".encode()).hexdigest()[:16]


def _hull(box: np.ndarray, other: np.ndarray | None) -> np.ndarray:
    if other is None:
        return box
    return np.concatenate([np.minimum(box[:2], other[:2]), np.maximum(box[2:], other[2:])])


def _region(found: np.ndarray, reach: int) -> Window:
    """The part of a picture that holds a mask (H, W) bool and what a second look may change around it."""
    box = extent(found)
    if box is None:
        return whole(*found.shape)
    return surroundings(box, 2 * reach / max(box[2] - box[0], box[3] - box[1], 16.0), *found.shape)


def _within(region: Window, part: Window) -> Window:
    """A window of a region as a window of the picture."""
    top, left = region.top, region.left
    return Window(top + part.top, top + part.bottom, left + part.left, left + part.right)


def _working_size(geometry: Geometry, look_again: bool) -> Size:
    """The size that a picture is worked on."""
    if look_again:
        return geometry.height, geometry.width
    scale = min(1.0, LARGEST_SIDE / max(geometry.height, geometry.width))
    return max(1, round(geometry.height * scale)), max(1, round(geometry.width * scale))
