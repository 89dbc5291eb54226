"""The segmenter behind a backbone: texture blocks, grouping, top-down fusion, global prior and attention stages."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from vns_sam.sam.recording import being_recorded
from vns_sam.ws.config import FINEST, LEVELS, LevelChannels, WsSamConfig
from vns_sam.ws.grouping import FeatureGrouping
from vns_sam.ws.layers import ConvNorm, ResidualAttention, SpatialChannelAttention, TextureBlock

Groups = dict[int, tuple[torch.Tensor, torch.Tensor]]


@dataclass(frozen=True)
class WsSamOutput:
    """What the segmenter says of B pictures.

    Attributes:
        logits: Five maps (B, 1, H, W), coarse to fine: the global prior and those of levels 4, 3, 2 and 1.
        groups: For each level that is grouped (1 to 4) the shares of the fine and of the coarse prototypes at each
            place, (B, N, h, w), which add up to 1 over N.
    """

    logits: tuple[torch.Tensor, ...]
    groups: Groups

    @property
    def prediction(self) -> torch.Tensor:
        """The finest map's logits (B, 1, H, W)."""
        return self.logits[-1]


class TopDownFusion(nn.Module):
    """Joins a level with what came down from the coarser ones; ``released`` is as in the config's ``head``."""

    def __init__(self, channels: int, *, released: bool = False) -> None:
        super().__init__()
        self.join = ConvNorm(2 * channels, channels, 3)
        self.attention = SpatialChannelAttention(channels, bias=released)
        self.out = ConvNorm(2 * channels, channels)

    def forward(self, x: torch.Tensor, coarser: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Fuses a level (B, C, h, w) with the coarser one's joined map.

        Returns:
            The level's output and its own joined map, which goes on to the next finer level.
        """
        joined = self.attention(self.join(torch.cat([x, _resize(coarser, x)], 1)))
        return self.out(torch.cat([joined, x], 1)), joined


class PositionAttention(nn.Module):
    """Each place sees all others (Fu et al. 2019); starts as the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query = nn.Conv2d(channels, channels // 4, 1)
        self.key = nn.Conv2d(channels, channels // 4, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Keeps the shape (B, C, h, w)."""
        queries, keys, values = (conv(x).flatten(2).transpose(1, 2) for conv in (self.query, self.key, self.value))
        if being_recorded():
            seen = (queries @ keys.mT).softmax(-1) @ values
        else:
            seen = F.scaled_dot_product_attention(queries, keys, values, scale=1.0)
        return x + self.gamma * seen.transpose(1, 2).unflatten(2, x.shape[-2:])


class GlobalPrior(nn.Module):
    """A first coarse map from the deepest level: atrous pyramid (Chen et al. 2017), then position attention."""

    def __init__(self, in_ch: int, channels: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [ConvNorm(in_ch, channels), *(ConvNorm(in_ch, channels, 3, dilation) for dilation in (6, 12, 18))]
        )
        self.whole = ConvNorm(in_ch, channels)
        self.gather = ConvNorm(5 * channels, 2 * channels, 3)
        self.attention = PositionAttention(2 * channels)
        self.out = nn.Sequential(
            nn.Conv2d(2 * channels, channels // 2, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels // 2),
            nn.PReLU(),
            nn.Dropout2d(0.1),
            nn.Conv2d(channels // 2, 1, 1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps (B, in_ch, h, w) to logits (B, 1, h, w)."""
        whole = self.whole(x.mean((2, 3), keepdim=True)).expand(-1, -1, *x.shape[-2:])
        return self.out(self.attention(self.gather(torch.cat([*(b(x) for b in self.branches), whole], 1))))


class AttentionStage(nn.Module):
    """Looks at a level where the coarser answer says background, and where it says object, and answers anew (reverse
    and forward attention).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.at_background = ResidualAttention(channels)
        self.at_object = ResidualAttention(channels)
        self.fuse = ConvNorm(2 * channels, channels, 3)
        self.out = nn.Conv2d(channels, 1, 3, padding=1)

    def forward(self, x: torch.Tensor, coarser: torch.Tensor) -> torch.Tensor:
        """Maps a level (B, C, h, w) and the coarser logits to logits (B, 1, h, w)."""
        share = _resize(coarser, x).sigmoid()
        both = self.at_background(x * (1 - share) + x), self.at_object(x * share + x)
        return self.out(self.fuse(torch.cat(both, 1)))


class SegmentationHead(nn.Module):
    """Everything behind the backbone.

    Args:
        config: Widths and grouping.
        level_channels: Channels of the backbone's four maps, strides 4 to 32.
    """

    def __init__(self, config: WsSamConfig, level_channels: LevelChannels) -> None:
        super().__init__()
        width, self.released = config.channels, config.head == "released"
        self.texture = nn.ModuleList(
            TextureBlock(channels, width, released=self.released) for channels in level_channels
        )
        self.grouping = nn.ModuleDict(
            {
                str(level): FeatureGrouping(width, config.prototypes, config.iterations, config.reconstruct)
                for level in config.grouping_levels
            }
        )
        self.fusion = nn.ModuleList(TopDownFusion(width, released=self.released) for _ in range(LEVELS - 1))
        self.prior = GlobalPrior(level_channels[-1], width)
        self.stages = nn.ModuleList(AttentionStage(width) for _ in range(LEVELS))

    def forward(self, levels: tuple[torch.Tensor, ...]) -> WsSamOutput:
        """Maps the backbone's four maps (B, C_k, h_k, w_k) to logits at the levels' own sizes, coarse to fine."""
        features = [block(level) for block, level in zip(self.texture, levels, strict=True)]
        groups: Groups = {}
        for name, grouping in self.grouping.items():
            features[int(name) - 1], groups[int(name)] = grouping(features[int(name) - 1])
        joined = features[-1]
        for at in reversed(range(LEVELS - 1)):
            features[at], joined = self.fusion[at](features[at], joined)
        logits = [self.prior(levels[-1])]
        seen = _enlarged(logits[0], levels[0]) if self.released else logits[0]
        for at in reversed(range(LEVELS)):
            logits.append(self.stages[at](features[at], seen))
            seen = logits[-1]
        return WsSamOutput(tuple(logits), groups)


def _enlarged(x: torch.Tensor, finest: torch.Tensor) -> torch.Tensor:
    """Maps at the size of the picture, whose finest level has a quarter of its sides."""
    size = (FINEST * finest.shape[-2], FINEST * finest.shape[-1])
    return F.interpolate(x, size, mode="bilinear", align_corners=False)


def _resize(x: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return F.interpolate(x, like.shape[-2:], mode="bilinear", align_corners=True)
