"""What defines a WS-SAM: stored as ``config.json`` beside the weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal, get_args

from vns_sam.errors import UsageError
from vns_sam.sam.architectures import Lite
from vns_sam.sam.config import LevelChannels as LevelChannels
from vns_sam.sam.model_config import Between, Checked, Count, ModelConfig, Width, fit, nearest

Reconstruct = Literal["assign", "broadcast"]
"""How groups become a map again."""
Kind = Literal[Lite, "resnet", "pvt_v2", "swin"]
Rate = Annotated[float, Between(0.01, 64)]
Share = Annotated[float, Between(0, 1)]

REDUCTION = 16
"""Channels of a channel attention's bottleneck are its input's divided by this."""
LEVELS = 4
STRIDE = 32
"""Of the deepest level."""
FINEST = 4
"""Of the finest."""

_FourWidths, _Four = tuple[Width, Width, Width, Width], tuple[Count, Count, Count, Count]
_Rates = tuple[Rate, Rate, Rate, Rate]
SETTINGS: dict[Kind, dict[str, Any]] = {
    **{name: {} for name in get_args(Lite)},
    "resnet": {
        "embedding_size": Width,
        "hidden_sizes": _FourWidths,
        "depths": _Four,
        "layer_type": Literal["basic", "bottleneck"],
        "downsample_in_bottleneck": bool,
    },
    "pvt_v2": {
        "hidden_sizes": _FourWidths,
        "depths": _Four,
        "num_attention_heads": _Four,
        "mlp_ratios": _Rates,
        "sr_ratios": _Four,
        "drop_path_rate": Share,
    },
    "swin": {
        "embed_dim": Width,
        "depths": _Four,
        "num_heads": _Four,
        "window_size": Count,
        "mlp_ratio": Rate,
        "drop_path_rate": Share,
    },
}
"""What may be set of each kind of backbone, by the names of transformers; the strides are always 4, 8, 16 and 32."""


@dataclass(frozen=True)
class BackboneConfig(Checked):
    """A backbone.

    Attributes:
        kind: An EfficientNet-Lite by its name, as the bundled model has, or a kind by its name in transformers.
        settings: What differs from that kind's defaults in transformers, see :data:`SETTINGS`.

    Raises:
        UsageError: No such kind, or nothing of that name can be set.
    """

    kind: Kind
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, value in self.settings.items():
            if name not in SETTINGS[self.kind]:
                known = ", ".join(SETTINGS[self.kind]) or "nothing"
                raise UsageError(f"a {self.kind} backbone has no setting '{name}'", hint=f"it can set {known}")
            fit(value, SETTINGS[self.kind][name], f"settings.{name}")


BACKBONES: dict[str, BackboneConfig] = {
    **{name: BackboneConfig(name) for name in get_args(Lite)},
    "resnet50": BackboneConfig("resnet"),
    "pvtv2-b2": BackboneConfig("pvt_v2", {"hidden_sizes": [64, 128, 320, 512], "depths": [3, 4, 6, 3]}),
    "pvtv2-b4": BackboneConfig("pvt_v2", {"hidden_sizes": [64, 128, 320, 512], "depths": [3, 8, 27, 3]}),
    "swin-tiny": BackboneConfig("swin"),
    "swin-base": BackboneConfig("swin", {"embed_dim": 128, "depths": [2, 2, 18, 2], "num_heads": [4, 8, 16, 32]}),
}
"""Backbones by the names that users give."""


@dataclass(frozen=True)
class WsSamConfig(ModelConfig):
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
        head: "released" is the authors' head to the number, so that their checkpoints load: in texture blocks both sums
            pass a ReLU before they are added, the attention to places has a bias, and the first stage sees the prior
            enlarged to the picture and reduced again by other corners.

    Raises:
        UsageError: A value is not allowed.
    """

    model_type: ClassVar[str] = "ws-sam"
    title: ClassVar[str] = "WS-SAM"

    name: str = "ws-sam"
    backbone: BackboneConfig = BACKBONES["resnet50"]
    channels: Annotated[int, Between(REDUCTION, 8192, REDUCTION)] = 128
    image_size: Annotated[int, Between(STRIDE, 16384)] = 384
    reconstruct: Reconstruct = "assign"
    prototypes: tuple[Count, Count] = (4, 2)
    iterations: Count = 3
    grouping_levels: tuple[Annotated[int, Between(1, LEVELS)], ...] = (LEVELS,)
    head: Literal["house", "released"] = "house"

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(set(self.grouping_levels)) < len(self.grouping_levels):
            raise UsageError(f"grouping_levels must be different levels, found {list(self.grouping_levels)}")

    @classmethod
    def prepare(cls, values: dict[str, Any]) -> dict[str, Any]:
        """``backbone`` may be a name in :data:`BACKBONES`."""
        backbone = values.get("backbone")
        if not isinstance(backbone, str):
            return values
        if backbone not in BACKBONES:
            raise UsageError(f"no backbone '{backbone:.60}'", hint=nearest(backbone, [*BACKBONES]))
        return {**values, "backbone": BACKBONES[backbone]}
