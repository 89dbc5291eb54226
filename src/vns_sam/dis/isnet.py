"""IS-Net and its ground-truth encoder (Qin et al. 2022, section 4), with five channels in as DIS-SAM has it.

Tensor names are those of both releases, so that their checkpoints load as they are.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import nn

from vns_sam.dis.rsu import DilatedRsu, Rsu, enlarge, halve

FEATURE_CHANNELS = (64, 64, 128, 256, 512, 512)
"""Channels of the six supervised maps at full width; they lie at 1/2, 1/4, 1/8, 1/16, 1/32 and 1/64."""


COARSE_LOGIT = 1.0
"""Of a coarse mask's pixel before a correction: a probability of .73."""
MASK_CHANNEL = 3


def scale_channels(channels: int, width: float) -> int:
    """Channels of a narrower or wider network: a multiple of 4, at least 8; unchanged at width 1."""
    return channels if width == 1 else max(8, 4 * round(channels * width / 4))


class SideNetwork(nn.Module, ABC):
    """What the two networks share: six maps, and a convolution for each that reads a mask from it."""

    def _add_sides(self, width: float) -> None:
        for number, channels in enumerate(FEATURE_CHANNELS, 1):
            self.add_module(f"side{number}", nn.Conv2d(scale_channels(channels, width), 1, 3, padding=1))

    @abstractmethod
    def features(self, x: torch.Tensor) -> list[torch.Tensor]:
        """The six supervised maps of an input (B, C, H, W), from the finest, 1/2, to the coarsest, 1/64."""

    def side_logits(self, features: list[torch.Tensor], like: torch.Tensor) -> list[torch.Tensor]:
        """Reads masks (B, 1, H, W) before the sigmoid from the first of the six maps, at the size of ``like``."""
        return [enlarge(self.get_submodule(f"side{k}")(x), like) for k, x in enumerate(features, 1)]

    def forward(self, x: torch.Tensor) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Runs the network.

        Args:
            x: (B, C, H, W) of any size.

        Returns:
            Six probability maps (B, 1, H, W), the first being the prediction, and the six supervised maps.
        """
        features = self.features(x)
        return [logits.sigmoid() for logits in self.side_logits(features, x)], features


class IsNet(SideNetwork):
    """IS-Net: a U-shaped network of residual U-blocks.

    Args:
        in_channels: 5 as DIS-SAM (red, green, blue, coarse mask, box), 3 as IS-Net.
        width: Factor on every number of channels. 1 has 44,047,942 parameters with five channels in.
        residual: Whether all six masks are corrections of the coarse one, and none before training. Not in the paper.
    """

    def __init__(self, in_channels: int = 5, width: float = 1.0, *, residual: bool = False) -> None:
        super().__init__()
        self.residual = False

        def c(channels: int) -> int:
            return scale_channels(channels, width)

        self.conv_in = nn.Conv2d(in_channels, c(64), 3, stride=2, padding=1)
        self.stage1 = Rsu(7, c(64), c(32), c(64))
        self.stage2 = Rsu(6, c(64), c(32), c(128))
        self.stage3 = Rsu(5, c(128), c(64), c(256))
        self.stage4 = Rsu(4, c(256), c(128), c(512))
        self.stage5 = DilatedRsu(c(512), c(256), c(512))
        self.stage6 = DilatedRsu(c(512), c(256), c(512))
        self.stage5d = DilatedRsu(2 * c(512), c(256), c(512))
        self.stage4d = Rsu(4, 2 * c(512), c(128), c(256))
        self.stage3d = Rsu(5, 2 * c(256), c(64), c(128))
        self.stage2d = Rsu(6, 2 * c(128), c(32), c(64))
        self.stage1d = Rsu(7, 2 * c(64), c(16), c(64))
        self._add_sides(width)
        if residual:
            self.make_residual()

    def make_residual(self) -> None:
        """Makes all six masks corrections of the coarse one, and none until they are trained further."""
        self.residual = True
        for number in range(1, len(FEATURE_CHANNELS) + 1):
            for parameter in self.get_submodule(f"side{number}").parameters():
                nn.init.zeros_(parameter)

    def side_logits(self, features: list[torch.Tensor], like: torch.Tensor) -> list[torch.Tensor]:
        """As any side network's; a residual network's are added to the coarse mask's own, in the input ``like``."""
        logits = super().side_logits(features, like)
        if not self.residual:
            return logits
        coarse = COARSE_LOGIT * (2 * like[:, MASK_CHANNEL : MASK_CHANNEL + 1] - 1)
        return [found + coarse for found in logits]

    def features(self, x: torch.Tensor) -> list[torch.Tensor]:
        """The five decoder maps and the coarsest encoder map, from the finest to the coarsest."""
        skips = [self.stage1(self.conv_in(x))]
        for stage in (self.stage2, self.stage3, self.stage4, self.stage5, self.stage6):
            skips.append(stage(halve(skips[-1])))
        maps = [skips.pop()]
        for stage in (self.stage5d, self.stage4d, self.stage3d, self.stage2d, self.stage1d):
            skip = skips.pop()
            maps.append(stage(torch.cat([enlarge(maps[-1], skip), skip], 1)))
        return maps[::-1]

    def mask_logits(self, x: torch.Tensor) -> torch.Tensor:
        """The prediction alone, (B, 1, H, W) before the sigmoid; the five coarser masks are not read."""
        return self.side_logits(self.features(x)[:1], x)[0]


class GtEncoder(SideNetwork):
    """Encoder of masks whose maps IS-Net learns to reproduce; not needed after training.

    Args:
        width: That of the IS-Net. 1 has 6,877,734 parameters.
    """

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()

        def c(channels: int) -> int:
            return scale_channels(channels, width)

        self.conv_in = _ConvIn(1, c(16))
        self.stage1 = Rsu(7, c(16), c(16), c(64))
        self.stage2 = Rsu(6, c(64), c(16), c(64))
        self.stage3 = Rsu(5, c(64), c(32), c(128))
        self.stage4 = Rsu(4, c(128), c(32), c(256))
        self.stage5 = DilatedRsu(c(256), c(64), c(512))
        self.stage6 = DilatedRsu(c(512), c(64), c(512))
        self._add_sides(width)

    def features(self, x: torch.Tensor) -> list[torch.Tensor]:
        """The six stages' maps of masks (B, 1, H, W) in [0, 1]."""
        maps = [self.stage1(self.conv_in(x))]
        for stage in (self.stage2, self.stage3, self.stage4, self.stage5, self.stage6):
            maps.append(stage(halve(maps[-1])))
        return maps


class _ConvIn(nn.Module):
    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1)
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.bn(self.conv(x)))
