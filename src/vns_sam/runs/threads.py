"""Work in this process: while a model works on one item, the next is read and the last becomes files."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack

from vns_sam.runs.job import Attempt, Done, Item, Made, Work, attempt

AHEAD = 3
"""Items at work beside the one that is being written: one in each step."""


def in_line(work: Work[Item, Made], items: Sequence[Item], /) -> Iterator[Done[Made]]:
    """One item after the other, each when it is asked for."""
    for item in items:
        yield attempt(work, item)


def overlapped(work: Work[Item, Made], items: Sequence[Item], /) -> Iterator[Done[Made]]:
    """One thread for each step of an item, in the order of the items: the results are those of :func:`in_line`."""
    with ExitStack() as stack:
        readers, workers, encoders = (ThreadPoolExecutor(1) for _ in range(3))
        for pool in (encoders, workers, readers):
            stack.callback(pool.shutdown, cancel_futures=True)
        window: deque[Future[Done[Made]]] = deque()
        for item in items:
            window.append(_chained(work, item, readers, workers, encoders))
            if len(window) > AHEAD:
                yield window.popleft().result()
        while window:
            yield window.popleft().result()


def _chained(work: Work[Item, Made], item: Item, *pools: ThreadPoolExecutor) -> Future[Done[Made]]:
    readers, workers, encoders = pools
    read = readers.submit(Attempt(work, item).read)
    worked = workers.submit(lambda: read.result().work())
    return encoders.submit(lambda: worked.result().encode())
