"""The ResNet generator of CycleGAN, with the tensor names of its authors' code (``model.1.weight`` and so on)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from vns_sam.sam.model_config import Count, ModelConfig, Width


@dataclass(frozen=True)
class GeneratorConfig(ModelConfig):
    """What defines a generator's tensors.

    Attributes:
        ngf: Channels of the first layer; 64 is the published width.
        blocks: Residual blocks; 9 is what is published for pictures of 256 pixels and more.
    """

    model_type: ClassVar[str] = "cyclegan-generator"
    title: ClassVar[str] = "the generator"

    ngf: Width = 64
    blocks: Count = 9


class ResnetBlock(nn.Module):
    """Two reflected 3 x 3 convolutions with instance norm, added to what comes in."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = (nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3), nn.InstanceNorm2d(channels))
        rest = (nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3), nn.InstanceNorm2d(channels))
        self.conv_block = nn.Sequential(*half, nn.ReLU(inplace=True), *rest)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Keeps the shape (B, C, h, w); h and w are at least 2."""
        return x + self.conv_block(x)


class ResnetGenerator(nn.Module):
    """Translates pictures from one domain into the other (Zhu et al. 2017, section 4 and appendix 7.2).

    A 7 x 7 convolution, two of stride 2, residual blocks on the stride-4 grid, two transposed convolutions, a 7 x 7
    convolution. Instance norms have no weights of their own, so every convolution keeps its bias: 11,378,179
    parameters at the published width.

    Attributes:
        model: All layers in a row; the blocks lie from index 10 on.
    """

    def __init__(self, config: GeneratorConfig | None = None) -> None:
        super().__init__()
        self.config = config or GeneratorConfig()
        width = self.config.ngf
        layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(3, width, 7), *_norm(width)]
        for channels in (width, 2 * width):
            layers += [nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1), *_norm(2 * channels)]
        layers += [ResnetBlock(4 * width) for _ in range(self.config.blocks)]
        for channels in (4 * width, 2 * width):
            up = nn.ConvTranspose2d(channels, channels // 2, 3, stride=2, padding=1, output_padding=1)
            layers += [up, *_norm(channels // 2)]
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(width, 3, 7), nn.Tanh()]
        self.model = nn.Sequential(*layers)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Translates pixels (B, 3, H, W) in [-1, 1] into the same; H and W are multiples of 4, at least 8."""
        return self.model(pixels)


def _norm(channels: int) -> tuple[nn.Module, nn.Module]:
    return nn.InstanceNorm2d(channels), nn.ReLU(inplace=True)


def init_weights(network: nn.Module) -> None:
    """Draws the weights of all convolutions from N(0, 0.02) and sets biases to zero, as published."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, 0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
