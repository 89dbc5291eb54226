"""What an encoder makes of pictures: kept as long as there are prompts to decode from it, in memory or in a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from vns_sam.errors import UsageError
from vns_sam.types.info import ModelInfo
from vns_sam.types.pieces import Size
from vns_sam.types.prompts import Geometry

if TYPE_CHECKING:
    import torch

    Map: TypeAlias = torch.Tensor | Any
    """A tensor of a network, or a numpy array of a backend without torch and of features that were read from a file."""


def join_maps(parts: Sequence[Map]) -> Map:
    """Maps (P_k, C, h_k, h'_k) one after the other. Where they differ in size all get the largest height and width,
    with zeros beyond their own; :func:`crop_map` takes those away again.
    """
    height, width = (max(part.shape[at] for part in parts) for at in (-2, -1))
    filled = [_filled(part, height, width) for part in parts]
    if len(filled) == 1:
        return filled[0]
    if isinstance(filled[0], np.ndarray):
        return np.concatenate(filled)
    import torch

    return torch.cat(filled)


def crop_map(maps: Map, stored: Size, wanted: Size) -> Map:
    """Maps (..., h, h') over an input of ``stored`` pixels, without what lies beyond ``wanted`` of them."""
    if stored == wanted:
        return maps
    height, width = (maps.shape[at] * wanted[at] // stored[at] for at in (-2, -1))
    return maps[..., :height, :width]


def largest_input(geometry: Sequence[Geometry]) -> Size:
    """Height and width that joined maps are over."""
    heights, widths = zip(*(place.input for place in geometry), strict=True)
    return max(heights), max(widths)


def _filled(maps: Map, height: int, width: int) -> Map:
    below, beside = height - maps.shape[-2], width - maps.shape[-1]
    if not (below or beside):
        return maps
    if isinstance(maps, np.ndarray):
        return np.pad(maps, ((0, 0), (0, 0), (0, below), (0, beside)))
    import torch.nn.functional as F

    return F.pad(maps, (0, beside, 0, below))


def _as_array(maps: Map) -> np.ndarray:
    if isinstance(maps, np.ndarray):
        return maps
    import torch

    return np.asarray((maps.float() if maps.dtype is torch.bfloat16 else maps).cpu().numpy())


@dataclass(frozen=True)
class ImageFeatures:
    """What an encoder makes of I pictures; prompts are decoded from it any number of times, by its own model.

    Attributes:
        embedding: (I, C, h, h') what decoding starts from: h x h' is the grid g x g' for a SAM, the input's size for a
            WS-SAM, whose answer it is. It and the other maps may be joined, see :func:`join_maps`.
        levels: Four maps (I, g, g', C_k), shallow to deep, which training looks at; decoding does not, and ``encode``
            leaves them out.
        geometry: One entry for each picture.
        finer: Maps at 4 and 2 times the grid, (I, C / 8, 4g, 4g') and (I, C / 4, 2g, 2g'), that the decoder of a SAM 2
            adds when it upscales; empty elsewhere.
        mined: Maps that a method derives from the levels once for each picture, VNS-SAM's mask feature
            (I, 32, 4g, 4g') and edge feature (I, 256, g, g'); empty elsewhere.
        pictures: The pictures themselves, each (H, W, 3) uint8 RGB, where a model looks at them again for each
            prompt (DIS-SAM); empty elsewhere.
        owner: The model that made them, or its digest; "" where that is not known, as in training.
    """

    embedding: Map
    levels: tuple[Map, ...]
    geometry: tuple[Geometry, ...]
    mined: tuple[Map, ...] = ()
    pictures: tuple[np.ndarray, ...] = ()
    owner: ModelInfo | str = ""
    finer: tuple[Map, ...] = ()

    def __len__(self) -> int:
        """Number of pictures I."""
        return len(self.embedding)

    @property
    def model(self) -> str:
        """Digest of the model that made them; "" where it is not known."""
        return self.owner if isinstance(self.owner, str) else self.owner.digest

    @property
    def nbytes(self) -> int:
        """Memory of all maps and pictures in bytes."""
        maps = (self.embedding, *self.levels, *self.mined, *self.finer, *self.pictures)
        return sum(int(one.nbytes) for one in maps)

    def check_owner(self, info: ModelInfo) -> None:
        """Judges whether a model may decode them.

        Raises:
            UsageError: Another model made them.
        """
        if self.owner is info or self.owner == "" or self.model == info.digest:
            return
        name = "another model" if isinstance(self.owner, str) else f"'{self.owner.name}'"
        raise UsageError(
            f"expected features of '{info.name}' ({info.digest}), found those of {name} ({self.model})",
            hint="encode the picture with the model that decodes it",
        )

    def select(self, image: int) -> ImageFeatures:
        """The features of one picture, as a batch of one, over its own input."""
        at = slice(image, None if image == -1 else image + 1)
        whole = self.over(self.geometry[image].input) if self.geometry else self
        return replace(
            whole,
            embedding=whole.embedding[at],
            levels=tuple(level[at] for level in whole.levels),
            geometry=whole.geometry[at],
            mined=tuple(one[at] for one in whole.mined),
            finer=tuple(one[at] for one in whole.finer),
            pictures=whole.pictures[at],
        )

    def over(self, wanted: Size) -> ImageFeatures:
        """The same over an input of this size: of larger ones a part is left out."""
        stored = largest_input(self.geometry)
        if stored == wanted:
            return self
        return replace(
            self,
            embedding=crop_map(self.embedding, stored, wanted),
            mined=tuple(crop_map(one, stored, wanted) for one in self.mined),
            finer=tuple(crop_map(one, stored, wanted) for one in self.finer),
        )

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> ImageFeatures:
        """The same features as tensors on a device, of a dtype or their own; pictures stay where they are."""
        import torch

        def move(one: Map) -> torch.Tensor:
            if isinstance(one, np.ndarray):
                one = torch.from_numpy(one if one.flags.writeable else one.copy())
            return one.to(device, dtype)

        return replace(
            self,
            embedding=move(self.embedding),
            levels=tuple(map(move, self.levels)),
            mined=tuple(map(move, self.mined)),
            finer=tuple(map(move, self.finer)),
        )

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything as numpy arrays by name, as ``np.savez`` takes them; bfloat16, which numpy lacks, as float32."""
        named: dict[str, Any] = {"embedding": self.embedding}
        for name in ("levels", "mined", "pictures", "finer"):
            named |= {f"{name}.{k}": one for k, one in enumerate(getattr(self, name))}
        return {
            **{name: _as_array(one) for name, one in named.items()},
            "geometry": Geometry.pack(self.geometry),
            "model": np.array(self.model),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> ImageFeatures:
        """Inverse of :meth:`arrays`; the maps stay numpy arrays until a network decodes them.

        Raises:
            UsageError: A part is missing, or an earlier version wrote them.
        """
        lacking = [name for name in ("embedding", "geometry", "model") if name not in arrays]
        if lacking:
            raise UsageError(f"expected the arrays of image features, found none called '{lacking[0]}'")

        def parts(name: str) -> tuple[np.ndarray, ...]:
            count = sum(key.startswith(f"{name}.") for key in arrays)
            return tuple(arrays[f"{name}.{k}"] for k in range(count))

        levels, mined, pictures, finer = (parts(name) for name in ("levels", "mined", "pictures", "finer"))
        geometry = Geometry.unpack(arrays["geometry"])
        return cls(arrays["embedding"], levels, geometry, mined, pictures, str(arrays["model"]), finer)
