"""DIS-SAM over a graph of its IS-Net."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import numpy as np

from vns_sam.dis.channels import as_array
from vns_sam.dis.config import DisSamConfig
from vns_sam.dis.mattes import to_picture
from vns_sam.dis.refining import Refining, isnet_input, joined_digest, refined_info
from vns_sam.images.windows import Window
from vns_sam.inference.onnx.folder import OnnxFolder
from vns_sam.types import ModelInfo, PromptableModel


class OnnxRefiner(Refining):
    """Any promptable model, and the graph of an IS-Net that refines its masks.

    Args:
        folder: Where the graph is.
        config: What defines the second stage.
        first: The first stage.
        name: What users call both.
    """

    def __init__(self, folder: OnnxFolder, config: DisSamConfig, first: PromptableModel, name: str) -> None:
        self.folder, self.config, self.first = folder, config, first
        self._info = replace(
            refined_info(config, name, lambda: joined_digest(first.info, folder.digest), first.info), backend="onnx"
        )

    @property
    def info(self) -> ModelInfo:
        """What the model is."""
        return self._info

    def look(self, image: np.ndarray, mask: np.ndarray, box: np.ndarray, window: Window) -> np.ndarray:
        """IS-Net's answer (h, w) for one window."""
        parts = cast(tuple[np.ndarray, ...], isnet_input(self.config, image, mask, box, window, as_array))
        (alpha,) = self.folder.run("refiner", {"channels": np.concatenate(parts)[None].astype(np.float32)})
        return to_picture(alpha, *window.shape)
