"""``vns-sam serve --workers N``: N processes take requests from one address; one that ends is begun again."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType

from vns_sam.errors import DataError, UsageError
from vns_sam.serving.engine import Engine
from vns_sam.serving.relay import Place
from vns_sam.serving.server import build_server
from vns_sam.serving.settings import Settings

logger = logging.getLogger(__name__)

LEAST_MEMORY = 64_000_000
AT_ONCE = 5.0
"""Seconds: a worker that ends sooner than that after its start has a reason that stays."""
ENDING = 40.0
"""Seconds in which a worker ends what it does."""


def run_workers(settings: Settings, count: int, engine: Callable[[], Engine] | None = None) -> None:
    """Serves until it is told to stop.

    Args:
        settings: Of all of them together; each has its part of the memory and of the machine's cores.
        count: How many.
        engine: Makes the models of one; those of the settings when left out.

    Raises:
        UsageError: There is too little memory for so many, or the system cannot do that.
        DataError: The address is taken, or workers end as soon as they begin.
    """
    if not hasattr(socket, "AF_UNIX"):
        raise UsageError("several workers need sockets of the file system", hint="--workers 1")
    if settings.memory // count < LEAST_MEMORY:
        raise UsageError(f"expected --memory of 64 MB for each of {count} workers", hint=f"--memory {64 * count}")
    cores = max(1, (os.cpu_count() or 1) // count)
    os.environ.setdefault("OMP_NUM_THREADS", str(cores))
    with TemporaryDirectory(prefix="vns-sam-") as folder, _listening(settings) as listener:
        part = replace(settings, memory=settings.memory // count)
        crew = _Crew(part, [Place(index, count, Path(folder)) for index in range(count)], listener, engine)
        crew.watch()


class _Crew:
    """The workers, and what is done when one ends or all are told to stop."""

    def __init__(
        self, settings: Settings, places: list[Place], listener: socket.socket, engine: Callable[[], Engine] | None
    ) -> None:
        self._settings, self._listener, self._engine = settings, listener, engine
        self._context = multiprocessing.get_context("spawn")
        self._stopping = False
        self._workers = {place: self._begin(place) for place in places}
        self._begun = dict.fromkeys(places, time.monotonic())

    def watch(self) -> None:
        """Until it is told to stop.

        Raises:
            DataError: A worker ends as soon as it begins.
        """
        before = {name: signal.signal(name, self._stop) for name in (signal.SIGTERM, signal.SIGINT)}
        try:
            while not self._stopping:
                wait([worker.sentinel for worker in self._workers.values()], timeout=0.5)
                for place, worker in self._workers.items():
                    if worker.exitcode is not None and not self._stopping:
                        self._again(place, worker.exitcode)
        finally:
            self._end()
            for name, handler in before.items():
                signal.signal(name, handler)

    def _begin(self, place: Place) -> BaseProcess:
        worker = self._context.Process(
            target=_serve, args=(self._settings, place, self._listener, self._engine), name=f"worker-{place.index}"
        )
        worker.start()
        return worker

    def _again(self, place: Place, code: int) -> None:
        if time.monotonic() - self._begun[place] < AT_ONCE:
            raise DataError(f"a worker ended as soon as it had begun (code {code})", hint="try it with --workers 1")
        logger.warning("worker %d ended with code %d and is begun again", place.index, code)
        self._begun[place] = time.monotonic()
        self._workers[place] = self._begin(place)

    def _stop(self, _: int, __: FrameType | None) -> None:
        self._stopping = True

    def _end(self) -> None:
        self._stopping = True
        for worker in self._workers.values():
            worker.terminate()
        deadline = time.monotonic() + ENDING
        for worker in self._workers.values():
            worker.join(max(0.1, deadline - time.monotonic()))
            if worker.exitcode is None:
                worker.kill()
                worker.join()


def _serve(settings: Settings, place: Place, listener: socket.socket, engine: Callable[[], Engine] | None) -> None:
    """One worker's process."""
    path = place.socket(place.index)
    with suppress(FileNotFoundError):
        os.unlink(path)
    own = socket.socket(socket.AF_UNIX)
    own.bind(path)
    build_server(settings, engine() if engine else None, place).run([listener, own])


def _listening(settings: Settings) -> socket.socket:
    """The address that all workers take from.

    Raises:
        DataError: It is taken.
    """
    try:
        family = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.socket(family)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
    except OSError:
        raise DataError(f"cannot listen on {settings.host}:{settings.port}", hint="another --port") from None
    return listener
