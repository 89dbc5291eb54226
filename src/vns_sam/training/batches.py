"""Samples gathered into batches, by processes of their own where the recipe asks for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from vns_sam.errors import VnsSamError

Collate = Callable[[list[dict[str, np.ndarray]]], dict[str, Any]]
"""Stacks samples into tensors."""


class Batches(Dataset[Any]):
    """Batches by the positions of their samples. An error that a user can mend is given instead of being raised: torch
    would make one long text of it and of where it came from.

    Args:
        samples: The samples by position.
        collate: Stacks them.
    """

    def __init__(self, samples: Dataset[dict[str, np.ndarray]], collate: Collate) -> None:
        self.samples, self.collate = samples, collate

    def __getitem__(self, positions: Sequence[int]) -> dict[str, Any] | VnsSamError:
        """The batch of the samples at some positions, or why there is none."""
        try:
            return self.collate([self.samples[position] for position in positions])
        except VnsSamError as error:
            return error


def load_batches(
    samples: Dataset[dict[str, np.ndarray]], positions: list[list[int]], collate: Collate, *, workers: int
) -> Iterator[dict[str, torch.Tensor]]:
    """Makes batches in their order.

    Args:
        samples: The samples by position.
        positions: Of the samples of each batch.
        collate: Stacks them.
        workers: Processes that prepare batches ahead; 0 makes each when it is asked for.

    Raises:
        VnsSamError: A sample cannot be made; the error is that of the sample, whichever process made it.
    """
    loader = DataLoader(
        Batches(samples, collate),
        batch_size=None,
        sampler=positions,
        collate_fn=_as_it_is,
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        pin_memory=torch.cuda.is_available(),
    )
    for batch in loader:
        if isinstance(batch, VnsSamError):
            raise batch
        yield batch


def gathered(loaded: Iterator[dict[str, torch.Tensor]], accumulate: int) -> Iterator[list[dict[str, torch.Tensor]]]:
    """Groups batches into optimiser steps."""
    batches = []
    for batch in loaded:
        batches.append(batch)
        if len(batches) == accumulate:
            yield batches
            batches = []


def _as_it_is(batch: Any) -> Any:
    return batch
