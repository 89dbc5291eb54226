"""Batch norms of encoders whose batches are small and mixed."""

from __future__ import annotations

from typing import Self

from torch import nn


class WithStoredNorms(nn.Module):
    """A network whose batch norms use their stored statistics always, in training too."""

    def train(self, mode: bool = True) -> Self:
        """Switches the mode of everything but the batch norms."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self
