"""A trained generator as a way of making pictures dark."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from vns_sam.lowlight.camera import blend
from vns_sam.lowlight.darkener import Darkened
from vns_sam.lowlight.generator import ResnetGenerator
from vns_sam.lowlight.tiled import translate


class CycleGanDarkener:
    """A generator as a :class:`vns_sam.lowlight.darkener.Darkener`.

    Args:
        generator: From daylight to darkness, on the device where it is to run.
        strength: 1 is what the generator makes; below, pictures lie between that and daylight by their stops.
    """

    def __init__(self, generator: ResnetGenerator, strength: float = 1.0) -> None:
        self.generator, self.strength = generator, strength
        digest = hashlib.sha256()
        for value in generator.state_dict().values():
            digest.update(value.cpu().numpy().tobytes())
        self.weights = digest.hexdigest()[:16]

    @property
    def suffix(self) -> str:
        """Ending of the files."""
        return ".png"

    @property
    def identity(self) -> dict[str, Any]:
        """All that a result depends on beside the picture."""
        return {"method": "cyclegan", "weights": self.weights, "strength": self.strength}

    def __call__(self, image: np.ndarray, name: str) -> Darkened:
        """Darkens one picture (H, W, 3) uint8 RGB; its name does not matter."""
        made = translate(self.generator, image)
        return Darkened(made if self.strength == 1 else blend(image, made, self.strength))
