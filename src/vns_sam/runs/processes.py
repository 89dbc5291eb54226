"""Processes that score while the caller goes on."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

import cv2

from vns_sam.errors import VnsSamError

Result = TypeVar("Result")


def process_pool(workers: int) -> ProcessPoolExecutor:
    """Starts ``workers`` >= 1 fresh processes on demand; each computes in one thread and ends with its parent.

    They are spawned, not forked, since a process that has run PyTorch must not be forked: a script that calls this
    outside of ``if __name__ == "__main__"`` breaks the pool.
    """
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_prepare)


def map_in_processes(
    function: Callable[..., Result], *arguments: Iterable[Any], workers: int, chunk: int = 1
) -> Iterator[Result]:
    """Maps a function over arguments, keeping their order.

    Args:
        function: Must be picklable when there are workers, and so must what it takes and returns.
        arguments: As for ``map``.
        workers: Processes; 0 works in the caller.
        chunk: Calls that a process takes at a time.

    Raises:
        VnsSamError: A process has died.
    """
    if workers == 0:
        yield from map(function, *arguments)
        return
    pool = process_pool(workers)
    try:
        yield from pool.map(function, *arguments, chunksize=chunk)
    except BrokenProcessPool:
        raise worker_died() from None
    finally:
        pool.shutdown(cancel_futures=True)


def worker_died() -> VnsSamError:
    """What to raise when a pool breaks."""
    return VnsSamError(
        "expected the processes that score to live, found one dead",
        hint="use fewer workers, or 0; in a script, guard the call with if __name__ == '__main__'",
    )


def _prepare() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the caller, which shuts the pool down
    cv2.setNumThreads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Waits for the parent's end: a parent that was killed cannot tell its workers to stop."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
