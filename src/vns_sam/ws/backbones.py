"""Backbones: what turns pixels into four maps of strides 4, 8, 16 and 32."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vns_sam.errors import CheckpointError, UsageError
from vns_sam.sam.architectures import LITES, LiteConfig
from vns_sam.sam.encoders.lite import EXPORTED, TinyEncoder
from vns_sam.ws.config import LEVELS, SETTINGS, BackboneConfig, LevelChannels

_CLASSES = {"resnet": "ResNetBackbone", "pvt_v2": "PvtV2Backbone", "swin": "SwinBackbone"}
_OUT_FEATURES = [f"stage{level}" for level in range(1, LEVELS + 1)]


class Backbone(nn.Module, ABC):
    """Four maps of a picture.

    Attributes:
        channels: Of the four maps.
    """

    channels: LevelChannels

    @abstractmethod
    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Maps normalised pixels (B, 3, H, W) to four maps (B, C_k, H / s, W / s), s = 4, 8, 16 and 32; H and W are
        multiples of 32.
        """


class LiteBackbone(Backbone):
    """An EfficientNet-Lite without the neck of the tiny SAM. Its batch norms use stored statistics always."""

    def __init__(self, config: LiteConfig) -> None:
        super().__init__()
        self.encoder = TinyEncoder(config)
        del self.encoder.laterals, self.encoder.neck
        first, second, third, fourth = (config.widths[at] for at in EXPORTED)
        self.channels = (first, second, third, fourth)

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """See :class:`Backbone`."""
        x = self.encoder.stem(pixels)
        maps = []
        for at, stage in enumerate(self.encoder.stages):
            x = stage(x)
            if at in EXPORTED:
                maps.append(x)
        return tuple(maps)

    def load_imagenet(self, state: Mapping[str, torch.Tensor]) -> None:
        """Takes the published ImageNet weights.

        Raises:
            CheckpointError: They are of another network.
        """
        self.encoder.load_imagenet(state)


class TransformersBackbone(Backbone):
    """A backbone of transformers.

    Args:
        network: One with the four outputs "stage1" to "stage4".
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network
        first, second, third, fourth = network.channels
        self.channels = (first, second, third, fourth)

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """See :class:`Backbone`."""
        return tuple(self.network(pixels).feature_maps)


def build_backbone(config: BackboneConfig) -> Backbone:
    """A backbone with fresh weights."""
    if config.kind in LITES:
        return LiteBackbone(LITES[config.kind])
    from transformers import AutoConfig

    network = AutoConfig.for_model(config.kind, **config.settings, out_features=_OUT_FEATURES)
    return TransformersBackbone(_network_class(config)(network))


def load_backbone(origin: str | Path) -> tuple[BackboneConfig, Backbone]:
    """A pretrained backbone of transformers: ResNet, PVTv2 or Swin.

    Args:
        origin: A folder of transformers' ``save_pretrained``, or a hub id such as "microsoft/resnet-50".

    Raises:
        CheckpointError: It is not there, cannot be reached or is damaged.
        UsageError: It is a model of another kind.
    """
    from transformers import AutoConfig

    try:
        found = AutoConfig.from_pretrained(str(origin))
        config = _config_of(found, origin)
        network = _network_class(config).from_pretrained(str(origin), out_features=_OUT_FEATURES)
    except (OSError, ValueError) as error:
        line = str(error).splitlines()[0]
        raise CheckpointError(
            f"no backbone '{origin}': {line}", hint="give a folder of save_pretrained or a hub id"
        ) from None
    return config, TransformersBackbone(network)


def _network_class(config: BackboneConfig) -> Any:
    """The class of transformers, which knows folders as well as the hub where its AutoBackbone knows the hub alone."""
    import transformers

    return getattr(transformers, _CLASSES[config.kind])


def _config_of(found: Any, origin: str | Path) -> BackboneConfig:
    """Our description of a transformers configuration."""
    for kind, names in SETTINGS.items():
        if found.model_type == kind:
            settings = {name: getattr(found, name) for name in names}
            return BackboneConfig(kind, settings)
    kinds = ", ".join(kind for kind, names in SETTINGS.items() if names)
    raise UsageError(f"'{origin}' is a '{found.model_type}' model, expected one of {kinds}")
