"""What every request passes: who asks, from where, how much is sent; what every answer carries; one log line each."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import re
import secrets
import time
from collections.abc import Callable
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from urllib.parse import SplitResult, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vns_sam.serving.metrics import Metrics
from vns_sam.serving.problems import CLIENT_GONE, Problem, too_large
from vns_sam.serving.settings import EXAMPLE, Settings, is_loopback, is_name

logger = logging.getLogger("vns_sam.serving.access")

COOKIE = "vns_session"
OPEN = ("/", "/health", "/favicon.ico")
"""Paths that need no key, besides the files of the page."""
COUNTS = "/counts"
"""Where one worker asks another what it has counted; nobody else is answered there."""
WITH_PICTURE = ("/v1/predict", "/api/generate", "/predict")
"""Paths whose JSON holds a picture in base64."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SECURITY = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
_SESSION = re.compile(r"[\w-]{16,128}")


class Guard:
    """ASGI middleware.

    Args:
        app: What it guards.
        settings: Keys, host and limits.
        metrics: Where each request is counted.
        welcome: Whether a new session may have this name; of several workers each takes those that are at home with it.
    """

    def __init__(
        self, app: ASGIApp, settings: Settings, metrics: Metrics, welcome: Callable[[str], bool] | None = None
    ) -> None:
        self._app, self._settings, self._metrics = app, settings, metrics
        self._names = {name.lower() for name in settings.names}
        self._welcome = welcome or (lambda session: True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one connection of the server."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = time.perf_counter(), 500
        headers = Headers(scope=scope)
        session, is_new = self._session(headers)

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                out = MutableHeaders(scope=message)
                for name, value in SECURITY.items():
                    out[name] = value
                out.setdefault("cache-control", "no-store")
                if is_new:
                    out.append("set-cookie", f"{COOKIE}={session}; HttpOnly; SameSite=Strict; Path=/")
            await send(message)

        try:
            key = self._admit(scope, headers)
            scope.setdefault("state", {}).update(owner=_owner(key, session), keeper=_owner(key, ""))
            await self._app(scope, self._bounded(scope, headers, receive), answer)
        except Problem as problem:
            await problem.response(scope, receive, answer)
        except ClientDisconnect:  # in the middle of its body
            status = CLIENT_GONE
        finally:
            seconds = time.perf_counter() - start
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.count(scope["method"], route, status, seconds)
            line = {"method": scope["method"], "route": route, "status": status, "ms": round(1000 * seconds, 1)}
            logger.info(json.dumps(line))

    def _session(self, headers: Headers) -> tuple[str, bool]:
        session, is_new = session_of(headers)
        while is_new and not self._welcome(session):
            session, _ = session_of(headers)
        return session, is_new

    def _admit(self, scope: Scope, headers: Headers) -> str:
        """The key that was shown, "" where none is needed.

        Raises:
            Problem: No key, a request that another site's page sent, or a name that is not ours (DNS rebinding).
        """
        host = headers.get("host", "")
        name = _split(f"//{host}").hostname or ""
        if is_loopback(self._settings.host) and not (is_loopback(name) or name in self._names):
            raise Problem(HTTPStatus.FORBIDDEN, "this server is asked by a name that is not its own", hint=_named(name))
        origin = headers.get("origin")
        site = _split(origin or "")
        if origin is not None and site.netloc != host and site.hostname not in self._names:
            hint = _named(site.hostname or "")
            raise Problem(HTTPStatus.FORBIDDEN, "requests of other sites' pages are refused", hint=hint)
        keys = self._settings.api_keys
        path = scope["path"]
        from_worker = scope.get("client") is None  # by the socket that only other workers reach, see Relay for COUNTS
        if not keys or path in OPEN or path.startswith("/page/") or (from_worker and path == COUNTS):
            return ""
        shown = _shown_key(headers)
        if not any(secrets.compare_digest(shown.encode(), key.encode()) for key in keys):
            raise Problem(HTTPStatus.UNAUTHORIZED, "expected an API key", hint="Authorization: Bearer KEY")
        return shown

    def _bounded(self, scope: Scope, headers: Headers, receive: Receive) -> Receive:
        """``receive`` that refuses bodies that are too large or come too slowly."""
        limits = self._settings.limits
        is_json = headers.get("content-type", "").partition(";")[0].strip() == "application/json"
        allowed, told = (limits.json_bytes, "") if is_json else (limits.upload_bytes, "; --max-upload allows more")
        if scope["path"] in WITH_PICTURE:
            allowed, told = 4 * limits.upload_bytes // 3 + 1_000_000, "; --max-upload allows more"
        hint = f"at most {allowed / 1e6:g} MB{told}"
        if (headers.get("content-length") or "0").isdecimal() and int(headers.get("content-length") or 0) > allowed:
            raise too_large("the body is too large", hint=hint)
        deadline = time.monotonic() + limits.body_seconds
        size, complete = 0, False

        async def bounded() -> Message:
            nonlocal size, complete
            if complete:  # from here on it only tells of a client that hangs up
                return await receive()
            try:
                async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                    message = await receive()
            except TimeoutError:
                raise Problem(HTTPStatus.REQUEST_TIMEOUT, "the body did not come in time") from None
            size += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if size > allowed:
                raise too_large("the body is too large", hint=hint)
            return message

        return bounded


def session_of(headers: Headers) -> tuple[str, bool]:
    """The session's secret, and whether it is new and has to be told."""
    given = headers.get("x-session", "")
    if not given:
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            cookie = None
        given = cookie.value if cookie else ""
    if _SESSION.fullmatch(given):
        return given, False
    return secrets.token_urlsafe(24), True


def _split(address: str) -> SplitResult:
    """The parts of an address; one that cannot be read has none."""
    try:
        return urlsplit(address)
    except ValueError:
        return urlsplit("")


def _named(name: str) -> str:
    """What to try where the server was asked by a name that it does not know."""
    return f"if it is that of a proxy before it: --name {name}" if is_name(name) else EXAMPLE


def _owner(key: str, session: str) -> str:
    return hashlib.sha256(f"{key}\n{session}".encode()).hexdigest()


def _shown_key(headers: Headers) -> str:
    """A key as our page, X-AnyLabeling (``Token``) and Label Studio (basic authentication) send it."""
    kind, _, value = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return value.strip()
    if kind.lower() == "basic":
        return _password(value)
    return headers.get("token", "") or headers.get("x-api-key", "")


def _password(encoded: str) -> str:
    from base64 import b64decode

    try:
        return b64decode(encoded, validate=True).decode().partition(":")[2]
    except ValueError:
        return ""
