"""Segmenters that are small enough for a test, one for each kind of backbone."""

from __future__ import annotations

from typing import Any

from vns_sam.ws.config import BackboneConfig, WsSamConfig
from vns_sam.ws.model import WsSamModel

DEPTHS = [1, 1, 1, 1]
SMALL = {
    "efficientnet-lite0": BackboneConfig("efficientnet-lite0"),
    "efficientnet-lite2": BackboneConfig("efficientnet-lite2"),
    "resnet": BackboneConfig("resnet", {"embedding_size": 8, "hidden_sizes": [16, 24, 32, 40], "depths": DEPTHS}),
    "pvt_v2": BackboneConfig(
        "pvt_v2", {"hidden_sizes": [8, 16, 24, 32], "depths": DEPTHS, "num_attention_heads": [1, 2, 2, 4]}
    ),
    "swin": BackboneConfig("swin", {"embed_dim": 8, "depths": DEPTHS, "num_heads": [1, 2, 2, 4]}),
}


def small_model(kind: str = "resnet", **values: Any) -> WsSamModel:
    """A segmenter of 16 channels in eval mode."""
    given = {"backbone": SMALL[kind], "channels": 16, "image_size": 64, **values}
    return WsSamModel(WsSamConfig.make(**given)).eval()
