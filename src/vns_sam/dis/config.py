"""What defines a DIS-SAM: stored as ``config.json`` beside the weights."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from difflib import get_close_matches
from typing import Any, Literal, Self, get_args

from vns_sam.dis.mattes import Cut
from vns_sam.errors import CheckpointError, UsageError
from vns_sam.sam.config import check_keys

MODEL_TYPE = "dis-sam"
Choice = Literal["first", "single", "best-iou"]


@dataclass(frozen=True)
class DisSamConfig:
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
    """

    base: str
    name: str = "dis-sam"
    width: float = 1.0
    image_size: int = 1024
    choice: Choice = "first"
    residual: bool = False
    mask_channel: bool = True
    box_channel: bool = True
    margin: float | None = None
    antialias: bool = False
    stretch: bool = True
    cut: Cut = "half"

    def __post_init__(self) -> None:
        for name, allowed in (("choice", get_args(Choice)), ("cut", get_args(Cut))):
            if getattr(self, name) not in allowed:
                raise UsageError(f"{name} must be one of {', '.join(allowed)}, found '{getattr(self, name)}'")
        if self.residual and not self.mask_channel:
            raise UsageError(
                "expected a mask channel for residual true, found mask_channel false", hint="a correction needs both"
            )
        if self.width <= 0 or self.image_size <= 0 or (self.margin is not None and self.margin < 0):
            raise UsageError(
                f"width and image_size must be above 0 and margin not below it, found {self.width:g}, "
                f"{self.image_size} and {self.margin}"
            )

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form with its ``model_type``."""
        return {"model_type": MODEL_TYPE, **asdict(self)}

    @classmethod
    def make(cls, **values: Any) -> Self:
        """A configuration from fields that a user names.

        Raises:
            UsageError: A field does not exist, the nearest one is named; or a value is not allowed.
        """
        known = [entry.name for entry in fields(cls)]
        for name in values:
            if name not in known:
                near = get_close_matches(name, known, 1)
                hint = f"did you mean '{near[0]}'?" if near else f"its fields are {', '.join(known)}"
                raise UsageError(f"DIS-SAM's configuration has no field '{name}'", hint=hint)
        return cls(**values)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Reads :meth:`to_dict`'s form.

        Raises:
            CheckpointError: A key is unknown, ``base`` is missing, or a value is not allowed.
        """
        given = {key: value for key, value in values.items() if key != "model_type"}
        check_keys(cls, given, "config.json")
        if "base" not in given:
            raise CheckpointError("config.json must hold 'base', the first stage")
        try:
            return cls(**given)
        except UsageError as error:
            raise CheckpointError(f"config.json: {error.message}", hint=error.hint) from None
