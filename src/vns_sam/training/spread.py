"""What makes a step the same however it is spread over processes: batch norm over all of them, and mean losses; and
where a process stands among them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.nn import functional as shared
from typing_extensions import override


class SharedBatchNorm(nn.BatchNorm2d):
    """Batch norm whose statistics in training are those of the pictures of all processes, on any device; torch's own
    ``SyncBatchNorm`` has none for CPUs. Names and tensors are those of ``nn.BatchNorm2d``.
    """

    @override
    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Normalises (B, C, H, W)."""
        if not self.training or not dist.is_initialized() or dist.get_world_size() == 1:
            return super().forward(input)
        wide = input.float()
        own = torch.cat([wide.sum((0, 2, 3)), wide.square().sum((0, 2, 3)), wide.new_full((1,), wide[:, 0].numel())])
        total, squares, count = shared.all_reduce(own).split([self.num_features, self.num_features, 1])
        mean = total / count
        variance = (squares / count - mean.square()).clamp(min=0)
        self._remember(mean.detach(), variance.detach() * count.detach() / (count.detach() - 1).clamp(min=1))
        scale = (variance + self.eps).rsqrt() * self.weight
        shift = self.bias - mean * scale
        return (wide * scale[:, None, None] + shift[:, None, None]).to(input.dtype)

    def _remember(self, mean: torch.Tensor, variance: torch.Tensor) -> None:
        """Follows the moving averages."""
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        rate = self.momentum if self.momentum is not None else 1 / int(self.num_batches_tracked)
        self.running_mean.lerp_(mean.to(self.running_mean), rate)
        self.running_var.lerp_(variance.to(self.running_var), rate)


def share_batch_norm(task: nn.Module) -> None:
    """Makes every batch norm of a task one of all processes; its tensors stay what they are."""
    for part in task.modules():
        if type(part) is nn.BatchNorm2d:
            part.__class__ = SharedBatchNorm


def mean_over_processes(values: Mapping[str, float], accelerator: Any) -> dict[str, float]:
    """The mean of each value over all processes, which have the same names; every process gets it."""
    if accelerator.num_processes == 1:
        return dict(values)
    own = torch.tensor([values[name] for name in values], dtype=torch.float32, device=accelerator.device)
    return dict(zip(values, accelerator.reduce(own, reduction="mean").tolist(), strict=True))


def this_process() -> Any:
    """What accelerate knows of this process: ``device``, ``process_index`` and ``num_processes``."""
    from accelerate.state import PartialState

    return PartialState(cpu=not torch.accelerator.is_available())
