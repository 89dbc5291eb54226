"""What every way of making pictures dark has in common."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from PIL import Image

from vns_sam.images.write import encode_image


@dataclass(frozen=True)
class Darkened:
    """A picture made dark.

    Attributes:
        image: (H, W, 3) uint8 RGB, of the size it had.
        parameters: What was drawn for this picture, for the manifest.
        jpeg_quality: Quality of the JPEG that it becomes, the last step of a camera; None is stored as a PNG.
    """

    image: np.ndarray
    parameters: dict[str, float | int] = field(default_factory=dict)
    jpeg_quality: int | None = None

    def encode(self) -> bytes:
        """The file."""
        if self.jpeg_quality is None:
            return encode_image(self.image, photo=True)
        file = io.BytesIO()
        Image.fromarray(self.image).save(file, "JPEG", quality=self.jpeg_quality)
        return file.getvalue()


class Darkener(Protocol):
    """Makes pictures dark, each in a way that depends on its name and on nothing before it."""

    @property
    def suffix(self) -> str:
        """Ending of the files, ".jpg" or ".png"."""
        ...

    @property
    def identity(self) -> dict[str, Any]:
        """All that a result depends on beside the picture and its name; ``method`` is one entry."""
        ...

    def __call__(self, image: np.ndarray, name: str) -> Darkened:
        """Darkens one picture (H, W, 3) uint8 RGB."""
        ...


def generator_for(seed: int, name: str) -> np.random.Generator:
    """The random numbers of one picture: the same on every machine, whatever else is darkened."""
    digest = hashlib.sha256(name.encode()).digest()
    return np.random.default_rng([seed, *np.frombuffer(digest[:16], "<u4").tolist()])
