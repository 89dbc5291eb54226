"""Several processes of one command, as ``torchrun`` starts them."""

from __future__ import annotations

import os
from dataclasses import dataclass

from vns_sam.evaluation.rows import Shard


@dataclass(frozen=True)
class Processes:
    """Which of how many processes this is."""

    index: int
    count: int

    @classmethod
    def of_this_run(cls) -> Processes:
        """As ``torchrun`` told by ``RANK`` and ``WORLD_SIZE``; alone without it."""
        return cls(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))

    @property
    def is_first(self) -> bool:
        """Whether this is the one that reports."""
        return self.index == 0

    @property
    def shard(self) -> Shard:
        """This process's part of the pictures."""
        return Shard(self.index, self.count)

    def wait_for_all(self) -> bool:
        """Waits until all have come here; whether this is the first of them."""
        if self.count > 1:
            from datetime import timedelta

            import torch.distributed as dist

            dist.init_process_group("gloo", timeout=timedelta(days=7))
            dist.barrier()
            dist.destroy_process_group()
        return self.is_first
