"""Several workers behind one address: a session has one home among them, a request that lands elsewhere is passed on.

Workers share nothing but the disk, so a picture is known to one of them alone. Which one is told by the session's name:
whoever takes a request of another's session hands it over by a socket of the file system, and hands back the answer.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import h11
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from vns_sam.serving.guard import COUNTS, session_of
from vns_sam.serving.problems import Problem

CHUNK = 65_536
DROPPED = frozenset({b"connection", b"keep-alive", b"expect", b"upgrade"})
"""Headers that are about one connection, not about the request."""
STARTING = 10.0
"""Seconds in which a worker that was begun again should be there."""
ASKED = 5.0
"""Seconds in which another worker answers about itself."""


@dataclass(frozen=True)
class Place:
    """One worker among several.

    Attributes:
        index, count: Which, of how many.
        folder: Where their sockets are; nobody else may enter it.
    """

    index: int
    count: int
    folder: Path

    def home(self, session: str) -> int:
        """The worker that a session belongs to."""
        return int.from_bytes(hashlib.sha256(session.encode()).digest()[:4]) % self.count

    def is_home(self, session: str) -> bool:
        """Whether a session belongs to this worker."""
        return self.home(session) == self.index

    def socket(self, index: int) -> str:
        """Where a worker listens for the others."""
        return str(self.folder / f"{index}.sock")

    @property
    def others(self) -> list[int]:
        """All workers but this one."""
        return [index for index in range(self.count) if index != self.index]


class Relay:
    """ASGI middleware: passes a request on to its session's home.

    Args:
        app: What answers those that are at home here.
        place: Which worker this is.
    """

    def __init__(self, app: ASGIApp, place: Place) -> None:
        self._app, self._place = app, place

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        home = self._home(scope)
        if home == self._place.index:
            await self._app(scope, receive, send)
            return
        passed = _Passed(scope, receive, send)
        try:
            async with connected(self._place.socket(home), STARTING) as (reader, writer):
                await passed.on(reader, writer)
        except (OSError, h11.RemoteProtocolError):
            if not passed.answered:
                problem = Problem(HTTPStatus.SERVICE_UNAVAILABLE, "the worker is starting again", retry_after=1)
                await problem.response(scope, receive, send)

    def _home(self, scope: Scope) -> int:
        if scope["type"] != "http" or scope.get("client") is None:  # handed over by another worker
            return self._place.index
        if scope["path"] == COUNTS:  # what is handed over is believed to be a worker's own question
            return self._place.index
        session, is_new = session_of(Headers(scope=scope))
        return self._place.index if is_new else self._place.home(session)


class _Passed:
    """One request on its way to another worker and back."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        self._wire = h11.Connection(h11.CLIENT)
        self.answered = False

    async def on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up = asyncio.ensure_future(self._up(writer))
        down = asyncio.ensure_future(self._down(reader))
        try:
            await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
            if not down.done():  # the client hung up: so do we, which the other worker notices
                writer.close()
            with suppress(asyncio.CancelledError):
                await down
        finally:
            for task in (up, down):
                task.cancel()
            await asyncio.gather(up, down, return_exceptions=True)

    async def _up(self, writer: asyncio.StreamWriter) -> None:
        """Sends the request, then waits for the client to hang up."""
        target = self._scope["raw_path"] + (b"?" + self._scope["query_string"] if self._scope["query_string"] else b"")
        headers = [(name, value) for name, value in self._scope["headers"] if name not in DROPPED]
        request = h11.Request(
            method=self._scope["method"], target=target, headers=[*headers, (b"connection", b"close")]
        )
        writer.write(self._wire.send(request) or b"")
        more = True
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                return
            if not more:
                continue
            more = message.get("more_body", False)
            with suppress(h11.LocalProtocolError, OSError):  # it was answered before it was read
                if message.get("body"):
                    writer.write(self._wire.send(h11.Data(data=message["body"])) or b"")
                if not more:
                    writer.write(self._wire.send(h11.EndOfMessage()) or b"")
                await writer.drain()

    async def _down(self, reader: asyncio.StreamReader) -> None:
        """Hands the answer back."""
        while True:
            event = self._wire.next_event()
            if event is h11.NEED_DATA:
                self._wire.receive_data(await reader.read(CHUNK))
            elif isinstance(event, h11.Response):
                self.answered = True
                headers = [(name, value) for name, value in event.headers if name not in DROPPED]
                await self._send({"type": "http.response.start", "status": event.status_code, "headers": headers})
            elif isinstance(event, h11.Data):
                await self._send({"type": "http.response.body", "body": bytes(event.data), "more_body": True})
            elif isinstance(event, h11.EndOfMessage):
                await self._send({"type": "http.response.body", "body": b""})
                return
            elif isinstance(event, h11.ConnectionClosed):
                raise ConnectionResetError


@asynccontextmanager
async def connected(
    socket: str, patience: float = 0.0
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to another worker.

    Args:
        socket: Where it listens.
        patience: Seconds in which it may begin to do so.

    Raises:
        OSError: It does not.
    """
    deadline = time.monotonic() + patience
    while True:
        try:
            reader, writer = await asyncio.open_unix_connection(socket)
            break
        except (FileNotFoundError, ConnectionRefusedError):
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.1)
    try:
        yield reader, writer
    finally:
        writer.close()


async def told_by(place: Place, path: str) -> list[Any]:
    """What the other workers say at a path of their own, read from JSON; one that does not answer is left out."""

    async def one(index: int) -> Any:
        async with asyncio.timeout(ASKED), connected(place.socket(index)) as (reader, writer):
            writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            text = await reader.read(-1)
        return json.loads(text.partition(b"\r\n\r\n")[2])

    told = await asyncio.gather(*map(one, place.others), return_exceptions=True)
    return [answer for answer in told if not isinstance(answer, BaseException)]
