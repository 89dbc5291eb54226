"""The one thread that runs the models, and the queue before it, which has an end. Long work lets short work pass."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import suppress
from http import HTTPStatus
from threading import Event
from typing import TYPE_CHECKING, Any, TypeVar

from fastapi import Request

from vns_sam.serving.problems import CLIENT_GONE, Problem
from vns_sam.types import Answers, ImageFeatures, PromptableModel, Prompts

if TYPE_CHECKING:
    import numpy as np

T = TypeVar("T")


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
        self._long = ThreadPoolExecutor(1, "long")

    async def run(self, request: Request | None, work: Callable[[], T]) -> T:
        """Waits for a turn and runs ``work``.

        Args:
            request: Whose client is watched while it waits; None for work of the server's own.
            work: Called in the models' thread.

        Raises:
            Problem: Too many wait already (429), or the client went away.
        """
        return await self._watched(request, self._pool, lambda: self._timed(work))

    async def run_long(self, request: Request, work: Callable[[Turns], T]) -> T:
        """Runs work that takes seconds beside the models' thread: it gets that for one call of a model at a time, so
        short work waits for no more than such a call. One piece at a time; it ends where its client hangs up. What
        needs no model takes no turn.

        Args:
            request: Whose client is watched.
            work: Called in a thread of its own with what hands it the models' thread.

        Raises:
            Problem: Too many wait already (429), or the client went away.
        """
        turns = Turns(self._pool)
        return await self._watched(request, self._long, lambda: work(turns), turns.gone)

    async def _watched(
        self, request: Request | None, pool: ThreadPoolExecutor, work: Callable[[], T], gone: Event | None = None
    ) -> T:
        if self.waiting > self.queue:
            wait = max(1, math.ceil(self.waiting * self._seconds))
            raise Problem(HTTPStatus.TOO_MANY_REQUESTS, "the server is busy", hint="try again soon", retry_after=wait)
        self.waiting += 1
        job = asyncio.wrap_future(pool.submit(work))
        watch = asyncio.ensure_future(_gone(request)) if request is not None else None
        try:
            both: set[asyncio.Future[Any]] = {job, watch} if watch else {job}
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if gone is not None and not job.done():
                gone.set()
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
        self._long.shutdown(wait=False, cancel_futures=True)
        self._pool.shutdown(cancel_futures=True)

    def _timed(self, work: Callable[[], T]) -> T:
        start = time.perf_counter()
        try:
            return work()
        finally:
            self._seconds += 0.2 * (time.perf_counter() - start - self._seconds)


class Turns:
    """Hands the models' thread to long work, one call at a time.

    Args:
        pool: The models' thread.

    Attributes:
        gone: Set once nobody waits for the work any longer; its next turn ends it.
    """

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool
        self.gone = Event()

    def go_on(self) -> None:
        """Ends the work where nobody waits for it: to be called now and then by work that takes no turns.

        Raises:
            Problem: The client went away.
        """
        if self.gone.is_set():
            raise Problem(CLIENT_GONE, "the client went away")

    def take(self, work: Callable[[], T]) -> T:
        """Waits for a turn and gives what ``work`` does.

        Raises:
            Problem: The client went away, or the server stops.
        """
        self.go_on()
        stops = Problem(HTTPStatus.SERVICE_UNAVAILABLE, "the server stops", retry_after=5)
        try:
            turn = self._pool.submit(work)
        except RuntimeError:  # the pool is shut
            raise stops from None
        try:
            return turn.result()
        except CancelledError:
            raise stops from None

    def model(self, model: PromptableModel) -> PromptableModel:
        """The same model, whose every call waits for its turn."""
        return _TakingTurns(model, self)


class _TakingTurns:
    """See :meth:`Turns.model`."""

    def __init__(self, model: PromptableModel, turns: Turns) -> None:
        self.info, self._model, self._turns = model.info, model, turns

    def encode(self, images: Sequence[np.ndarray]) -> ImageFeatures:
        return self._turns.take(lambda: self._model.encode(images))

    def decode(
        self,
        features: ImageFeatures,
        prompts: Sequence[Prompts] = (),
        image_index: Sequence[int] = (),
        *,
        candidates: bool = False,
        look_again: bool = False,
    ) -> Answers:
        options = {"candidates": candidates, "look_again": look_again}
        return self._turns.take(lambda: self._model.decode(features, prompts, image_index, **options))


async def _gone(request: Request) -> None:
    """Returns once the client has hung up."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
