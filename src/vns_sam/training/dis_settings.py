"""What recipes of DIS-SAM's two networks have of their own."""

from __future__ import annotations

from dataclasses import field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from vns_sam.dis.config import DisSamConfig
from vns_sam.training.settings import STRICT, Rate, Share, Steps, fields_of


@dataclass(frozen=True, config=STRICT)
class Dis:
    """What the tasks "gt-encoder" and "dis-sam" have of their own."""

    model: fields_of(DisSamConfig) = field(default_factory=dict)  # type: ignore[valid-type]
    """Fields of ``DisSamConfig``; ``base`` is the first stage, sam-tiny without it."""
    preset: Literal["paper", "released"] = "paper"
    """"paper": flips left to right, norms of convolutions in the orthogonality loss, ground-truth encoder in eval
    mode. "released": what the authors' code does."""
    loader: Literal["house", "released"] = "house"
    """"released" makes samples as the authors' loader does: the whole picture at its own size, squashed and cut to
    whole grey levels, the box drawn from the resized truth without its last row and column."""
    stages: tuple[str, ...] = ()
    """Models whose masks are refined in training; the first stage alone when empty."""
    encoder: Path | None = None
    """Trained ground-truth encoder; None trains one first, into ``out/gt_encoder``."""
    encoder_steps: Steps = 1000
    """Optimiser steps of that training."""
    encoder_lr: Rate = 1e-4
    """Its peak learning rate."""
    cache: Path | None = None
    """Folder of coarse masks and synthetic pictures, ``out/cache`` without it."""
    thin: Annotated[int, Field(ge=0, le=10**7)] = 0
    """Synthetic pictures of thin structures, laid over the pictures of the sets."""
    thin_weight: Annotated[float, Field(gt=0, le=1e9)] = 1.0
    """How often they are drawn, relative to ``data.sets``."""
    views: Literal["whole", "object"] = "whole"
    """What a sample shows: the whole picture, as published, or one object's surroundings, some of them in part."""
    colour: Share = 0.0
    """Share of samples in other colours."""
    drop: Share = 0.0
    """Share of samples without a coarse mask."""

    def __post_init__(self) -> None:
        if self.loader == "released" and (self.views != "whole" or self.colour or self.drop or self.thin):
            raise ValueError("views, colour, drop and thin belong to loader: house")
