"""The tiny backbone: an EfficientNet-Lite on a stride-16 grid, and prompts that are drawn as well as told.

SAM learns to place a prompt from its tokens alone, at the cost of eleven million pictures. Drawing the box and
the clicks on the grid and letting a few convolutions mix them with the image teaches a small model the same
within minutes. Both parts are ours; the decoder behind them is SAM's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self, cast

import torch
import torch.nn.functional as F
from torch import nn

from vns_sam.errors import CheckpointError
from vns_sam.sam.architectures import LiteConfig
from vns_sam.sam.encoders.adapter import TinyAdapter
from vns_sam.sam.encoders.norms import WithStoredNorms
from vns_sam.sam.mask_decoder import LayerNorm2d
from vns_sam.sam.pointwise import pointwise
from vns_sam.sam.prompt_encoder import MaskEmbedding
from vns_sam.sam.recording import being_recorded
from vns_sam.types import PromptBatch

STEM = 32
"""Channels of the stem in all sizes of EfficientNet-Lite."""
STAGES = ((3, 1, 1), (3, 2, 6), (5, 2, 6), (3, 2, 6), (5, 1, 6), (5, 2, 6), (3, 1, 6))
"""Kernel, stride and expansion of the stages: EfficientNet's table (Tan and Le 2019), without squeeze-and-excite."""
EXPORTED = (1, 2, 4, 6)
"""Stages whose outputs are the four levels: strides 4, 8, 16 and 32."""


class ConvBn(nn.Sequential):
    """Convolution with TensorFlow's "same" padding, batch norm, and ReLU6 unless linear."""

    def __init__(self, in_ch: int, out_ch: int, kernel: int, stride: int = 1, groups: int = 1, *, linear: bool = False):
        before = (kernel - stride) // 2
        after = kernel - stride - before
        pad: nn.Module = nn.ZeroPad2d((before, after, before, after)) if stride > 1 else nn.Identity()
        conv = nn.Conv2d(in_ch, out_ch, kernel, stride, 0 if stride > 1 else kernel // 2, groups=groups, bias=False)
        act: nn.Module = nn.Identity() if linear else nn.ReLU6(inplace=True)
        super().__init__(pad, conv, nn.BatchNorm2d(out_ch, eps=1e-3), act)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps (B, in_ch, H, W) to (B, out_ch, H / stride, W / stride).

        A norm with stored statistics is one factor and one offset for each channel. Put into the convolution they
        cost its weights, not its map: a quarter less time for the whole encoder. Who runs a graph does so by itself.
        """
        conv, norm = cast(nn.Conv2d, self[1]), cast(nn.BatchNorm2d, self[2])
        if norm.training or norm.running_mean is None or norm.running_var is None or being_recorded():
            return self[3](norm(conv(self[0](x))))
        scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
        weight, bias = conv.weight * scale[:, None, None, None], norm.bias - norm.running_mean * scale
        if conv.kernel_size == (1, 1):
            return self[3](pointwise(x, weight, bias))
        return self[3](F.conv2d(self[0](x), weight, bias, conv.stride, conv.padding, groups=conv.groups))


class MbConv(nn.Module):
    """Inverted residual without squeeze-and-excite."""

    def __init__(self, in_ch: int, out_ch: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = in_ch * expansion
        self.residual = stride == 1 and in_ch == out_ch
        self.expand: nn.Module = ConvBn(in_ch, wide, 1) if expansion > 1 else nn.Identity()
        self.depthwise = ConvBn(wide, wide, kernel, stride, groups=wide)
        self.project = ConvBn(wide, out_ch, 1, linear=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps (B, in_ch, H, W) to (B, out_ch, H / stride, W / stride)."""
        y = self.project(self.depthwise(self.expand(x)))
        return x + y if self.residual else y


class MixBlock(nn.Module):
    """A residual block of a wide depthwise and two pointwise convolutions (Liu et al. 2022)."""

    def __init__(self, channels: int, kernel: int = 7, expansion: int = 2) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels)
        self.norm = LayerNorm2d(channels)
        self.expand = nn.Conv2d(channels, channels * expansion, 1)
        self.project = nn.Conv2d(channels * expansion, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Keeps the shape (B, C, H, W)."""
        hidden = F.gelu(pointwise(self.norm(self.depthwise(x)), self.expand.weight, self.expand.bias))
        return x + pointwise(hidden, self.project.weight, self.project.bias)


class TinyEncoder(WithStoredNorms):
    """An EfficientNet-Lite and a neck that gathers its strides 4 to 32 on the stride-16 grid.

    Finer maps are folded into channels (space to depth), so the grid keeps their detail. Batch norms use their
    stored statistics always: batches of a promptable model are small and mixed.
    """

    def __init__(self, config: LiteConfig, hidden_size: int = 256) -> None:
        super().__init__()
        self.depths = config.depths
        self.stem = ConvBn(3, STEM, 3, 2)
        self.stages = nn.ModuleList()
        in_ch = STEM
        for (kernel, stride, expansion), out_ch, blocks in zip(STAGES, config.widths, config.depths, strict=True):
            widths = [in_ch] + [out_ch] * (blocks - 1)
            self.stages.append(
                nn.Sequential(
                    *(MbConv(w, out_ch, kernel, stride if i == 0 else 1, expansion) for i, w in enumerate(widths))
                )
            )
            in_ch = out_ch
        self.laterals = nn.ModuleList(nn.Conv2d(c, hidden_size, 1) for c in config.level_channels)
        self.neck = nn.Sequential(MixBlock(hidden_size), MixBlock(hidden_size), LayerNorm2d(hidden_size))

    @classmethod
    def for_sam(cls, backbone: LiteConfig, hidden_size: int, image_size: int) -> Self:
        """The encoder of a SAM; its weights do not depend on the input's side ``image_size``."""
        return cls(backbone, hidden_size)

    @staticmethod
    def adapter_for(backbone: LiteConfig) -> TinyAdapter:
        """A fresh adapter for it."""
        return TinyAdapter(backbone.widths, STEM)

    def forward(
        self, pixels: torch.Tensor, adapter: TinyAdapter | None = None
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        """Encodes (I, 3, S, S') into (I, 256, S / 16, S' / 16) and four levels (I, S / 16, S' / 16, C_k); the adapter's
        prompts are added to the stages' outputs.
        """
        x = self.stem(pixels.contiguous(memory_format=torch.channels_last))
        cue = None if adapter is None else adapter.cue(pixels, x)
        maps = []
        for i, stage in enumerate(self.stages):
            x = stage(x)
            if adapter is not None and cue is not None:
                x, cue = adapter.add(x, cue, i)
            if i in EXPORTED:
                maps.append(x)
        levels = [
            F.pixel_unshuffle(maps[0], 4),
            F.pixel_unshuffle(maps[1], 2),
            maps[2],
            F.interpolate(maps[3], size=maps[2].shape[-2:], mode="bilinear", align_corners=False),
        ]
        gathered = torch.stack([conv(level) for conv, level in zip(self.laterals, levels, strict=True)]).sum(0)
        return self.neck(gathered), tuple(level.permute(0, 2, 3, 1) for level in levels)

    def load_imagenet(self, state: Mapping[str, torch.Tensor]) -> None:
        """Takes the published ImageNet weights (keys ``_conv_stem``, ``_blocks.N._expand_conv`` and so on).

        Raises:
            CheckpointError: They are of another network.
        """
        own: dict[str, torch.Tensor] = {}
        names = {
            "_expand_conv": "expand.1",
            "_bn0": "expand.2",
            "_depthwise_conv": "depthwise.1",
            "_bn1": "depthwise.2",
        }
        names |= {"_project_conv": "project.1", "_bn2": "project.2"}
        blocks = [f"stages.{s}.{b}" for s, depth in enumerate(self.depths) for b in range(depth)]
        places = {str(i): place for i, place in enumerate(blocks)}
        for key, value in state.items():
            parts = key.split(".")
            if parts[0] in ("_conv_stem", "_bn0"):
                own[f"stem.{1 if parts[0] == '_conv_stem' else 2}.{parts[1]}"] = value
            elif parts[0] == "_blocks":
                own[f"{places.get(parts[1], key)}.{names.get(parts[2], parts[2])}.{parts[3]}"] = value
        expected = {k: v.shape for k, v in self.state_dict().items() if not k.startswith(("laterals", "neck"))}
        wrong = [k for k in {**expected, **own} if k not in own or expected.get(k) != own[k].shape]
        if wrong:
            raise CheckpointError(
                f"not weights of this EfficientNet-Lite: {len(wrong)} tensors differ, first '{wrong[0]}'"
            )
        self.load_state_dict(own, strict=False)


class PromptMixer(nn.Module):
    """Draws a prompt on the grid and mixes it with the image; the result joins SAM's dense prompt.

    Seven drawn channels at 4g: the box filled, a bump at its centre, positive and negative clicks each as a spot
    and as a wide halo, and the coarse mask as -1 / 1.
    """

    SPOT, HALO = 0.015, 0.1
    """Standard deviation of a click's two bumps as a fraction of the input's side."""

    def __init__(self, hidden_size: int, blocks: int) -> None:
        super().__init__()
        self.embed = MaskEmbedding(hidden_size, in_channels=7, width=64)
        self.blocks = nn.Sequential(*(MixBlock(hidden_size) for _ in range(blocks)))

    def forward(self, embeddings: torch.Tensor, batch: PromptBatch) -> torch.Tensor:
        """Dense prompt (P, C, g, g') for image embeddings (P, C, g, g'), or (1, C, g, g') for all."""
        drawn = embeddings + self.embed(self.draw(batch, embeddings.shape[-2] * 4, embeddings.shape[-1] * 4))
        drawn = drawn.contiguous(memory_format=torch.channels_last)
        return self.blocks(drawn) - embeddings

    def draw(self, batch: PromptBatch, height: int, width: int) -> torch.Tensor:
        """Draws P prompts, given in pixels of an input four times as large, as (P, 7, height, width)."""
        device = batch.image_index.device
        y = (torch.arange(height, device=device) * 4.0 + 1.5)[:, None]
        x = (torch.arange(width, device=device) * 4.0 + 1.5)[None, :]
        canvas = torch.zeros(batch.image_index.shape[0], 7, height, width, device=device)
        if batch.boxes is not None:
            x0, y0, x1, y1 = (c[:, None, None] for c in batch.boxes.float().unbind(1))
            inside = torch.minimum(torch.minimum(x - x0, x1 - x), torch.minimum(y - y0, y1 - y))
            canvas[:, 0] = (inside / 4 + 0.5).clamp(0, 1)
            across = (x - (x0 + x1) / 2) / (x1 - x0 + 1)
            down = (y - (y0 + y1) / 2) / (y1 - y0 + 1)
            canvas[:, 1] = torch.exp(-8 * (across**2 + down**2))
        if batch.points is not None and batch.labels is not None:
            px, py = (c[:, :, None, None] for c in batch.points.float().unbind(2))
            squared = ((x - px) ** 2 + (y - py) ** 2) / (4.0 * max(height, width)) ** 2
            for channel, label in ((2, 1), (4, 0)):
                far = torch.where((batch.labels == label)[:, :, None, None], squared, torch.inf).amin(1)
                canvas[:, channel] = torch.exp(-far / (2 * self.SPOT**2))
                canvas[:, channel + 1] = torch.exp(-far / (2 * self.HALO**2))
        if batch.masks is not None:
            canvas[:, 6] = 2 * batch.masks[:, 0] - 1
        return canvas
