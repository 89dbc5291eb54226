"""Widths and depths of the image encoders that a SAM can stand on: numbers alone, stored in a checkpoint's config."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, Literal

from vns_sam.errors import UsageError
from vns_sam.sam.model_config import Between, Checked, Count, Width

Four = tuple[Width, Width, Width, Width]
"""One number for each of an encoder's four stages, shallow to deep."""
Seven = tuple[Width, Width, Width, Width, Width, Width, Width]
Block = Annotated[int, Between(0, 1023)]
"""The place of a block, from 0 on."""


def _check_heads(widths: Four, heads: Four) -> None:
    for width, count in zip(widths, heads, strict=True):
        if width % count:
            raise UsageError(f"widths must be multiples of heads {list(heads)}, found {list(widths)}")


def _folded(widths: Four) -> Four:
    """Channels of the four levels of such an encoder: its finer stages, strides 4 and 8, are folded onto the grid of
    stride 16, 4 x 4 and 2 x 2 cells into one.
    """
    return (16 * widths[0], 4 * widths[1], widths[2], widths[3])


@dataclass(frozen=True)
class EncoderConfig(Checked, ABC):
    """What the configurations of all encoders have; a ``config.json`` may hold any that derives from it."""

    @property
    @abstractmethod
    def kind(self) -> str:
        """What ``config.json`` and :data:`vns_sam.sam.registry.ENCODERS` call it: a literal field with a default."""

    @property
    @abstractmethod
    def level_channels(self) -> Four:
        """Channels of the four levels, shallow to deep."""


@dataclass(frozen=True)
class LiteConfig(EncoderConfig):
    """EfficientNet-Lite (Tan and Le 2019), the encoder of the bundled models.

    Attributes:
        widths, depths: Channels and blocks of the seven stages; the defaults are EfficientNet-Lite0's.
    """

    widths: Seven = (16, 24, 40, 80, 112, 192, 320)
    depths: Seven = (1, 2, 2, 3, 3, 4, 1)
    kind: Literal["lite"] = "lite"

    @property
    def level_channels(self) -> Four:
        """Channels of the four levels, the stages that end at strides 4, 8, 16 and 32."""
        _, first, second, _, third, _, fourth = self.widths
        return _folded((first, second, third, fourth))


Lite = Literal["efficientnet-lite0", "efficientnet-lite2"]
LITES: dict[str, LiteConfig] = {
    "efficientnet-lite0": LiteConfig(),
    "efficientnet-lite2": LiteConfig((16, 24, 48, 88, 120, 208, 352), (1, 3, 3, 4, 4, 5, 1)),
}
"""The published ones."""


@dataclass(frozen=True)
class TinyVitConfig(EncoderConfig):
    """TinyViT (Wu et al. 2022) as MobileSAM takes it: its last stage keeps the grid of the third, stride 16.

    Attributes:
        widths, depths: Channels and blocks of the four stages, whose strides are 4, 8, 16 and 16.
        heads: Attention heads of each stage; the first has convolutions instead.
        windows: Sides of the windows attended in, in grid cells; the first is not used.
    """

    widths: Four = (64, 128, 160, 320)
    depths: Four = (2, 2, 6, 2)
    heads: Four = (2, 4, 5, 10)
    windows: Four = (7, 7, 14, 7)
    kind: Literal["tiny_vit"] = "tiny_vit"

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_heads(self.widths, self.heads)

    @property
    def level_channels(self) -> Four:
        """Channels of the four levels."""
        return _folded(self.widths)


@dataclass(frozen=True)
class HieraConfig(EncoderConfig):
    """Hiera (Ryali et al. 2023) as SAM 2 takes it, with a feature pyramid behind it (Ravi et al. 2024).

    Attributes:
        widths, depths, heads: Channels, blocks and attention heads of the stages, whose strides are 4, 8, 16 and 32.
        windows: Sides of the windows attended in, in cells of the stage before that pools and of the stage otherwise.
        global_blocks: Blocks, numbered through, that attend over the whole grid.
        background: Side of the grid of positions that is stretched over the picture.
    """

    widths: Four
    depths: Four
    heads: Four
    global_blocks: tuple[Block, ...]
    windows: Four = (8, 4, 14, 7)
    background: Count = 7
    kind: Literal["hiera"] = "hiera"

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_heads(self.widths, self.heads)

    @property
    def level_channels(self) -> Four:
        """Channels of the four levels."""
        return _folded(self.widths)


@dataclass(frozen=True)
class RopeVitConfig(EncoderConfig):
    """SAM 3's image encoder: a ViT with rotary positions (Carion et al. 2025).

    Attributes:
        width, depth, heads, mlp: Channels, blocks, attention heads, width of the MLPs.
        global_blocks: Blocks that attend over the whole grid; their outputs are the four levels.
        window: Side of the windows that all other blocks attend in, in grid cells.
        patch: Side of a patch in pixels, the stride of the grid.
        pretrained_grid: Side of the grid of learned positions, which is tiled over the picture.
        theta: Base of the rotary frequencies.
    """

    width: Width = 1024
    depth: Count = 32
    heads: Count = 16
    mlp: Width = 4736
    global_blocks: tuple[Block, Block, Block, Block] = (7, 15, 23, 31)
    window: Count = 24
    patch: Annotated[int, Between(4, 64)] = 14
    pretrained_grid: Count = 24
    theta: Annotated[float, Between(1, 1e9)] = 10000.0
    kind: Literal["rope_vit"] = "rope_vit"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width % (4 * self.heads):
            raise UsageError(f"width must be a multiple of 4 x heads ({4 * self.heads}), found {self.width}")
        if list(self.global_blocks) != sorted(set(self.global_blocks)) or self.global_blocks[-1] >= self.depth:
            raise UsageError(f"global_blocks must rise and lie below depth ({self.depth}), found {self.global_blocks}")

    @property
    def level_channels(self) -> Four:
        """All levels are as wide as the ViT."""
        return (self.width, self.width, self.width, self.width)
