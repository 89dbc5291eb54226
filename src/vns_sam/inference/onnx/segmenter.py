"""WS-SAM's segmenter as one graph."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vns_sam.inference.onnx.folder import OnnxFolder
from vns_sam.sam.answers import MapAnswers
from vns_sam.sam.unprompted import asked_pictures, expected_iou
from vns_sam.types import ImageFeatures, ModelInfo, Prompts


class OnnxSegmenter:
    """A model that takes no prompt over a graph from pixels to logits and scores.

    Args:
        folder: Where it is.
    """

    def __init__(self, folder: OnnxFolder) -> None:
        self.folder = folder
        self.preprocessing = folder.manifest.preprocessing
        self._info = ModelInfo(
            folder.manifest.name,
            lambda: folder.digest,
            prompts=frozenset(),
            input_side=self.preprocessing.image_size,
            look_again="never",
            backend="onnx",
        )

    @property
    def info(self) -> ModelInfo:
        """What the model is."""
        return self._info

    def encode(self, images: Sequence[np.ndarray]) -> ImageFeatures:
        """Segments I pictures, each (H, W, 3) uint8 RGB of any size: the answers are there, decoding picks them out."""
        squares, geometry = zip(*map(self.preprocessing.padded, images), strict=True)
        logits = [self.folder.run("segmenter", {"pixels": pixels[None]})[0] for pixels in squares]
        return ImageFeatures(np.concatenate(logits), (), geometry, owner=self.info)

    def decode(
        self,
        features: ImageFeatures,
        prompts: Sequence[Prompts] = (),
        image_index: Sequence[int] = (),
        *,
        candidates: bool = False,
        look_again: bool = False,
    ) -> MapAnswers:
        """The answers to the pictures of ``image_index``, or to all of them.

        Raises:
            UsageError: Another model made the features.
            PromptError: A prompt is given, or an index names no image.
        """
        features.check_owner(self.info)
        asked = asked_pictures(self.info.name, features, prompts, image_index)
        logits = np.asarray(features.embedding)[asked]
        geometry = tuple(features.geometry[image] for image in asked)
        return MapAnswers(logits, np.asarray(expected_iou(logits)), geometry)
