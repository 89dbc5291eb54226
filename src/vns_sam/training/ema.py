"""An exponential moving average of what a task trains; it is often a little better than the last weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch

from vns_sam.training.tasks import Task


class Ema:
    """Averages beside the trained tensors; with a decay of 0 there are none and nothing is ever replaced.

    Args:
        task: Whose trained tensors to follow, on its device.
        decay: Weight of the past, below 1. Early on it is lower, (1 + step) / (10 + step), to forget the start.
        averages: Of a checkpoint, to go on from.
    """

    def __init__(self, task: Task, decay: float, averages: Mapping[str, torch.Tensor] | None = None) -> None:
        self.decay = decay
        live = task.trained_state() if decay else {}
        self.averages = {k: (averages or live)[k].to(value.device, copy=True) for k, value in live.items()}

    @torch.no_grad()
    def update(self, task: Task, step: int) -> None:
        """Takes in the weights after ``step`` optimiser steps; counters are copied."""
        decay = min(self.decay, (1 + step) / (10 + step))
        live = task.trained_state() if self.averages else {}
        for key, value in live.items():
            average = self.averages[key]
            average.lerp_(value, 1 - decay) if value.is_floating_point() else average.copy_(value)

    @contextmanager
    def applied(self, task: Task) -> Iterator[None]:
        """The task's model has the averages as its weights inside the block."""
        live = task.trained_state() if self.averages else {}
        kept = {key: value.clone() for key, value in live.items()}
        _copy(self.averages, live)
        try:
            yield
        finally:
            _copy(kept, live)


@torch.no_grad()
def _copy(source: Mapping[str, torch.Tensor], target: Mapping[str, torch.Tensor]) -> None:
    for key, value in target.items():
        value.copy_(source[key])
