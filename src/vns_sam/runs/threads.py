"""Work in this process: while a model works on one item, the next is read and the last becomes files."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field

from vns_sam.runs.job import Attempt, Done, Item, Made, Work, attempt, refused
from vns_sam.runs.memory import Ceiling, held

AHEAD = 3
"""Items at work beside the one that is being written: one in each step."""


def in_line(work: Work[Item, Made], items: Sequence[Item], /) -> Iterator[Done[Made]]:
    """One item after the other, each when it is asked for."""
    for item in items:
        yield attempt(work, item)


@dataclass(frozen=True)
class Overlapped:
    """One thread for each step of an item, in the order of the items: the results are those of :func:`in_line`.

    Attributes:
        ceiling: What the items at work may take together.
    """

    ceiling: Ceiling = field(default_factory=Ceiling)

    def __call__(self, work: Work[Item, Made], items: Sequence[Item], /) -> Iterator[Done[Made]]:
        """Does the work."""
        with ExitStack() as stack:
            readers, workers, encoders = (ThreadPoolExecutor(1) for _ in range(3))
            for pool in (encoders, workers, readers):
                stack.callback(pool.shutdown, cancel_futures=True)
            window: deque[tuple[int, Future[Done[Made]]]] = deque()
            for item in items:
                weight = work.weight(item)
                while len(window) > AHEAD or (window and held(window) + weight > self.ceiling.bytes):
                    yield window.popleft()[1].result()
                if reason := self.ceiling.refusal(weight):
                    yield from (future.result() for _, future in window)
                    window.clear()
                    yield refused(work, item, reason)
                    continue
                window.append((weight, _chained(work, item, readers, workers, encoders)))
            yield from (future.result() for _, future in window)


overlapped = Overlapped()
"""The usual way."""


def _chained(work: Work[Item, Made], item: Item, *pools: ThreadPoolExecutor) -> Future[Done[Made]]:
    readers, workers, encoders = pools
    read = readers.submit(Attempt(work, item).read)
    worked = workers.submit(lambda: read.result().work())
    return encoders.submit(lambda: worked.result().encode())
