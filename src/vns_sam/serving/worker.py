"""The one thread that runs the models, and the queue before it, which has an end. Long work lets short work pass."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from threading import Event
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from fastapi import Request

from vns_sam.serving.problems import CLIENT_GONE, Problem
from vns_sam.types import Answers, ImageFeatures, PromptableModel, Prompts

if TYPE_CHECKING:
    import numpy as np

T = TypeVar("T")
K = TypeVar("K")


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
        self._shared: dict[Hashable, _Job[Any]] = {}
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
        self._admit()
        source = self._pool.submit(self._timed, work)
        return await self._watched(request, _Job(source, asyncio.wrap_future(source)))

    async def run_once(
        self, request: Request | None, key: Hashable, work: Callable[[], T], keep: Callable[[T], K]
    ) -> K:
        """The same for work that several may want at a time: who asks with the same key while it waits or runs waits
        for it too. It is dropped only where nobody waits any longer before it has begun; once it has, it is kept.

        Args:
            request: Whose client is watched while it waits; None for work of the server's own.
            key: Of the work; who asks with the same one wants the same.
            work: Called in the models' thread, once.
            keep: Called after it with its result, once, where this method was called; gives what all get.

        Raises:
            Problem: Too many wait already (429), or the client went away.
        """
        self._admit()
        job = self._shared.get(key)
        if job is None or job.source.cancelled():
            source = self._pool.submit(self._timed, work)
            job = self._shared[key] = _Job(source, asyncio.ensure_future(_kept(source, keep)))
            job.result.add_done_callback(partial(self._forget, key))
        return await self._watched(request, job)

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
        self._admit()
        turns = Turns(self._pool)
        source = self._long.submit(work, turns)
        return await self._watched(request, _Job(source, asyncio.wrap_future(source)), turns.gone)

    def _admit(self) -> None:
        if self.waiting > self.queue:
            wait = max(1, math.ceil(self.waiting * self._seconds))
            raise Problem(HTTPStatus.TOO_MANY_REQUESTS, "the server is busy", hint="try again soon", retry_after=wait)

    async def _watched(self, request: Request | None, job: _Job[T], gone: Event | None = None) -> T:
        self.waiting += 1
        job.waiting += 1
        watch = asyncio.ensure_future(_gone(request)) if request is not None else None
        try:
            both: set[asyncio.Future[Any]] = {job.result, watch} if watch else {job.result}
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if not job.result.done():
                raise Problem(CLIENT_GONE, "the client went away")
            return await job.result
        finally:
            self.waiting -= 1
            job.waiting -= 1
            if not job.waiting and not job.result.done():
                job.source.cancel()
                if gone is not None:
                    gone.set()
            if watch:
                watch.cancel()
                with suppress(asyncio.CancelledError):
                    await watch

    def _forget(self, key: Hashable, result: asyncio.Future[Any]) -> None:
        job = self._shared.get(key)
        if job is not None and job.result is result:  # else it was dropped, and begun anew
            del self._shared[key]

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


class _Job(Generic[T]):
    """Work that waits or runs.

    Args:
        source: Ends it, as long as it waits.
        result: What comes of it.

    Attributes:
        waiting: How many clients wait for it.
    """

    def __init__(self, source: Future[Any], result: asyncio.Future[T]) -> None:
        self.source, self.result, self.waiting = source, result, 0
        result.add_done_callback(lambda done: done.cancelled() or done.exception())  # told even where nobody waits


async def _kept(source: Future[T], keep: Callable[[T], K]) -> K:
    return keep(await asyncio.wrap_future(source))


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
