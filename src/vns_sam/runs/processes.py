"""Processes that work while the caller goes on."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from typing import Any

import cv2

from vns_sam.errors import UsageError, VnsSamError
from vns_sam.runs.job import Done, Item, Made, Work, attempt, refused
from vns_sam.runs.memory import Ceiling, held

ATTEMPTS = 2
"""How many processes an item may bring down when it is alone with them; then it has failed. And how often in a row the
first process may die before it has the work."""
_BROKEN = (BrokenProcessPool, OSError)
"""What a pool raises when a process has died: the second when it was just about to start another."""
AHEAD = 2
"""Items that wait for each process, so that none waits for the caller."""


def process_pool(workers: int, prepare: Callable[..., None] | None = None, *arguments: Any) -> ProcessPoolExecutor:
    """Starts ``workers`` >= 1 fresh processes on demand; each computes in one thread and ends with its parent.

    They are spawned, not forked, since a process that has run PyTorch must not be forked: a script that calls this
    outside of ``if __name__ == "__main__"`` breaks the pool.

    Args:
        workers: How many.
        prepare: Called once in each with ``arguments``; must be picklable.
        arguments: See above.
    """
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_prepare, initargs=(prepare, arguments))


def end_pool(pool: ProcessPoolExecutor) -> None:
    """Ends a pool and waits for its processes.

    Those of one that broke are killed: a process that was being started at that moment is not told to end, and would be
    waited for without end.
    """
    if pool._broken:  # from Python 3.14 on there is kill_workers
        for process in [*(pool._processes or {}).values()]:
            process.kill()
    pool.shutdown(cancel_futures=True)


@dataclass(frozen=True)
class Processes:
    """A :data:`vns_sam.runs.job.Mapper` that spreads items over processes of this machine.

    The work travels to each process once, with its model or with what loads it. An item whose process dies, as the
    kernel kills one when memory runs out, is tried again alone; one that brings down another process has failed.

    Attributes:
        workers: How many processes, from 1 on.
        ceiling: What the items at work may take together.
    """

    workers: int
    ceiling: Ceiling = field(default_factory=Ceiling)

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise UsageError(f"expected --workers from 1 on, found {self.workers}")

    def __call__(self, work: Work[Item, Made], items: Sequence[Item], /) -> Iterator[Done[Made]]:
        """Does the work, in the order in which it is ready.

        Raises:
            VnsSamError: The processes die again before any work.
        """
        packed = pickle.dumps(work.portable())
        waiting, suspects = deque(items), deque[Item]()
        deaths: dict[str, int] = {}
        false_starts = 0
        while waiting or suspects:
            alone = bool(suspects)
            queue = suspects if alone else waiting
            with _Crew(1 if alone else min(self.workers, len(items)), packed) as crew:
                if not crew.is_ready():  # killed on the way, or a script that starts itself again and again
                    false_starts += 1
                    if false_starts == ATTEMPTS:
                        raise worker_died()
                    continue
                false_starts = 0
                lost = yield from crew.work(work, queue, 1 if alone else AHEAD * self.workers, self.ceiling)
            for item in lost:
                name = work.name(item)
                deaths[name] = deaths.get(name, 0) + alone
                if deaths[name] >= ATTEMPTS:
                    yield Done(name, error=f"{name}: {ATTEMPTS} processes died at it; is there memory for it?")
                else:
                    suspects.append(item)


class _Crew:
    """Processes that live until one of them dies."""

    def __init__(self, workers: int, packed: bytes) -> None:
        self._pool = process_pool(workers, _take, packed)

    def __enter__(self) -> _Crew:
        return self

    def __exit__(self, *_: object) -> None:
        end_pool(self._pool)

    def is_ready(self) -> bool:
        """Waits until a process has the work; whether it lived so long."""
        try:
            return self._pool.submit(_ready).result()
        except _BROKEN:
            return False

    def work(
        self, work: Work[Any, Any], queue: deque[Any], ahead: int, ceiling: Ceiling
    ) -> Generator[Done[Any], None, list[Any]]:
        """Takes items from the queue, as many at a time as the ceiling allows; returns those that were at work when a
        process died.
        """
        at_work: dict[Future[Done[Any]], tuple[int, Any]] = {}
        try:
            while queue or at_work:
                while queue and len(at_work) < ahead:
                    weight = work.weight(queue[0])
                    if reason := ceiling.refusal(weight):
                        yield refused(work, queue.popleft(), reason)
                        continue
                    if at_work and held(at_work.values()) + weight > ceiling.bytes:
                        break
                    at_work[self._pool.submit(_do, queue[0])] = weight, queue[0]
                    queue.popleft()
                if not at_work:
                    break
                for future in wait(at_work, return_when=FIRST_COMPLETED).done:
                    done = future.result()
                    del at_work[future]
                    yield done
        except _BROKEN:
            pass
        ready = [future for future in at_work if future.done() and future.exception() is None]
        yield from (future.result() for future in ready)
        return [item for future, (_, item) in at_work.items() if future not in ready]


def worker_died() -> VnsSamError:
    """What to raise when a pool breaks."""
    return VnsSamError(
        "expected the worker processes to live, found one dead",
        hint="use fewer workers, or 0; in a script, guard the call with if __name__ == '__main__'",
    )


_work: Work[Any, Any] | None = None
"""In a worker: what it does."""


def _take(packed: bytes) -> None:
    global _work
    _work = pickle.loads(packed)


def _ready() -> bool:
    return _work is not None


def _do(item: Any) -> Done[Any]:
    assert _work is not None
    return attempt(_work, item)


def _prepare(prepare: Callable[..., None] | None = None, arguments: tuple[Any, ...] = ()) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the caller, which shuts the pool down
    cv2.setNumThreads(1)
    _one_thread()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if prepare is not None:
        prepare(*arguments)


def _one_thread() -> None:
    """Before numpy's and torch's libraries are loaded: as many workers as cores leave one core to each."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"


def _end_with_parent() -> None:
    """Waits for the parent's end: a parent that was killed cannot tell its workers to stop."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
