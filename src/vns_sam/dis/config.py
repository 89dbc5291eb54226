"""What defines a DIS-SAM: stored as ``config.json`` beside the weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from vns_sam.dis.mattes import Cut
from vns_sam.errors import UsageError
from vns_sam.sam.model_config import Between, ModelConfig

Choice = Literal["first", "single", "best-iou"]
Factor = Annotated[float, Between(1 / 64, 16)]
"""On the channels of a network."""


@dataclass(frozen=True)
class DisSamConfig(ModelConfig):
    """A first stage and an IS-Net that refines its masks. The defaults are those of the release.

    Attributes:
        base: The first stage, as ``load_model`` takes it: a name, a folder or a hub id.
        name: What users call the model.
        width: Factor on IS-Net's channels.
        image_size: Side of IS-Net's square input in pixels.
        choice: Which of a SAM's masks is the coarse one: "first" of the three of its multi-mask output, "single", or
            the one of the four with the best predicted IoU. Other models have one mask.
        residual: Whether IS-Net's answer is a correction of the coarse mask: what it finds is added to the mask's own
            logits, and an untrained network gives the mask back. As published, it draws the object anew.
        mask_channel, box_channel: Whether IS-Net gets them; a missing channel is zero (Table III).
        margin: IS-Net sees the object with so much around it, as a share of its longer side; None shows the whole
            picture, as published.
        antialias: Whether pictures are smoothed when they shrink.
        stretch: Whether each alpha map is stretched to the range 0 to 1.
        cut: Where alpha becomes a mask, see :func:`vns_sam.dis.mattes.threshold`.
        second_look: Who looks again: IS-Net, in "windows" along uncertain boundaries, or the "first" stage, before
            IS-Net sees its mask, see :mod:`vns_sam.sam.second_look`. A small first stage does so by default.
        guard: Whether the coarse mask stays where the picture speaks for it, see :mod:`vns_sam.dis.belief`; otherwise
            IS-Net is always believed, as published. In older files it is a number or null.
    """

    model_type: ClassVar[str] = "dis-sam"
    title: ClassVar[str] = "DIS-SAM"

    base: str
    name: str = "dis-sam"
    width: Factor = 1.0
    image_size: Annotated[int, Between(32, 16384)] = 1024
    choice: Choice = "first"
    residual: bool = False
    mask_channel: bool = True
    box_channel: bool = True
    margin: Annotated[float, Between(0, 100)] | None = None
    antialias: bool = False
    stretch: bool = True
    cut: Cut = "half"
    second_look: Literal["windows", "first"] = "windows"
    guard: bool = False

    @classmethod
    def prepare(cls, values: dict[str, Any]) -> dict[str, Any]:
        """A guard of an older file becomes one of today's."""
        guard = values.get("guard", False)
        return values if isinstance(guard, bool) else {**values, "guard": guard is not None}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.residual and not self.mask_channel:
            raise UsageError(
                "expected a mask channel for residual true, found mask_channel false", hint="a correction needs both"
            )


@dataclass(frozen=True)
class IsNetConfig(ModelConfig):
    """An IS-Net by itself.

    Attributes:
        name: What users call the model.
        width: Factor on its channels.
        image_size: Side of its square input in pixels.
        antialias: Whether pictures are smoothed when they shrink.
        stretch: Whether each alpha map is stretched to the range 0 to 1.
        cut: Where alpha becomes a mask, see :func:`vns_sam.dis.mattes.threshold`.
    """

    model_type: ClassVar[str] = "is-net"
    title: ClassVar[str] = "IS-Net"

    name: str = "is-net"
    width: Factor = 1.0
    image_size: Annotated[int, Between(32, 16384)] = 1024
    antialias: bool = False
    stretch: bool = True
    cut: Cut = "half"


@dataclass(frozen=True)
class GtEncoderConfig(ModelConfig):
    """The ground-truth encoder that IS-Net's features are compared with in training.

    Attributes:
        width: Factor on its channels, IS-Net's.
    """

    model_type: ClassVar[str] = "gt-encoder"
    title: ClassVar[str] = "the ground-truth encoder"

    width: Factor = 1.0
