"""A model behind HTTP: ``vns-sam serve`` on this machine or another, asked by the protocol that every model follows."""

from __future__ import annotations

import json
import re
import secrets
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import numpy as np

from vns_sam.errors import DataError, PromptError, UsageError
from vns_sam.images.geometry import fit
from vns_sam.images.write import encode_image
from vns_sam.inference import wire
from vns_sam.types import Answers, Geometry, ImageFeatures, ModelInfo, Prompts

TIMEOUT = 300.0
"""Seconds that one answer may take."""
TRIES = 8
"""How often a server is asked that is busy, or that had to make room again."""
PAUSE = 0.25
"""Seconds by which each wait is longer than the one before where a server had to make room."""
ROWS = 32
"""Most prompts in one question; with alpha it is one."""
WEIGHT = 16_000_000
"""Most bytes of masks in one question, as the model takes them; one mask may weigh more."""
EXAMPLE = "http://127.0.0.1:8000"


def connect(address: str, model: str | None = None, *, api_key: str | None = None) -> RemoteModel:
    """A model that a server offers.

    Args:
        address: ``http://127.0.0.1:8000``; ``http://host:8000/sam-tiny`` names a model, ``http://:KEY@host`` a key.
        model: Its name there; the server's default when it is not named.
        api_key: What the server wants to be shown.

    Raises:
        UsageError: The address is none, or the server offers no such model.
        DataError: The server does not answer, or what it answers is no model's description.
    """
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError as error:
        raise _no_address(address, f" ({error})") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or re.search(r"\s", parts.netloc):
        raise _no_address(address)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    root = f"{parts.scheme}://{host}{'' if port is None else f':{port}'}"
    link = Link(root, api_key or unquote(parts.password or ""))
    name = model or unquote(parts.path.strip("/"))
    try:
        row = link.ask("GET", f"/api/model?name={quote(name, safe='')}")
        served_as = str(row.pop("served_as"))
        info = ModelInfo(**{**row, "prompts": frozenset(row["prompts"])})
    except (KeyError, TypeError) as error:
        raise _stranger(root, f"a description of a model that does not fit: {error}") from None
    return RemoteModel(link, served_as, info)


@dataclass(frozen=True)
class Link:
    """A way to a server.

    Attributes:
        root: Its address, without a path.
        api_key: What it wants to be shown; "" for nothing.
        session: Whose the pictures are there.
    """

    root: str
    api_key: str = field(default="", repr=False)
    session: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)

    def send(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """Sends a request; a busy server is asked again.

        Raises:
            DataError: The server does not answer, or refuses.
        """
        headers = {"X-Session": self.session, "Content-Type": "application/octet-stream"}
        if self.api_key:
            headers["Authorization"] = f"Bearer {self.api_key}"
        request = urllib.request.Request(self.root + path, body, headers, method=method)
        for attempt in range(TRIES):
            try:
                with _opener().open(request, timeout=TIMEOUT) as response:
                    return bytes(response.read())
            except urllib.error.HTTPError as error:
                if error.code != 429 or attempt == TRIES - 1:
                    raise _refusal(error) from None
                time.sleep(_wait(error.headers.get("Retry-After")))
            except (OSError, ValueError, HTTPException) as error:
                reason = " ".join(str(getattr(error, "reason", "") or error).split())
                raise DataError(f"no answer from {self.root} ({reason})", hint="vns-sam serve") from None
        raise AssertionError("unreachable")

    def ask(self, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
        """Like :meth:`send`, of what is answered by a JSON object.

        Raises:
            DataError: Something else is answered, too.
        """
        try:
            answer = json.loads(self.send(method, path, body))
        except (ValueError, RecursionError):
            raise _stranger(self.root, "something else") from None
        if not isinstance(answer, dict):
            raise _stranger(self.root, f"a {type(answer).__name__}")
        return answer


class _Listening(HTTPConnection):
    """A connection over which a server that has enough of a body is heard: its answer says why it reads no further."""

    def request(self, method: str, url: str, body: Any = None, headers: Any = (), **options: Any) -> None:
        """See :meth:`http.client.HTTPConnection.request`."""
        kept = {**dict(headers), "Connection": "keep-alive"}  # else what is not read resets it, and the answer is lost
        if self.sock is None:
            self.connect()
        with suppress(BrokenPipeError, ConnectionResetError):
            super().request(method, url, body, kept, **options)


class _ListeningSecurely(_Listening, HTTPSConnection):
    """The same over TLS."""


class _Handler(urllib.request.HTTPHandler, urllib.request.HTTPSHandler):
    """Opens such connections."""

    def http_open(self, request: urllib.request.Request) -> Any:
        """Opens one."""
        return self.do_open(_Listening, request)

    def https_open(self, request: urllib.request.Request) -> Any:
        """Opens one over TLS."""
        return self.do_open(_ListeningSecurely, request)


@cache
def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(_Handler)


class Forgotten(DataError):
    """The server has no such picture any more."""


@dataclass
class RemoteModel:
    """A model behind HTTP; features are the server's ids of pictures, which stay there until it needs the room.

    Attributes:
        link: The way to the server.
        served_as: What the server calls it.
        info: What it is.
    """

    link: Link
    served_as: str
    info: ModelInfo
    _moved: dict[str, str] = field(default_factory=dict, repr=False)

    def encode(self, images: Sequence[np.ndarray]) -> ImageFeatures:
        """Sends pictures, each (H, W, 3) uint8 RGB, and has them encoded."""
        ids = np.array([self._send(image) for image in images])
        geometry = tuple(self._geometry(*image.shape[:2]) for image in images)
        return ImageFeatures(ids, (), geometry, pictures=tuple(images), owner=self.info)

    def decode(
        self,
        features: ImageFeatures,
        prompts: Sequence[Prompts] = (),
        image_index: Sequence[int] = (),
        *,
        candidates: bool = False,
        look_again: bool = False,
    ) -> Answers:
        """See :meth:`vns_sam.types.PromptableModel.decode`."""
        features.check_owner(self.info)
        if not self.info.prompts:
            asked: list[tuple[Prompts | None, int]] = [(None, image) for image in image_index or range(len(features))]
        else:
            rows = 1 if self.info.alpha else ROWS  # maps as large as the picture, of which a server always makes one
            given_for = zip(prompts, image_index, strict=True)
            asked = [(part, image) for given, image in given_for for part in _parts(given, rows)]
        if not asked:
            raise PromptError("no prompt given", hint="give a box, points or a mask")
        answers = []
        for given, image in asked:
            body = wire.pack_prompts(given, candidates=candidates, look_again=look_again)
            answers.append(wire.unpack_answers(self._ask(features, image, body)))
        return wire.join_answers(answers)

    def _ask(self, features: ImageFeatures, image: int, body: bytes) -> bytes:
        """Asks, and sends the picture again where the server had to make room; others may come first once more."""
        sent = str(features.embedding[image])
        query = f"model={quote(self.served_as, safe='')}"
        for attempt in range(TRIES):
            if attempt:
                time.sleep(PAUSE * (attempt - 1))
                self._moved[sent] = self._send(features.pictures[image])
            with suppress(Forgotten):
                return self.link.send("POST", f"/api/pictures/{self._moved.get(sent, sent)}/maps?{query}", body)
        raise DataError(
            f"expected the picture to stay at {self.link.root} until it is asked about, found it gone {TRIES} times",
            hint="the server's --memory is too small for those who ask",
        )

    def _send(self, image: np.ndarray) -> str:
        answer = self.link.ask("POST", "/api/pictures", encode_image(image, photo=True))
        if "id" not in answer:
            raise _stranger(self.link.root, "no id of a picture")
        key = quote(str(answer["id"]), safe="")
        with suppress(Forgotten):  # then the question has it encoded, if it is there again
            self.link.send("POST", f"/api/pictures/{key}/encode?model={quote(self.served_as, safe='')}")
        return key

    def _geometry(self, height: int, width: int) -> Geometry:
        return fit(height, width, self.info.input_side or max(height, width))


def _parts(prompts: Prompts, rows: int) -> list[Prompts]:
    """Prompts, ``rows`` at a time, or fewer where their masks are large."""
    if prompts.masks is not None:
        rows = max(1, min(rows, WEIGHT // (4 * prompts.masks[0].size)))
    if len(prompts) <= rows:
        return [prompts]
    fields: list[dict[str, Any]] = []
    for start in range(0, len(prompts), rows):
        given = {name: getattr(prompts, name) for name in wire.FIELDS}
        fields.append({name: None if value is None else value[start : start + rows] for name, value in given.items()})
    return [Prompts(**one) for one in fields]


def _no_address(address: str, reason: str = "") -> UsageError:
    """The refusal of what is no address. What stands before an "@" is not told: it may be a key that holds a "/"."""
    _, key, rest = address.rpartition("@")
    if key:
        return UsageError(
            f"expected an address such as {EXAMPLE}, got '...@{rest}'", hint="in a key, / is %2F and a space %20"
        )
    return UsageError(f"expected an address such as {EXAMPLE}, got '{address}'{reason}")


def _stranger(root: str, found: str) -> DataError:
    return DataError(f"expected a JSON object of vns-sam serve from {root}, found {found}", hint="check the address")


def _wait(told: str | None) -> float:
    """Seconds until a busy server is asked again: what it says, a second where it says nothing or a date."""
    try:
        return min(10.0, max(0.0, float(told or 1)))
    except ValueError:
        return 1.0


def _refusal(error: urllib.error.HTTPError) -> DataError:
    try:
        told = json.loads(error.read())
        message, hint = str(told["error"]), str(told.get("hint", ""))
    except (ValueError, KeyError, TypeError, OSError):
        message, hint = f"the server answered {error.code}", "is it vns-sam serve?"
    kind = {404: Forgotten, 422: PromptError}.get(error.code, DataError)
    return kind(message, hint=hint)
