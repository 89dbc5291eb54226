"""What a server is told at its start, and what it refuses to take from a client."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from pathlib import Path

from vns_sam.errors import UsageError
from vns_sam.types import Backend

BUNDLED = ("vns-sam-tiny", "sam-tiny", "ws-sam-tiny")
"""Models offered where none is named."""
REFINER = "dis-sam-tiny"
"""What redraws masks where nothing else is named."""
EXAMPLE = "--name segment.example.com"
WITH_FOLDER = "vns-sam serve photos/ --out masks/"


@dataclass(frozen=True)
class Limits:
    """What one client may send; more is refused with 413, 422 or 429, never tried.

    Attributes:
        upload_bytes: Of a picture as it is sent.
        json_bytes: Of any other body.
        pixels: Of a picture, width times height, judged before it is decoded.
        objects: Of one request.
        points: Of one object.
        queue: Requests that may wait for the models; the next is told when to come back.
        body_seconds: A client that has not sent its body by then is dropped.
    """

    upload_bytes: int = 50_000_000
    json_bytes: int = 16_000_000
    pixels: int = 64_000_000
    objects: int = 64
    points: int = 512
    queue: int = 32
    body_seconds: float = 30.0


@dataclass(frozen=True)
class Settings:
    """One server.

    Attributes:
        models: Names of the models on offer, the default first.
        refiner: Name of the DIS-SAM that redraws masks on demand, or None.
        device: Where they run.
        backend: What runs them, see :func:`vns_sam.inference.load.load_model`.
        host, port: Where it listens.
        names: By which it may be asked besides its own: those of a proxy before it.
        memory: Ceiling in bytes of all pictures and encodings together.
        api_keys: What a client must show one of; none needed where it is empty, which only loopback without names
            allows.
        folder: Pictures to label, or None.
        out: Where masks of ``folder`` go.
        learn: Where lessons and the models that come of them go, or None where nothing is learned.
        limits: See there.
        log: Whether each request is told on stderr, one line of JSON without ids and names.
        label_studio: Address of the one Label Studio whose pictures are fetched, or "".
        label_studio_token: What it wants to be shown.

    Raises:
        UsageError: Other machines would reach it without a key, or an option makes no sense.
    """

    models: tuple[str, ...] = BUNDLED
    refiner: str | None = REFINER
    device: str = "cpu"
    backend: Backend = "auto"
    host: str = "127.0.0.1"
    port: int = 8000
    names: tuple[str, ...] = ()
    memory: int = 2_000_000_000
    api_keys: tuple[str, ...] = ()
    folder: Path | None = None
    out: Path | None = None
    learn: Path | None = None
    limits: Limits = field(default_factory=Limits)
    log: bool = False
    label_studio: str = ""
    label_studio_token: str = ""

    def __post_init__(self) -> None:
        for name in self.names:
            if not is_name(name):
                raise UsageError(f"expected a name without scheme, port and path, got --name {name}", hint=EXAMPLE)
        if (self.names or not is_loopback(self.host)) and not self.api_keys:
            place = f"be asked as {self.names[0]}" if self.names else f"listen on {self.host}"
            raise UsageError(
                f"expected --api-key to {place}, where other machines reach it, found none",
                hint=f"--api-key with a long secret, or leave {'--name' if self.names else '--host'} out",
            )
        if any(len(key) < 12 for key in self.api_keys):
            raise UsageError("expected an API key of at least 12 characters", hint="openssl rand -hex 16")
        if not self.models:
            raise UsageError("no model to serve", hint="--model vns-sam-tiny")
        if self.memory < 64_000_000:
            raise UsageError(f"expected --memory of 64 MB at least, got {self.memory / 1e6:g} MB")
        if self.folder is not None and self.out is None:
            raise UsageError("a folder of pictures needs a place for its masks", hint="--out masks/")


def is_name(text: str) -> bool:
    """Whether it is a host's name, or an address of four numbers, and nothing else."""
    return re.fullmatch(r"[\w-]+(\.[\w-]+)*", text, re.ASCII) is not None


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches ``host``, a name or an address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
