"""The one thread that runs the models, and the queue before it, which has an end."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http import HTTPStatus
from typing import Any, TypeVar

from fastapi import Request

from vns_sam.serving.problems import Problem

T = TypeVar("T")
CLIENT_GONE = 499
"""What the log calls a request whose client hung up before its turn."""


class Worker:
    """Runs work one after the other. What its client no longer waits for is never begun.

    Args:
        queue: How many may wait.

    Attributes:
        waiting: How many do, the running one included.
    """

    def __init__(self, queue: int) -> None:
        self.queue = queue
        self.waiting = 0
        self._seconds = 0.2  # what one piece of work took lately
        self._pool = ThreadPoolExecutor(1, "model")

    async def run(self, request: Request | None, work: Callable[[], T]) -> T:
        """Waits for a turn and runs ``work``.

        Args:
            request: Whose client is watched while it waits; None for work of the server's own.
            work: Called in the models' thread.

        Raises:
            Problem: Too many wait already (429), or the client went away.
        """
        if self.waiting > self.queue:
            wait = max(1, math.ceil(self.waiting * self._seconds))
            raise Problem(HTTPStatus.TOO_MANY_REQUESTS, "the server is busy", hint="try again soon", retry_after=wait)
        self.waiting += 1
        job = asyncio.wrap_future(self._pool.submit(self._timed, work))
        watch = asyncio.ensure_future(_gone(request)) if request is not None else None
        try:
            both: set[asyncio.Future[Any]] = {job, watch} if watch else {job}
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if not job.done() and job.cancel():
                raise Problem(CLIENT_GONE, "the client went away")
            return await job
        finally:
            self.waiting -= 1
            if watch:
                watch.cancel()
                with suppress(asyncio.CancelledError):
                    await watch

    def close(self) -> None:
        """Ends what runs, drops what waits."""
        self._pool.shutdown(cancel_futures=True)

    def _timed(self, work: Callable[[], T]) -> T:
        start = time.perf_counter()
        try:
            return work()
        finally:
            self._seconds += 0.2 * (time.perf_counter() - start - self._seconds)


async def _gone(request: Request) -> None:
    """Returns once the client has hung up."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
