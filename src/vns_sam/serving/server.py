"""Running the application with uvicorn: connections that stall are closed, a stop ends what is running."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from vns_sam.serving.app import create_app
from vns_sam.serving.engine import Engine
from vns_sam.serving.guard import logger as access
from vns_sam.serving.relay import Place
from vns_sam.serving.settings import Settings

SILENCE = 15.0
"""Seconds in which a new connection has to send its first request line and headers."""


STALL = 30.0
"""Seconds in which a client has to take some of what waits for it."""
UNSENT = 131_072
"""Bytes that the system takes over before they can be sent. By itself it takes megabytes, and more only once a third of
them was read: a slow client would seem not to read at all.
"""


class PromptProtocol(H11Protocol):
    """Closes a connection whose first request does not come, or of whose answer nothing is read for a while."""

    _stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Starts the clock."""
        super().connection_made(transport)
        line = transport.get_extra_info("socket")
        if line.family in (socket.AF_INET, socket.AF_INET6) and hasattr(socket, "TCP_NOTSENT_LOWAT"):
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT)
        asyncio.get_running_loop().call_later(SILENCE, self._close_if_silent)

    def pause_writing(self) -> None:
        """Starts the clock: more waits for the client than is kept for it."""
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        """Stops the clock."""
        self._stop_watching()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops the clock."""
        self._stop_watching()
        super().connection_lost(exc)

    def _watch(self) -> None:
        """Looks again after a while: an answer is one write, however large, so writing is paused until nearly all of it
        was read, and only what still waits tells whether the client reads.
        """
        waiting = self.transport.get_write_buffer_size()
        self._stalled = asyncio.get_running_loop().call_later(STALL, self._close_if_stalled, waiting)

    def _stop_watching(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()

    def _close_if_stalled(self, waited: int) -> None:
        if self.transport.get_write_buffer_size() < waited:
            self._watch()
        else:
            self.transport.abort()

    def _close_if_silent(self) -> None:
        if self.cycle is None and not self.transport.is_closing():
            self.transport.close()


def build_server(settings: Settings, engine: Engine | None = None, place: Place | None = None) -> uvicorn.Server:
    """A server that is ready to run.

    Args:
        settings: See there.
        engine: The models; those of the settings when left out.
        place: Which of several workers this is, or None where it is alone.

    Raises:
        VnsSamError: A model is unknown, or the folder holds no picture.
    """
    if settings.log:
        tell_requests()
    config = uvicorn.Config(
        create_app(settings, engine, place),
        host=settings.host,
        port=settings.port,
        http=PromptProtocol,
        ws="none",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=30,
        h11_max_incomplete_event_size=32_768,
        backlog=128,
    )
    return uvicorn.Server(config)


def tell_requests() -> None:
    """Lets the log of requests through to stderr as it is, a line of JSON each, beside all other logs."""
    if not access.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(message)s"))
        access.addHandler(handler)
    access.setLevel(logging.INFO)
    access.propagate = False
