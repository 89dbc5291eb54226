"""What samples are made of, as a recipe says it."""

from __future__ import annotations

from dataclasses import field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
_Share = Annotated[float, Field(ge=0, le=1)]
LEAST_SIDE = 512
"""Longer side of pictures in memory where neither the recipe nor its views ask for more."""


@dataclass(frozen=True, config=_STRICT)
class SceneMix:
    """How often a sample is changed, each a probability."""

    composite: _Share = 0.3
    """Another picture's object is pasted in."""
    camouflage: _Share = 0.0
    """The object is refilled with texture of its own background."""
    dark: _Share = 0.0
    """The picture is darkened as by a camera at night."""
    defect: _Share = 0.0
    """A part of the picture becomes a surface with a scratch, crack or patch, the object asked for."""
    crack: _Share = 0.0
    """A part of the picture becomes rough ground with fine cracks across it, the object asked for."""
    patchwork: _Share = 0.0
    """The object is refilled with several materials side by side, all of them what is asked for."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class SetData:
    """The sets that a run trains on."""

    root: Path
    """Folder that holds the sets, each a folder of `images/` and `masks/`."""
    sets: dict[str, Annotated[float, Field(gt=0, le=1e9)]]
    """Weight of each set: how often it is drawn, relative to the others; leave a set out instead of giving 0."""
    sizes: tuple[Annotated[int, Field(gt=0, le=16384)], ...] = (512,)
    """Sides of the square views in pixels, multiples of 32, or of 28 on SAM 3; each step draws one."""
    cache_side: Annotated[int, Field(ge=16, le=65536)] | None = None
    """Pictures are kept in memory with their longer side reduced to this; without it to 512, or to the largest of
    `sizes` where that is more."""
    cache_mib: Annotated[int, Field(ge=0, le=2**20)] = 2048
    """Memory for them in each worker in MiB; the one that was not used for longest makes room."""

    def __post_init__(self) -> None:
        if not self.sizes or any(size % 32 and size % 28 for size in self.sizes):
            raise ValueError(f"sizes must be multiples of 32, or of 28 on SAM 3, got {list(self.sizes)}")
        if self.cache_side is None:
            object.__setattr__(self, "cache_side", max(LEAST_SIDE, self._largest_view()))

    @property
    def kept_side(self) -> int:
        """Longer side of pictures in memory."""
        assert self.cache_side is not None
        return self.cache_side

    def _largest_view(self) -> int:
        """Side of the largest view that is made of pictures in memory."""
        return max(self.sizes)


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class TrainingData(SetData):
    """What a run with prompts trains on."""

    mix: SceneMix = field(default_factory=SceneMix)
    plain: tuple[str, ...] = ()
    """Sets that stay as they are, never camouflaged, darkened or damaged (already hard enough)."""
    views: Literal["random", "whole"] = "random"
    """"whole" shows pictures as a user gives them: all of each, not mirrored, turned or in other colours."""
    prompts: Literal[1, 2, 3] = 3
    """Prompts for each picture. Fewer leave time for more pictures; the kinds are the same throughout a step."""
    clicks: Annotated[int, Field(ge=0, le=64)] = 0
    """Single clicks on objects of each picture beside its prompts: what leaves most open is what a model that judges
    its masks has most to learn from."""
    corrections: _Share = 0.0
    """Share of the prompts that are followed by 1 to 4 clicks on what the model still gets wrong."""
    samples: Literal["house", "released", "paper"] = "house"
    """How samples are made. "house" is described below. The others are VNS-SAM's authors' own: every picture once an
    epoch, flip and large-scale jitter, soft labels at full size, one prompt for each picture, a box, ten points or a
    coarse mask alike. "released" follows their code, where a picture without an object gets an empty prompt and one
    with few pixels takes the points from the whole batch; in "paper" each picture decides for itself."""
    edge: Literal[1, 5] = 1
    """Thickness of the contour that the edge branch learns, before it is widened by 5 x 5: the authors draw 5, and 1
    for pictures made dark."""
    edges: dict[str, Literal[1, 5, "own"]] = field(default_factory=dict)
    """The same for single sets, where samples are the authors'; "own" takes the set's maps, `edges/NAME.png` or
    `Edge/NAME.png`, and widens them."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.samples == "house":
            if self.edges:
                raise ValueError("edges of single sets belong to samples: released or paper")
            return
        unknown = next((name for name in self.edges if name not in self.sets), None)
        if unknown is not None:
            raise ValueError(f"edges names '{unknown}', which is not among the sets")
        asked = self.prompts != 3 or self.clicks or self.corrections
        if self.mix != SceneMix() or self.plain or self.views != "random" or asked:
            raise ValueError("mix, plain, views, prompts, clicks and corrections belong to samples: house")
        if len(self.sizes) > 1:
            raise ValueError(f"samples: {self.samples} has views of one size, got {list(self.sizes)}")

    def _largest_view(self) -> int:
        """See :class:`SetData`; the authors' samples are made of the files."""
        return super()._largest_view() if self.samples == "house" else 0
