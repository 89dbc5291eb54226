"""Work in this process: while a model works on one item, the next is read and the last becomes files."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

from vns_sam.runs.job import Attempt, Done, Item, Job, attempt

AHEAD = 3
"""Items at work beside the one that is being written: one in each step."""


def in_line(job: Job[Item], items: Sequence[Item]) -> Iterator[Done]:
    """One item after the other, each when it is asked for."""
    for item in items:
        yield attempt(job, item)


def overlapped(job: Job[Item], items: Sequence[Item]) -> Iterator[Done]:
    """One thread for each step of an item, in the order of the items: the results are those of :func:`in_line`."""
    with ExitStack() as stack:
        readers, workers, encoders = (ThreadPoolExecutor(1) for _ in range(3))
        for pool in (encoders, workers, readers):
            stack.callback(pool.shutdown, cancel_futures=True)
        window: deque[Future[Done]] = deque()
        for item in items:
            window.append(_chained(job, item, readers, workers, encoders))
            if len(window) > AHEAD:
                yield window.popleft().result()
        while window:
            yield window.popleft().result()


def _chained(job: Job[Any], item: Any, *pools: ThreadPoolExecutor) -> Future[Done]:
    readers, workers, encoders = pools
    read = readers.submit(Attempt(job, item).read)
    worked = workers.submit(lambda: read.result().work())
    return encoders.submit(lambda: worked.result().encode())
