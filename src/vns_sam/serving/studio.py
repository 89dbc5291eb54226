"""Where the pictures of Label Studio's tasks are: in the task, in the folder that is labelled, or at Label Studio."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from fastapi import Request

from vns_sam.images.names import NameIndex
from vns_sam.serving.folder import Project
from vns_sam.serving.plugs import decode_base64
from vns_sam.serving.problems import too_large, unusable
from vns_sam.serving.service import Service
from vns_sam.serving.settings import Settings
from vns_sam.serving.shelf import Picture

LOCAL = "/data/local-files/"
TIMEOUT = 20.0
FAILED = (OSError, HTTPException, ValueError)
"""What a request that came to nothing raises."""


class TaskPictures:
    """Opens the pictures that tasks name.

    Args:
        service: What opens them.
        project: The folder that is labelled, or None.
    """

    def __init__(self, service: Service, project: Project | None) -> None:
        self._service, self._project, self._site = service, project, _Site(service.settings)
        self._names = None if project is None else NameIndex(project.root, project.names)

    async def open(self, request: Request, task: dict[str, Any], field: str) -> Picture:
        """The picture that a field of a task's data names.

        Raises:
            Problem: It names none, or one that cannot be had.
        """
        data = task.get("data")
        named = data.get(field) if isinstance(data, dict) else None
        if not isinstance(named, str):
            raise unusable(f"the task's data names no picture as '{field[:60]}'")
        if named.startswith("data:"):
            return await self._service.open_once(request, decode_base64(named))
        try:
            address = urlsplit(named)
        except ValueError:
            raise unusable(f"the task's data names no address: {named[:60]}") from None
        path = self._in_folder(address)
        content = await asyncio.to_thread(path.read_bytes if path else lambda: self._site.fetch(address))
        return await self._service.open_once(request, content)

    def _in_folder(self, address: SplitResult) -> Path | None:
        """The file in the folder that is labelled; None where that has no such picture. Label Studio's paths are whole:
        a name without folders lies in the folder itself.
        """
        if self._project is None or self._names is None or address.path != LOCAL:
            return None
        path = parse_qs(address.query, errors="surrogateescape").get("d", [""])[0]
        for written in (path, unquote(path)):  # some tools quote twice
            name = self._names.match(written.lstrip("/"), alone=False)
            if name is not None:
                return self._project.root / name
        return None


class _Site:
    """The Label Studio that the server was started for; nothing of another is fetched.

    Its tokens are of two kinds: a legacy token is shown as it is; a personal access token, which has two dots, is
    changed for one that holds for some minutes.
    """

    def __init__(self, settings: Settings) -> None:
        self._address, self._token = settings.label_studio.rstrip("/"), settings.label_studio_token
        self._limit = settings.limits.upload_bytes
        self._access = ""

    def fetch(self, address: SplitResult) -> bytes:
        """A picture.

        Raises:
            Problem: It is elsewhere, cannot be had, or is too large.
        """
        elsewhere = f"{address.scheme}://{address.netloc}" not in ("://", self._address)
        if not self._address or elsewhere or not address.path.startswith("/data/") or ".." in unquote(address.path):
            hint = "vns-sam serve --label-studio http://..., where Label Studio itself keeps the pictures"
            raise unusable("the picture is not at the Label Studio that this server knows", hint=hint)
        place = f"{address.path}?{address.query}" if address.query else address.path
        try:
            data = self._ask(place)
        except FAILED as error:
            raise unusable(f"Label Studio does not give the picture ({error})", hint="--label-studio-token") from None
        if len(data) > self._limit:
            raise too_large("the picture is too large", hint=f"at most {self._limit / 1e6:g} MB")
        return data

    def _ask(self, place: str) -> bytes:
        if self._token.count(".") != 2:
            return self._send(place, f"Token {self._token}" if self._token else "")
        if self._access:
            try:
                return self._send(place, f"Bearer {self._access}")
            except urllib.error.HTTPError as error:
                if error.code != HTTPStatus.UNAUTHORIZED:
                    raise
        self._access = self._exchange()
        return self._send(place, f"Bearer {self._access}")

    def _exchange(self) -> str:
        body = json.dumps({"refresh": self._token}).encode()
        try:
            return str(json.loads(self._send("/api/token/refresh/", body=body))["access"])
        except (*FAILED, KeyError, TypeError) as error:
            hint = "--label-studio-token with one that its account page shows"
            raise unusable(f"Label Studio does not take the personal access token ({error})", hint=hint) from None

    def _send(self, place: str, shown: str = "", body: bytes | None = None) -> bytes:
        request = urllib.request.Request(f"{self._address}{place}", body)
        if shown:
            request.add_header("Authorization", shown)
        if body is not None:
            request.add_header("Content-Type", "application/json")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect())
        with opener.open(request, timeout=TIMEOUT) as response:
            data: bytes = response.read(self._limit + 1)
        return data


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """An answer that points elsewhere is an error."""

    def redirect_request(self, *_: Any) -> None:
        """Never."""
