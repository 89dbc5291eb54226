"""The parts that VNS-SAM's decoder reads its predictions with: embeddings, token fusion, supplementary map.

VNS-SAM, section III-B. Shapes: P prompts, d SAM's width (256), m = d / 8 channels of a map that is read, g x g' grid.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from vns_sam.sam.attention import Attention
from vns_sam.sam.config import MaskDecoderConfig
from vns_sam.sam.mask_decoder import LayerNorm2d
from vns_sam.sam.pointwise import ThinConv
from vns_sam.vns.switches import Switches


def mask_embedding(channels: int) -> nn.Sequential:
    """Adapts SAM's upscaled image, (P, m, 4g, 4g'), before the mined mask feature is added."""
    return nn.Sequential(
        nn.Conv2d(channels, 2 * channels, 3, padding=1),
        LayerNorm2d(2 * channels),
        nn.GELU(),
        nn.Conv2d(2 * channels, channels, 3, padding=1),
        nn.GELU(),
    )


def edge_embedding(hidden: int, channels: int) -> nn.Sequential:
    """Upscales the edge feature (I, d, g, g') to (I, m, 4g, 4g')."""
    return nn.Sequential(
        nn.ConvTranspose2d(hidden, hidden // 4, 2, 2),
        LayerNorm2d(hidden // 4),
        nn.GELU(),
        nn.ConvTranspose2d(hidden // 4, channels, 2, 2),
        nn.GELU(),
    )


def supplementary_head(hidden: int, width: int) -> nn.Sequential:
    """Draws the supplementary map (P, 1, g, g') from the attended image (P, d, g, g')."""
    return nn.Sequential(nn.Conv2d(hidden, width, 3, padding=1), nn.GELU(), nn.Conv2d(width, 1, 1))


def fusion_head(width: int, convs: int) -> nn.Sequential:
    """Fuses a prediction and its supplementary map, (P, 2, 4g, 4g'), into one of (P, 1, 4g, 4g')."""
    if convs == 2:
        return nn.Sequential(ThinConv(2, width), nn.GELU(), nn.Conv2d(width, 1, 1))
    return nn.Sequential(
        ThinConv(2, width),
        nn.GELU(),
        nn.Conv2d(width, width, 3, padding=1),
        nn.GELU(),
        nn.Conv2d(width, 1, 3, padding=1),
    )


class LinearOfSum(nn.Linear):
    """Equation 2: a linear layer on the sum of both tokens."""

    def forward(self, mask: torch.Tensor, edge: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        """Fuses tokens (P, d)."""
        return super().forward(mask + edge)


class PairAttention(Attention):
    """The mask token attends to both tokens (Table IX, "CA"; the paper gives no more than the name)."""

    def forward(self, mask: torch.Tensor, edge: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        """Fuses tokens (P, d)."""
        pair = torch.stack([mask, edge], dim=1)
        return mask + super().forward(mask[:, None], pair, pair)[:, 0]


class Gate(nn.Module):
    """Weighs the outputs of both tokens' MLPs channel by channel (Table IX, "DG")."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2 * channels, channels), nn.ReLU(), nn.Linear(channels, channels))

    def forward(self, mask: torch.Tensor, edge: torch.Tensor) -> torch.Tensor:
        """Mixes vectors (P, m)."""
        gate = self.layers(torch.cat([mask, edge], dim=1)).sigmoid()
        return gate * mask + (1 - gate) * edge


def build_token_fusion(switches: Switches, sam: MaskDecoderConfig) -> nn.Module | None:
    """The module that fuses mask and edge token, None where they are added or not fused."""
    match switches.token_fusion:
        case "feedback" | "linear":
            return LinearOfSum(sam.hidden_size, sam.hidden_size)
        case "attention":
            return PairAttention(sam, sam.attention_downsample_rate)
        case "gate":
            return Gate(sam.hidden_size // 8)
    return None


def supplementary_layers(
    hidden: int, width: int, convs: int, *, wanted: bool
) -> tuple[nn.Sequential | None, nn.Sequential | None]:
    """:func:`supplementary_head` and :func:`fusion_head`, or neither."""
    return (supplementary_head(hidden, width), fusion_head(width, convs)) if wanted else (None, None)


def supplement(
    prediction: torch.Tensor, image: torch.Tensor, head: nn.Module | None, fusion: nn.Module | None
) -> torch.Tensor:
    """Fuses a prediction (P, 1, 4g, 4g') with the map that ``head`` draws from the image (P, d, g, g') without
    tokens; left as it is where there is no such head.
    """
    if head is None or fusion is None:
        return prediction
    drawn = F.interpolate(head(image), scale_factor=4, mode="bilinear", align_corners=False)
    return fusion(torch.cat([prediction, drawn], dim=1))


def dot(vector: torch.Tensor, feature: torch.Tensor) -> torch.Tensor:
    """Reads a map: dot products of vectors (P, m) with features (P, m, h, w), or (1, m, h, w) for all: (P, 1, h, w)."""
    cells = feature.flatten(2).mT  # maps lie cell by cell, and so will their gradient
    columns = vector[:, :, None] if feature.shape[0] == vector.shape[0] else vector.mT[None]
    return (cells @ columns).mT.reshape(-1, 1, *feature.shape[2:])
