"""One picture, any number of questions: the picture is encoded once, each prompt is decoded on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from vns_sam.errors import UsageError
from vns_sam.images.geometry import maps_to_original
from vns_sam.images.read import ImageLike, read_image
from vns_sam.images.windows import extent
from vns_sam.inference.second_look import look_again, prepare_second_look
from vns_sam.prompts.validate import make_prompts, whole_picture
from vns_sam.types import Geometry, ImageFeatures, Matte, Prediction, PromptableModel, Prompts
from vns_sam.ws.model import WsSamModel

PIXELS_AT_ONCE = 1 << 24
"""Pixels of maps that are brought to full size together: 64 MiB of float32 for each step."""


class Predictor:
    """Masks from boxes, clicks and coarse masks, by any promptable model.

    >>> predictor = Predictor(load_model("vns-sam-tiny"))  # doctest: +SKIP
    >>> predictor.set_image("frog.jpg")  # doctest: +SKIP
    >>> predictor.predict(boxes=[[12, 30, 210, 180]]).masks  # doctest: +SKIP

    Args:
        model: What encodes and decodes.
        second_look: Whether small objects are asked about once more in a cut-out of their surroundings and thin ones
            in windows along them, see :mod:`vns_sam.inference.second_look`; each cut-out costs an encoding of its
            own, a crack across the picture up to a dozen. A DIS-SAM looks again along uncertain boundaries instead.

    Attributes:
        model: What encodes and decodes.
        image: (H, W, 3) uint8 RGB, the picture that is set, or None.
        second_look: See above.
    """

    def __init__(self, model: PromptableModel, *, second_look: bool = False) -> None:
        self.model = model
        self.second_look = second_look
        prepare_second_look(model, second_look)
        self.image: np.ndarray | None = None
        self._features: ImageFeatures | None = None

    def set_image(self, image: ImageLike) -> np.ndarray:
        """Reads and encodes a picture; everything predicted from now on is about it.

        Args:
            image: A path, a PIL image or (H, W, 3) uint8 RGB; see :func:`vns_sam.images.read.read_image`.

        Returns:
            (H, W, 3) uint8 RGB: the picture as it was read, upright.

        Raises:
            DataError: It is not a readable picture; the picture set before stays.
        """
        pixels = read_image(image)
        self._features = self.model.encode([pixels])
        self.image = pixels
        return pixels

    def predict(self, boxes: Any = None, points: Any = None, labels: Any = None, masks: Any = None) -> Prediction:
        """Predicts one mask for each row of the prompts; row k of all that is given describes one object.

        A model that takes no prompt predicts one mask of all that it finds; nothing is given then.

        Args:
            boxes: (P, 4) XYXY in pixels of the original picture.
            points: (P, N, 2) XY in pixels of the original picture; rows may have different lengths.
            labels: (P, N) 1 object, 0 background; all 1 when omitted.
            masks: (P, H, W) coarse masks in [0, 1].

        Returns:
            Masks at the size of the original picture.

        Raises:
            UsageError: No picture is set.
            PromptError: A prompt makes no sense in this picture, see
                :func:`vns_sam.prompts.validate.make_prompts`.
        """
        geometry = self._encoded().geometry[0]
        size = geometry.height, geometry.width
        nothing = all(given is None for given in (boxes, points, labels, masks))
        if nothing and isinstance(self.model, WsSamModel):
            return self.predict_prompts(whole_picture(*size))
        return self.predict_prompts(make_prompts(*size, boxes=boxes, points=points, labels=labels, masks=masks))

    def predict_prompts(self, prompts: Prompts) -> Prediction:
        """Like :meth:`predict`, for prompts that have been checked already."""
        features = self._encoded()
        geometry = features.geometry[0]
        output = self.model.decode(features, [prompts], [0])
        if output.mattes is not None:
            return _refined(output.mattes, output.scores)
        logits = _at_original_size(output.mask_logits, geometry)
        edges = None
        if output.edge_logits is not None:
            edges = _at_original_size(output.edge_logits, geometry, probability=True)
        if self.second_look and self.image is not None:
            look_again(self.model, self.image, prompts, logits, edges)
        masks = logits > 0
        return Prediction(masks, logits, output.scores.float().cpu().numpy(), edges, mask_boxes(masks))

    def _encoded(self) -> ImageFeatures:
        if self._features is None:
            raise UsageError("predict was called before an image was set", hint="call set_image(path) first")
        return self._features


def _refined(mattes: Sequence[Matte], scores: torch.Tensor) -> Prediction:
    """The prediction of a model that answers at the picture's own size."""
    alpha = np.stack([matte.alpha for matte in mattes])
    logits = np.empty_like(alpha)
    for row, matte in zip(logits, mattes, strict=True):
        row[:] = matte.logits
    masks = logits > 0
    return Prediction(masks, logits, scores.float().cpu().numpy(), None, mask_boxes(masks), alpha)


def mask_boxes(masks: np.ndarray) -> np.ndarray:
    """Boxes (P, 4) XYXY around masks (P, H, W), right and bottom exclusive; zeros where a mask is empty."""
    boxes = np.zeros((len(masks), 4), np.float32)
    for box, mask in zip(boxes, masks, strict=True):
        found = extent(mask)
        if found is not None:
            box[:] = found
    return boxes


def _at_original_size(maps: torch.Tensor, geometry: Geometry, *, probability: bool = False) -> np.ndarray:
    """Brings logits (P, 1, h, w) to (P, H, W) float32, a few rows at a time."""
    result = np.empty((len(maps), geometry.height, geometry.width), np.float32)
    rows = max(1, PIXELS_AT_ONCE // max(geometry.side**2, geometry.height * geometry.width))
    for start in range(0, len(maps), rows):
        part = maps_to_original(maps[start : start + rows].float(), geometry)
        result[start : start + rows] = (part.sigmoid() if probability else part).cpu().numpy()
    return result
