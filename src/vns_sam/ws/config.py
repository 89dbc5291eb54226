"""What defines a WS-SAM: stored as ``config.json`` beside the weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from difflib import get_close_matches
from typing import Any, Literal, Self, get_args

from vns_sam.errors import CheckpointError, UsageError
from vns_sam.sam.config import check_keys
from vns_sam.ws.grouping import Reconstruct
from vns_sam.ws.layers import REDUCTION

MODEL_TYPE = "ws-sam"
Kind = Literal["efficientnet-lite0", "resnet", "pvt_v2", "swin"]
LevelChannels = tuple[int, int, int, int]

LEVELS = 4
STRIDE = 32
"""Of the deepest level."""

SETTINGS: dict[Kind, tuple[str, ...]] = {
    "efficientnet-lite0": (),
    "resnet": ("embedding_size", "hidden_sizes", "depths", "layer_type", "downsample_in_bottleneck"),
    "pvt_v2": ("hidden_sizes", "depths", "num_attention_heads", "mlp_ratios", "sr_ratios", "drop_path_rate"),
    "swin": ("embed_dim", "depths", "num_heads", "window_size", "mlp_ratio", "drop_path_rate"),
}
"""What may be set of each kind of backbone, by the names of transformers; the strides are always 4, 8, 16 and 32."""


@dataclass(frozen=True)
class BackboneConfig:
    """A backbone.

    Attributes:
        kind: "efficientnet-lite0", the bundled one, or a kind by its name in transformers.
        settings: What differs from that kind's defaults in transformers, see :data:`SETTINGS`.

    Raises:
        UsageError: No such kind, or nothing of that name can be set.
    """

    kind: Kind
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in SETTINGS:
            raise UsageError(f"backbone kind must be one of {', '.join(SETTINGS)}, found '{self.kind}'")
        for name in self.settings:
            if name not in SETTINGS[self.kind]:
                known = ", ".join(SETTINGS[self.kind]) or "nothing"
                raise UsageError(f"a {self.kind} backbone has no setting '{name}'", hint=f"it can set {known}")


BACKBONES: dict[str, BackboneConfig] = {
    "efficientnet-lite0": BackboneConfig("efficientnet-lite0"),
    "resnet50": BackboneConfig("resnet"),
    "pvtv2-b2": BackboneConfig("pvt_v2", {"hidden_sizes": [64, 128, 320, 512], "depths": [3, 4, 6, 3]}),
    "pvtv2-b4": BackboneConfig("pvt_v2", {"hidden_sizes": [64, 128, 320, 512], "depths": [3, 8, 27, 3]}),
    "swin-tiny": BackboneConfig("swin"),
    "swin-base": BackboneConfig("swin", {"embed_dim": 128, "depths": [2, 2, 18, 2], "num_heads": [4, 8, 16, 32]}),
}
"""Backbones by the names that users give."""


@dataclass(frozen=True)
class WsSamConfig:
    """A backbone and WS-SAM's segmenter. The defaults are those of the release, but for ``reconstruct``.

    Attributes:
        name: What users call the model.
        backbone: The backbone; :meth:`make` takes a name in :data:`BACKBONES` as well.
        channels: Width C of the segmenter, a multiple of 16.
        image_size: Side in pixels of the square that ``segment`` shows the network. The paper has 352, the release 384.
        reconstruct: How groups become a map again: "assign", or "broadcast" as released, which cannot group.
        prototypes: N1 and N2 of the feature grouping.
        iterations: T of the feature grouping.
        grouping_levels: Levels that are grouped, 1 (stride 4) to 4 (stride 32).

    Raises:
        UsageError: A value is not allowed.
    """

    name: str = "ws-sam"
    backbone: BackboneConfig = BACKBONES["resnet50"]
    channels: int = 128
    image_size: int = 384
    reconstruct: Reconstruct = "assign"
    prototypes: tuple[int, int] = (4, 2)
    iterations: int = 3
    grouping_levels: tuple[int, ...] = (LEVELS,)

    def __post_init__(self) -> None:
        if self.reconstruct not in get_args(Reconstruct):
            allowed = " or ".join(f"'{name}'" for name in get_args(Reconstruct))
            raise UsageError(f"reconstruct must be {allowed}, found '{self.reconstruct}'")
        if self.channels <= 0 or self.channels % REDUCTION:
            raise UsageError(f"channels must be a multiple of {REDUCTION}, found {self.channels}")
        if self.image_size < STRIDE:
            raise UsageError(f"image_size must be at least {STRIDE}, found {self.image_size}")
        if len(self.prototypes) != 2 or min(*self.prototypes, self.iterations) < 1:
            raise UsageError(
                "prototypes must be two numbers and iterations one, all at least 1, found "
                f"{self.prototypes} and {self.iterations}"
            )
        levels = set(self.grouping_levels)
        if not levels <= set(range(1, LEVELS + 1)) or len(levels) < len(self.grouping_levels):
            raise UsageError(f"grouping_levels must be different levels of 1 to {LEVELS}, found {self.grouping_levels}")

    @classmethod
    def make(cls, **values: Any) -> Self:
        """A configuration from fields that a user names; ``backbone`` may be a name in :data:`BACKBONES`.

        Raises:
            UsageError: A field or a backbone does not exist, the nearest one is named; or a value is not allowed.
        """
        known = [entry.name for entry in fields(cls)]
        for name in values:
            if name not in known:
                raise UsageError(f"WS-SAM's configuration has no field '{name}'", hint=_nearest(name, known))
        backbone = values.get("backbone")
        if isinstance(backbone, str):
            if backbone not in BACKBONES:
                raise UsageError(f"no backbone '{backbone}'", hint=_nearest(backbone, [*BACKBONES]))
            values["backbone"] = BACKBONES[backbone]
        for name in ("prototypes", "grouping_levels"):
            if name in values:
                values[name] = tuple(values[name])
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form with its ``model_type``."""
        return {"model_type": MODEL_TYPE, **asdict(self)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Reads :meth:`to_dict`'s form.

        Raises:
            CheckpointError: A key is unknown, or a value is not allowed.
        """
        given = {key: value for key, value in values.items() if key != "model_type"}
        check_keys(cls, given, "config.json")
        backbone = given.get("backbone")
        try:
            if isinstance(backbone, dict):
                check_keys(BackboneConfig, backbone, "'backbone' of config.json")
                given["backbone"] = BackboneConfig(**backbone)
            return cls.make(**given)
        except UsageError as error:
            raise CheckpointError(f"config.json: {error.message}", hint=error.hint) from None
        except TypeError as error:
            raise CheckpointError(f"config.json is incomplete: {error}") from None


def _nearest(name: str, known: list[str]) -> str:
    near = get_close_matches(name, known, 1)
    return f"did you mean '{near[0]}'?" if near else f"there are {', '.join(known)}"
