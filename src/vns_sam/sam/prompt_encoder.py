"""SAM's prompt encoder, prompt-major. Module names are those of transformers' ``SamPromptEncoder``."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from vns_sam.sam.mask_decoder import LayerNorm2d
from vns_sam.types import PromptBatch

MASK_LOGIT = 10.0
"""A certain pixel of a coarse mask, as a logit."""


class PositionalEmbedding(nn.Module):
    """Random Fourier features of normalised coordinates (Tancik et al. 2020)."""

    positional_embedding: torch.Tensor

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.register_buffer("positional_embedding", torch.randn(2, hidden_size // 2))

    def forward(self, coordinates: torch.Tensor) -> torch.Tensor:
        """Encodes (..., 2) XY in [0, 1] as (..., hidden_size). A half-precision model's angles are float32: half has
        not the digits for a pixel of a thousand.
        """
        frequencies = self.positional_embedding.to(self._wide)
        angles = 2 * torch.pi * ((2 * coordinates.to(self._wide) - 1) @ frequencies)
        return torch.cat([angles.sin(), angles.cos()], dim=-1).to(self.positional_embedding.dtype)

    def grid(self, height: int, width: int) -> torch.Tensor:
        """Encodes the cell centres of a grid as (1, hidden_size, height, width)."""
        device = self.positional_embedding.device
        y = (torch.arange(height, device=device, dtype=self._wide) + 0.5) / height
        x = (torch.arange(width, device=device, dtype=self._wide) + 0.5) / width
        xy = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)
        return self(xy).permute(2, 0, 1)[None]

    @property
    def _wide(self) -> torch.dtype:
        return torch.promote_types(self.positional_embedding.dtype, torch.float32)


class MaskEmbedding(nn.Module):
    """Brings a dense prompt (P, 1, 4g, 4g') to the grid: (P, C, g, g')."""

    def __init__(self, hidden_size: int, in_channels: int = 1, width: int = 16) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width // 4, 2, 2)
        self.layer_norm1 = LayerNorm2d(width // 4)
        self.conv2 = nn.Conv2d(width // 4, width, 2, 2)
        self.layer_norm2 = LayerNorm2d(width)
        self.conv3 = nn.Conv2d(width, hidden_size, 1)

    def forward(self, masks: torch.Tensor) -> torch.Tensor:
        """Two strided convolutions and a projection."""
        hidden = F.gelu(self.layer_norm1(self.conv1(masks.to(self.conv1.weight.dtype))))
        return self.conv3(F.gelu(self.layer_norm2(self.conv2(hidden))))


class SamPromptEncoder(nn.Module):
    """Points and boxes become tokens, masks a dense map (Kirillov et al. 2023, appendix A).

    Args:
        hidden_size: Width of the tokens.
        mask_prompt: How a coarse mask enters, see ``SamConfig``.
        stride: Of the embedding's grid in pixels.
        closed: Whether "not a point" follows boxes too, and stands twice where there is neither point nor box (SAM 2).
    """

    def __init__(
        self,
        hidden_size: int = 256,
        mask_prompt: Literal["logits", "grey"] = "logits",
        *,
        stride: int = 16,
        closed: bool = False,
    ) -> None:
        super().__init__()
        self.mask_prompt, self.stride, self.closed = mask_prompt, stride, closed
        self.shared_embedding = PositionalEmbedding(hidden_size)
        self.mask_embed = MaskEmbedding(hidden_size)
        self.no_mask_embed = nn.Embedding(1, hidden_size)
        self.point_embed = nn.ModuleList(nn.Embedding(1, hidden_size) for _ in range(4))
        self.not_a_point_embed = nn.Embedding(1, hidden_size)

    def forward(self, batch: PromptBatch, grid: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Embeds P prompts of one kind on an image whose embedding has the given grid.

        Returns:
            Sparse (P, N, C): points first, closed by "not a point" where there is no box, then two corners, which SAM
            2 closes too; and dense (P, C, g, g'), or (1, C, g, g') for all where no masks are given.
        """
        size = torch.tensor([grid[1] * self.stride, grid[0] * self.stride], device=self.no_mask_embed.weight.device)
        nowhere = self.not_a_point_embed.weight.expand(batch.image_index.shape[0], 1, -1)
        parts = [self.no_mask_embed.weight.new_zeros(batch.image_index.shape[0], 0, self.no_mask_embed.embedding_dim)]
        if batch.points is not None and batch.labels is not None:
            parts.append(self._embed_points(batch.points, batch.labels, size))
            if batch.boxes is None:
                parts.append(nowhere)
        elif self.closed and batch.boxes is None:
            parts += [nowhere, nowhere]
        if batch.boxes is not None:
            parts += [self._embed_boxes(batch.boxes, size), *([nowhere] if self.closed else [])]
        return torch.cat(parts, dim=1), self._embed_masks(batch, grid)

    def _embed_points(self, points: torch.Tensor, labels: torch.Tensor, size: torch.Tensor) -> torch.Tensor:
        return self.shared_embedding((points + 0.5) / size) + self._kinds(0)[labels]

    def _embed_boxes(self, boxes: torch.Tensor, size: torch.Tensor) -> torch.Tensor:
        return self.shared_embedding((boxes.unflatten(1, (2, 2)) + 0.5) / size) + self._kinds(2)

    def _kinds(self, first: int) -> torch.Tensor:
        """Two learned kinds (2, C): background and object points from 0, corners of a box from 2."""
        return torch.cat([self.point_embed.get_parameter(f"{first + i}.weight") for i in range(2)])

    def _embed_masks(self, batch: PromptBatch, grid: tuple[int, int]) -> torch.Tensor:
        if batch.masks is None:
            return self.no_mask_embed.weight[:, :, None, None].expand(-1, -1, *grid)
        grey = self.mask_prompt == "grey"
        values = 255.0 * batch.masks if grey else MASK_LOGIT * (2 * batch.masks - 1)
        return self.mask_embed(values)
