"""The rest of a body that nobody wants, as of a picture that is too large, is read before its connection is closed.

A connection that is closed with something unread is reset, and a client that still sends never sees why it was refused.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class ReadToTheEnd:
    """ASGI middleware: holds the end of an answer back until the body of its request was read.

    Args:
        app: What answers.
        seconds: After which a body is read no further, from the start of its request.
    """

    def __init__(self, app: ASGIApp, seconds: float) -> None:
        self._app, self._seconds = app, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one connection of the server."""
        if scope["type"] != "http" or not _is_sent(Headers(scope=scope)):
            await self._app(scope, receive, send)
            return
        body = _Body(receive, asyncio.get_running_loop().time() + self._seconds)

        async def answer(message: Message) -> None:
            is_last = message["type"] == "http.response.body" and not message.get("more_body", False)
            if is_last and not body.is_read:
                await send({**message, "more_body": True})
                await body.drop()
                message = {"type": "http.response.body", "body": b""}
            await send(message)

        await self._app(scope, body.receive, answer)


class _Body:
    """A request's body on its way.

    Attributes:
        is_read: Whether nothing of it is still to come.
    """

    def __init__(self, receive: Receive, deadline: float) -> None:
        self._receive, self._deadline = receive, deadline
        self.is_read = False

    async def receive(self) -> Message:
        message = await self._receive()
        self.is_read = self.is_read or not message.get("more_body", False)
        return message

    async def drop(self) -> None:
        """Reads what is still to come."""
        with suppress(TimeoutError):
            async with asyncio.timeout_at(self._deadline):
                while not self.is_read:
                    await self.receive()


def _is_sent(headers: Headers) -> bool:
    """Whether a body follows at once; who sends ``Expect`` waits until it is asked for it."""
    has_body = "transfer-encoding" in headers or headers.get("content-length", "0") != "0"
    return has_body and "expect" not in headers
