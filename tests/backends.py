"""A model that has the protocol and nothing else: no network, no torch, as an ONNX session or a server will be."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vns_sam.images.geometry import fit, resize_image
from vns_sam.sam.answers import MapAnswers
from vns_sam.types import ImageFeatures, ModelInfo, PromptKind, Prompts

SIDE = 64
ALL: frozenset[PromptKind] = frozenset({"box", "point", "mask"})


class Backend:
    """Finds what is brighter than its threshold in the box, or in all of the picture where there is none.

    Args:
        threshold: The only weight.
        prompts: The kinds it takes.
    """

    def __init__(self, threshold: float = 110, prompts: frozenset[PromptKind] = ALL) -> None:
        self.threshold = threshold
        self.encoded: list[tuple[int, ...]] = []
        self.info = ModelInfo(
            "backend",
            f"threshold-{threshold}",
            prompts,
            SIDE,
            candidates=2 if prompts else 1,
            look_again="crops" if prompts else "never",
        )

    def encode(self, images: Sequence[np.ndarray]) -> ImageFeatures:
        """Keeps the green channel of each picture in its square."""
        self.encoded += [image.shape for image in images]
        geometry = tuple(fit(*image.shape[:2], SIDE) for image in images)
        squares = np.zeros((len(images), 1, SIDE, SIDE), np.float32)
        for square, image, one in zip(squares, images, geometry, strict=True):
            square[0, : one.fitted_height, : one.fitted_width] = resize_image(image, one)[..., 1]
        return ImageFeatures(squares, (), geometry, owner=self.info.digest)

    def decode(
        self,
        features: ImageFeatures,
        prompts: Sequence[Prompts] = (),
        image_index: Sequence[int] = (),
        *,
        candidates: bool = False,
        look_again: bool = False,
    ) -> MapAnswers:
        """Logits +5 and -5; the second candidate is everything in the box, with a better score."""
        features.check_owner(self.info)
        found, boxes, geometry = [], [], []
        for image, box in self._rows(features, prompts, image_index):
            inside = np.zeros((SIDE, SIDE), bool)
            x0, y0, x1, y1 = box.round().astype(int)
            inside[y0:y1, x0:x1] = True
            found.append(np.where(inside & (features.embedding[image, 0] > self.threshold), 5, -5))
            boxes.append(np.where(inside, 5, -5))
            geometry.append(features.geometry[image])
        masks = np.array(found, np.float32)[:, None]
        scores = np.full(len(found), 0.75, np.float32)
        if not candidates:
            return MapAnswers(masks, scores, tuple(geometry))
        offered = np.stack([masks[:, 0], np.array(boxes, np.float32)], axis=1)
        return MapAnswers(
            masks, scores, tuple(geometry), None, offered, np.tile(np.float32([0.5, 0.9]), (len(found), 1))
        )

    def _rows(
        self, features: ImageFeatures, prompts: Sequence[Prompts], image_index: Sequence[int]
    ) -> Sequence[tuple[int, np.ndarray]]:
        """Picture and box of each row, the whole square where it has no box."""
        whole = np.array([0, 0, SIDE, SIDE])
        if not self.info.prompts:
            return [(image, whole) for image in image_index or range(len(features))]
        rows = []
        for given, image in zip(prompts, image_index, strict=True):
            scale = np.array(features.geometry[image].scale_xy * 2)
            rows += [(image, whole if given.boxes is None else given.boxes[k] * scale) for k in range(len(given))]
        return rows
