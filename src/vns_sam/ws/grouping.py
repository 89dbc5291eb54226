"""Multi-scale feature grouping (He et al. 2023): learnt prototypes gather features that belong together."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from vns_sam.ws.config import Reconstruct

SHARPNESS = 10.0
"""Factor of cosines before the softmax over prototypes."""
FLAT = 1e-3
"""Vectors that differ less than this from their mean are not told apart."""
EPSILON = 1e-8
"""Added to each assignment, so that a prototype that nothing chose divides by something."""


class Positions(nn.Module):
    """Embeds where a place lies: its distances from the four sides, each from 0 to 1, at any size."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(4, channels)

    def forward(self, height: int, width: int) -> torch.Tensor:
        """The embedding (1, C, h, w)."""
        weight = self.linear.weight
        rows = torch.linspace(0, 1, height, device=weight.device, dtype=weight.dtype)
        columns = torch.linspace(0, 1, width, device=weight.device, dtype=weight.dtype)
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        return self.linear(torch.stack([y, x, 1 - y, 1 - x], -1)).permute(2, 0, 1)[None]


class Prototypes(nn.Module):
    """N prototypes that compete for places (slot attention, Locatello et al. 2020), learnt instead of sampled.

    Args:
        channels: C, of features and prototypes.
        count: N.
        iterations: T, how often the prototypes look again.
        contrast: Whether places and prototypes are compared by what tells them from their like: both less their mean,
            by the cosine. Plain products, as released, differ little between places of one picture: after training
            all places share the prototypes alike, or one prototype has them all.
    """

    def __init__(self, channels: int, count: int, iterations: int, *, contrast: bool) -> None:
        super().__init__()
        self.iterations = iterations
        self.contrast = contrast
        self.initial = nn.Embedding(count, channels)
        self.feature_norm = nn.LayerNorm(channels)
        self.prototype_norm = nn.LayerNorm(channels)
        self.query = nn.Linear(channels, channels)
        self.key = nn.Linear(channels, channels)
        self.value = nn.Linear(channels, channels)
        self.update = nn.GRUCell(channels, channels)
        self.refine = nn.Sequential(nn.LayerNorm(channels), *_mlp(channels))

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Lets the prototypes gather features (B, P, C) of P places.

        Returns:
            The prototypes (B, N, C), and the last assignment (B, N, P): for each place shares that add up to 1.
        """
        given = self.feature_norm(features)
        keys, values = self._told_apart(self.key(given)), self.value(given)
        prototypes = self.initial.weight.expand(len(features), -1, -1)
        scale = SHARPNESS if self.contrast else keys.shape[-1] ** -0.5
        for _ in range(self.iterations):
            queries = self._told_apart(self.query(self.prototype_norm(prototypes)))
            shares = (queries @ keys.transpose(1, 2) * scale).softmax(1)
            weights = shares + EPSILON
            gathered = weights / weights.sum(-1, keepdim=True) @ values
            prototypes = self.update(gathered.flatten(0, 1), prototypes.flatten(0, 1)).view_as(prototypes)
            prototypes = prototypes + self.refine(prototypes)
        return prototypes, shares

    def _told_apart(self, vectors: torch.Tensor) -> torch.Tensor:
        """Vectors (B, M, C) as they are compared."""
        if not self.contrast:
            return vectors
        return F.normalize(vectors - vectors.mean(1, keepdim=True), dim=-1, eps=FLAT)


class FeatureGroups(nn.Module):
    """Rebuilds a map from N prototypes of it.

    Args:
        channels: C.
        count: N.
        iterations: T.
        reconstruct: "assign" gives each place the mixture of prototypes that it was assigned to, and compares by
            contrast, see :class:`Prototypes`. "broadcast", as released, gives each place all prototypes and its
            position: the assignment has no part in it, so that the result is one vector for the picture and a ramp
            that is the same for every picture.
    """

    def __init__(self, channels: int, count: int, iterations: int, reconstruct: Reconstruct) -> None:
        super().__init__()
        self.positions = Positions(channels)
        self.embed = nn.Sequential(nn.LayerNorm(channels), *_mlp(channels))
        self.prototypes = Prototypes(channels, count, iterations, contrast=reconstruct == "assign")
        self.placing = Positions(channels) if reconstruct == "broadcast" else None
        self.project = nn.Conv2d(channels * (count if reconstruct == "broadcast" else 1), channels, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Maps (B, C, h, w) to the rebuilt map of that shape and the assignment (B, N, h, w)."""
        height, width = x.shape[-2:]
        places = (x + self.positions(height, width)).flatten(2).transpose(1, 2)
        prototypes, shares = self.prototypes(self.embed(places))
        if self.placing is None:
            rebuilt = (prototypes.transpose(1, 2) @ shares).unflatten(2, (height, width))
        else:
            rebuilt = (prototypes[..., None, None] + self.placing(height, width)[:, None]).flatten(1, 2)
        return self.project(rebuilt), shares.unflatten(2, (height, width))


class FeatureGrouping(nn.Module):
    """Adds a map's fine and coarse groups to it: F + a F1 + (1 - a) F2, where F1 groups F, and F2 groups F + F1.

    The form is that of a second-order Runge-Kutta step. The gate a is one number for each picture.

    Args:
        channels: C.
        counts: Prototypes N1 of the fine groups and N2 of the coarse ones.
        iterations: T.
        reconstruct: See :class:`FeatureGroups`.
    """

    def __init__(
        self,
        channels: int,
        counts: tuple[int, int] = (4, 2),
        iterations: int = 3,
        reconstruct: Reconstruct = "assign",
    ) -> None:
        super().__init__()
        self.fine = FeatureGroups(channels, counts[0], iterations, reconstruct)
        self.coarse = FeatureGroups(channels, counts[1], iterations, reconstruct)
        self.gate = nn.Sequential(
            nn.Conv2d(2 * channels, channels, 1, bias=False),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, 1, 1, bias=False),
        )

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        """Maps (B, C, h, w) to a map of that shape and the assignments (B, N1, h, w) and (B, N2, h, w)."""
        first, fine = self.fine(x)
        second, coarse = self.coarse(x + first)
        both = torch.cat([first, second], 1)
        gate = (self.gate(F.adaptive_avg_pool2d(both, 1)) + self.gate(F.adaptive_max_pool2d(both, 1))).sigmoid()
        return x + gate * first + (1 - gate) * second, (fine, coarse)


def _mlp(channels: int) -> tuple[nn.Module, nn.Module, nn.Module]:
    return nn.Linear(channels, channels), nn.ReLU(inplace=True), nn.Linear(channels, channels)
