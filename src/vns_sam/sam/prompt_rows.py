"""Prompts row by row in model pixels, whoever decodes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from vns_sam.errors import PromptError
from vns_sam.images.geometry import boxes_to_model, points_to_model
from vns_sam.types import PADDING_LABEL, Geometry, ImageFeatures, Prompts

CELLS_AT_ONCE = 2**13
"""Grid cells of the prompts that a CPU decodes at once: their maps of 256 channels, 8 MiB, stay in its caches."""


@dataclass(frozen=True)
class PromptRow:
    """What is asked about one object.

    Attributes:
        number: Its place among all rows.
        image: The picture.
        box: (4,) float32 XYXY in model pixels, or None.
        points: (N, 2) float32 XY in model pixels, or None; points that are not there are left out.
        labels: (N,) 1 object, 0 background.
        mask: (H, W) in [0, 1] in the picture's own pixels, or None.
    """

    number: int
    image: int
    box: np.ndarray | None = None
    points: np.ndarray | None = None
    labels: np.ndarray | None = None
    mask: np.ndarray | None = None

    @property
    def kind(self) -> tuple[bool, int, bool]:
        """Whether there is a box, how many points, whether there is a mask: rows of one kind fit into one batch."""
        return self.box is not None, 0 if self.points is None else len(self.points), self.mask is not None


def prompt_rows(
    prompts: Sequence[Prompts], image_index: Sequence[int], geometry: Sequence[Geometry]
) -> Iterator[PromptRow]:
    """Numbers prompts through and maps them to model pixels.

    Args:
        prompts: One entry for each (image, kind).
        image_index: The image of each entry.
        geometry: One for each image.

    Raises:
        PromptError: A row holds nothing, an index names no image, or there is no row at all.
    """
    number = 0
    for given, image in zip(prompts, image_index, strict=True):
        check_index([image], len(geometry))
        boxes = None if given.boxes is None else boxes_to_model(given.boxes, geometry[image])
        points = None if given.points is None else points_to_model(given.points, geometry[image])
        for row in range(len(given)):
            kept = kept_labels = None
            if points is not None and given.labels is not None:
                labels = np.asarray(given.labels[row])
                there = labels != PADDING_LABEL
                if there.any():
                    kept, kept_labels = points[row, there], labels[there]
            if boxes is None and given.masks is None and kept is None:
                raise PromptError(f"prompt {number} holds no point, box or mask", hint="leave the row out")
            box = None if boxes is None else boxes[row]
            mask = None if given.masks is None else given.masks[row]
            yield PromptRow(number, image, box, kept, kept_labels, mask)
            number += 1
    if not number:
        raise PromptError("no prompt given", hint="give a box, points or a mask")


def row_geometry(
    features: ImageFeatures, prompts: Sequence[Prompts], image_index: Sequence[int]
) -> tuple[Geometry, ...]:
    """How the picture of each row of prompts was fitted."""
    pairs = zip(prompts, image_index, strict=True)
    return tuple(features.geometry[image] for given, image in pairs for _ in range(len(given)))


def check_index(image_index: Sequence[int], images: int) -> None:
    """Judges which pictures are asked about.

    Raises:
        PromptError: An index names none of the pictures.
    """
    for image in image_index:
        if not 0 <= image < images:
            raise PromptError(f"image index must be 0 to {images - 1}, got {image}")
