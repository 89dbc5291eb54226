"""Pictures and their encodings, kept under one ceiling in bytes; each is seen only by whoever sent it."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np

from vns_sam.serving.problems import too_large, unknown_picture
from vns_sam.types import ImageFeatures


@dataclass
class Picture:
    """One picture of one owner.

    Attributes:
        key: Its id, 128 random bits.
        owner: Whose it is.
        name: What its owner calls it.
        pixels: (H, W, 3) uint8 RGB.
        features: Encodings by the model's name.
    """

    key: str
    owner: str
    name: str
    pixels: np.ndarray
    features: dict[str, ImageFeatures] = field(default_factory=dict)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.pixels.shape[0], self.pixels.shape[1]

    @property
    def nbytes(self) -> int:
        """Of pixels and encodings."""
        return self.pixels.nbytes + sum(features.nbytes for features in self.features.values())


class Shelf:
    """The pictures of all sessions, least recently used first.

    When room is needed, encodings of pictures that were not used for longest go first, which costs their owner an
    encoding, then the pictures, which costs a second upload. Not safe for several threads.

    Args:
        ceiling: In bytes.
    """

    def __init__(self, ceiling: int) -> None:
        self.ceiling = ceiling
        self.evicted = 0
        self._pictures: OrderedDict[str, Picture] = OrderedDict()

    def __len__(self) -> int:
        return len(self._pictures)

    @property
    def nbytes(self) -> int:
        """All that is held."""
        return sum(picture.nbytes for picture in self._pictures.values())

    def add(self, owner: str, name: str, pixels: np.ndarray) -> Picture:
        """Takes a picture in and makes room for it.

        Raises:
            Problem: It alone is larger than the ceiling.
        """
        if pixels.nbytes > self.ceiling:
            raise too_large(
                f"the picture takes {pixels.nbytes / 1e6:.0f} MB, the server holds {self.ceiling / 1e6:.0f} MB",
                hint="a smaller picture, or serve --memory",
            )
        picture = Picture(secrets.token_urlsafe(16), owner, name, pixels)
        self._pictures[picture.key] = picture
        self._make_room(picture)
        return picture

    def get(self, owner: str, key: str) -> Picture:
        """A picture, which counts as used now.

        Raises:
            Problem: There is none, or it is somebody else's.
        """
        picture = self._pictures.get(key)
        if picture is None or not secrets.compare_digest(picture.owner, owner):
            raise unknown_picture(key)
        self._pictures.move_to_end(key)
        return picture

    def find(self, owner: str, name: str) -> Picture | None:
        """A picture by the name that its owner gave it, which counts as used now; None where there is none."""
        for key, picture in self._pictures.items():
            if (picture.owner, picture.name) == (owner, name):
                self._pictures.move_to_end(key)
                return picture
        return None

    def keep(self, picture: Picture, model: str, features: ImageFeatures) -> None:
        """Puts an encoding to its picture, if that is still here, and makes room."""
        if picture.key in self._pictures:
            picture.features[model] = features
            self._make_room(picture)

    def remove(self, owner: str, key: str) -> None:
        """Forgets a picture.

        Raises:
            Problem: There is none, or it is somebody else's.
        """
        del self._pictures[self.get(owner, key).key]

    def _make_room(self, newest: Picture) -> None:
        excess = self.nbytes - self.ceiling
        for picture in list(self._pictures.values()):
            if excess <= 0:
                return
            if picture is not newest and picture.features:
                excess -= picture.nbytes - picture.pixels.nbytes
                picture.features.clear()
        for key, picture in list(self._pictures.items()):
            if excess <= 0:
                return
            if picture is not newest:
                excess -= picture.nbytes
                del self._pictures[key]
                self.evicted += 1
