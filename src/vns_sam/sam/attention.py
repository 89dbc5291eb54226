"""Attention of a mask decoder: a handful of tokens and thousands of image positions, both ways.

Shapes: P prompts, T tokens, C channels, S positions.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from vns_sam.sam.config import MaskDecoderConfig
from vns_sam.sam.recording import being_recorded


class Attention(nn.Module):
    """Multi-head attention whose inner width is ``hidden_size / downsample_rate``.

    In a mask decoder a handful of tokens meet thousands of image positions, and three things are known about it. What
    all prompts share is projected once for all of them. Where the image is a prompt's own, its projection is folded
    into the few: q (Wk x) = (q Wk) x costs one product with heads x tokens vectors instead of one with the inner
    width. And a sum of weights is 1, so biases of keys drop out and biases of values join the result.

    Args:
        config: The decoder's.
        downsample_rate: Of the inner width.
        image: Which side the image's positions are. Told to who records: a graph knows neither number. What runs
            counts.
    """

    def __init__(
        self, config: MaskDecoderConfig, downsample_rate: int, image: Literal["query", "key"] | None = None
    ) -> None:
        super().__init__()
        self.image = image
        self.inner = config.hidden_size // downsample_rate
        self.heads = config.num_attention_heads
        self.q_proj = nn.Linear(config.hidden_size, self.inner)
        self.k_proj = nn.Linear(config.hidden_size, self.inner)
        self.v_proj = nn.Linear(config.hidden_size, self.inner)
        self.out_proj = nn.Linear(self.inner, config.hidden_size)

    def forward(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """Attends from (P, T, C) to (P, S, C). Either side may be (1, ..., C), which all P share."""
        if being_recorded():
            if self.image is None:
                return self._directly(query, key, value)
            return self._to_many(query, key, value) if self.image == "key" else self._from_many(query, key, value)
        few, many = sorted((query.shape[1], key.shape[1]))
        if query.shape[0] == key.shape[0] and self.heads * few > min(self.inner, many):
            return self._directly(query, key, value)
        if query.shape[0] != key.shape[0]:
            return self._with_shared(query, key, value)
        return self._to_many(query, key, value) if query.shape[1] == few else self._from_many(query, key, value)

    def _directly(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        q, k, v = (self._split(x) for x in (self.q_proj(query) * self._scale, self.k_proj(key), self.v_proj(value)))
        return self.out_proj(((q @ k.mT).softmax(-1) @ v).transpose(1, 2).flatten(2))

    def _with_shared(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """The side that all prompts share is projected once; to its heads the prompts are rows of one matrix."""
        q, k, v = (self._split(x) for x in (self.q_proj(query) * self._scale, self.k_proj(key), self.v_proj(value)))
        if key.shape[0] == 1:
            rows = q.transpose(0, 1).flatten(1, 2)
            found = (rows @ k[0].mT).softmax(-1) @ v[0]
            return self.out_proj(found.unflatten(1, (query.shape[0], -1)).permute(1, 2, 0, 3).flatten(2))
        scores = (k.transpose(0, 1).flatten(1, 2) @ q[0].mT).unflatten(1, (key.shape[0], -1)).transpose(0, 1)
        return self._mix(scores, v)

    def _to_many(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """From few tokens to the many positions of a prompt's own image."""
        folded = self._split(self.q_proj(query) * self._scale) @ self._by_head(self.k_proj)
        weights = (folded.flatten(1, 2) @ key.mT).softmax(-1)
        found = (weights @ value).unflatten(1, (self.heads, -1)) @ self._by_head(self.v_proj).mT
        return self.out_proj(found.transpose(1, 2).flatten(2) + self.v_proj.bias)

    def _from_many(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """From the many positions of a prompt's own image to few tokens."""
        k = self._split(self.k_proj(key) * self._scale)
        folded = (k @ self._by_head(self.q_proj)).flatten(1, 2)
        offset = (k @ self.q_proj.bias.unflatten(0, (self.heads, -1, 1))).flatten(1, 2)
        scores = torch.baddbmm(offset, folded, query.mT).unflatten(1, (self.heads, -1))
        return self._mix(scores, self._split(self.v_proj(value)))

    def _mix(self, scores: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """(P, many, C) from scores (P, heads, few, many) and values (P, heads, few, inner / heads), whose way out is
        shorter than that of the many.
        """
        out = self.out_proj.weight.mT.unflatten(0, (self.heads, -1))
        mixed = values @ out + self.out_proj.bias / self.heads
        return scores.softmax(2).flatten(1, 2).mT @ mixed.flatten(1, 2)

    @property
    def _scale(self) -> float:
        return (self.inner // self.heads) ** -0.5

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        """(P, T, inner) as (P, heads, T, inner / heads)."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def _by_head(self, projection: nn.Linear) -> torch.Tensor:
        """Weights of a projection as (heads, inner / heads, C)."""
        return projection.weight.unflatten(0, (self.heads, -1))
