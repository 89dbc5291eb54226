"""What a client is told when its request cannot be done: one line, what to try, and the right status."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException

from vns_sam.errors import CheckpointError, VnsSamError, printable
from vns_sam.serving.schemas import Text

CLIENT_GONE = 499
"""What the log calls a request whose client hung up before its turn, or in the middle of its body."""


class ProblemBody(BaseModel):
    """The body of every answer that is no success."""

    error: Text
    hint: Text = ""


class Problem(HTTPException):
    """A refusal.

    Args:
        status: The HTTP status.
        message: One line: what was expected and what was found.
        hint: One line: what to try.
        retry_after: Seconds after which it is worth trying again, for 429 and 503.
    """

    def __init__(self, status: int, message: str, *, hint: str = "", retry_after: int | None = None) -> None:
        headers = None if retry_after is None else {"Retry-After": str(retry_after)}
        super().__init__(status, message, headers)
        self.hint = hint

    @property
    def response(self) -> JSONResponse:
        """What is sent."""
        body = ProblemBody(error=str(self.detail), hint=self.hint)
        return JSONResponse(body.model_dump(), self.status_code, self.headers)


def changed_elsewhere(name: str) -> Problem:
    """A save would replace what somebody else saved meanwhile."""
    return Problem(HTTPStatus.CONFLICT, f"{name} was changed elsewhere since it was opened", hint="open it again")


def too_large(message: str, *, hint: str = "") -> Problem:
    """413."""
    return Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, message, hint=hint)


def unusable(message: str, *, hint: str = "") -> Problem:
    """422."""
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, message, hint=hint)


def conflicting(message: str, *, hint: str = "") -> Problem:
    """409: something else has to end first."""
    return Problem(HTTPStatus.CONFLICT, message, hint=hint)


def unknown_picture(picture: str) -> Problem:
    """404, also for a picture of somebody else: who asks learns nothing of it."""
    return Problem(
        HTTPStatus.NOT_FOUND,
        f"no picture '{picture[:40]}' of this client",
        hint="send it again: it was never here, was deleted, or had to make room (--memory)",
    )


def not_in_folder() -> Problem:
    """404 for a picture of a folder that is no longer served, or that is gone from it."""
    return Problem(
        HTTPStatus.NOT_FOUND,
        "the folder that is served now does not hold this picture",
        hint="reload the page, or serve the folder that it shows",
    )


DOCUMENTED: dict[int | str, dict[str, Any]] = {
    status: {"model": ProblemBody, "description": HTTPStatus(status).phrase}
    for status in (400, 401, 403, 404, 405, 408, 409, 413, 415, 422, 429, 503)
}
"""For the routers: every refusal is in the OpenAPI document."""


async def on_http(_: Request, error: Exception) -> JSONResponse:
    """Handler of :class:`Problem` and of the framework's own refusals."""
    if isinstance(error, Problem):
        return error.response
    assert isinstance(error, HTTPException)
    return JSONResponse(ProblemBody(error=str(error.detail)).model_dump(), error.status_code, error.headers)


def is_json(kind: str) -> bool:
    """Whether a body of a kind, see :func:`media_type`, is read as JSON."""
    return re.fullmatch(r"application/(.+\+)?json", kind) is not None


def media_type(request: Request) -> str:
    """What a request says that its body is, without parameters; "" where it says nothing."""
    return request.headers.get("Content-Type", "").partition(";")[0].strip().lower()


async def on_invalid(request: Request, error: Exception) -> JSONResponse:
    """Handler of bodies and parameters that do not fit the schema: the first fault, and where it is."""
    assert isinstance(error, RequestValidationError)
    first, kind = error.errors()[0], media_type(request)
    if first["loc"] == ("body",) and first["type"] != "missing" and not is_json(kind):
        found = printable(kind[:80]) or "none"
        message = f"expected Content-Type: application/json, found {found}"
        return Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, message, hint="send this header with the JSON").response
    return unusable(first_fault(error), hint="see /openapi.json").response


def first_fault(error: RequestValidationError | ValidationError) -> str:
    """The first of the faults that were found, and where it is."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"] if part != "body") or "body"
    return f"{place}: {first['msg']}"


def problem_of(error: VnsSamError) -> Problem:
    """One of the package's errors: bad input is the client's to mend, missing weights are not."""
    status = HTTPStatus.SERVICE_UNAVAILABLE if isinstance(error, CheckpointError) else HTTPStatus.UNPROCESSABLE_ENTITY
    return Problem(status, error.message, hint=error.hint)


async def on_ours(_: Request, error: Exception) -> JSONResponse:
    """Handler of the package's errors."""
    assert isinstance(error, VnsSamError)
    return problem_of(error).response
