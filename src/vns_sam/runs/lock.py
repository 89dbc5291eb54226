"""A folder belongs to one run at a time."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from vns_sam.errors import UsageError
from vns_sam.images.write import remove_parts, unwritable

try:
    import fcntl
except ImportError:  # no POSIX system: the pid in the file decides
    fcntl = None  # type: ignore[assignment]

LOCK = ".vns-sam.lock"
_ATTEMPTS = 100
_PAUSE = 0.01  # seconds


@contextmanager
def locked(folder: Path, verb: str) -> Iterator[None]:
    """Holds a folder for one run; it is made where it is missing, and does not stay where nothing is written.

    The file says who holds it. It is the system's lock on it that counts where there is one: this ends with its owner,
    however that ends, so what a killed run leaves is stale and taken over. Where files have no locks, it counts
    whether the owner's process lives.

    Args:
        folder: The folder.
        verb: What runs in it, for the message to a second run.

    Raises:
        UsageError: Another run is at work there.
        OutputError: The folder cannot be written.
    """
    path, was_there = folder / LOCK, folder.is_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = _taken(path)
    except OSError as error:
        raise unwritable(path, error) from None
    try:
        _sign(handle, path, verb)
        yield
    finally:
        with suppress(OSError):
            path.unlink()
        os.close(handle)
        if not was_there:
            with suppress(OSError):
                folder.rmdir()  # a run that wrote nothing leaves nothing


class Holder(NamedTuple):
    """Who holds a folder.

    Attributes:
        pid: The process; 0 where it does not say its number.
        run: What runs in it, as it was given to :func:`locked`; "" where it does not say.
    """

    pid: int
    run: str


def holder(folder: Path) -> Holder | None:
    """Who holds a folder, see :func:`locked`; None where nobody does."""
    try:
        handle = os.open(folder / LOCK, os.O_RDONLY)
    except OSError:
        return None
    try:
        if _is_free(handle, look=True):
            return None
        pid, run = (_owner(handle).get(name) for name in ("pid", "run"))
        return Holder(pid if isinstance(pid, int) else 0, run if isinstance(run, str) else "")
    finally:
        os.close(handle)


def remove_parts_below(folder: Path) -> None:
    """Removes what killed runs left half-written in a folder that is held, and in all folders below it but those that
    another run holds, each asked about just before.
    """
    for place, below, _ in os.walk(folder):
        if Path(place) != folder and holder(Path(place)) is not None:
            below.clear()
        else:
            remove_parts(Path(place))


def is_held_below(top: Path, folder: Path) -> bool:
    """Whether a run holds a folder below ``top``, or one between the two; ``top`` itself is not asked about."""
    places = (place for place in (folder, *folder.parents) if place != top and place.is_relative_to(top))
    return any(holder(place) is not None for place in places)


def _sign(handle: int, path: Path, verb: str) -> None:
    """Writes who holds the lock."""
    owner = {"pid": os.getpid(), "host": socket.gethostname(), "born": _born(os.getpid()), "run": verb}
    try:
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(owner).encode(), 0)
    except OSError as error:  # a full disk
        raise unwritable(path, error) from None


def _taken(path: Path) -> int:
    """An open lock file that is ours.

    Where it is taken by nobody who lives, somebody looks at it (:func:`holder`) or is about to sign it: it is tried
    again.
    """
    owner: dict[str, object] = {}
    for _ in range(_ATTEMPTS):
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if not _is_free(handle):
                owner = _owner(handle)
                if _lives(owner):
                    raise _held(path, owner)
                time.sleep(_PAUSE)
            elif os.path.samestat(os.fstat(handle), os.stat(path)):
                return handle
        except FileNotFoundError:
            pass  # its owner has just ended and removed it
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)
    raise _held(path, owner)


def _is_free(handle: int, *, look: bool = False) -> bool:
    """Whether nobody holds the lock of a file; it is ours then, or with ``look`` shared by all who look."""
    if fcntl is not None:
        try:
            fcntl.flock(handle, (fcntl.LOCK_SH if look else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            pass  # a file system without locks
        else:
            return True
    return not _lives(_owner(handle))


def _owner(handle: int) -> dict[str, object]:
    try:
        owner = json.loads(os.pread(handle, 4096, 0))
    except ValueError:
        return {}
    return owner if isinstance(owner, dict) else {}


def _lives(owner: dict[str, object]) -> bool:
    """Whether a run still is; one on another machine is believed to."""
    pid = owner.get("pid")
    if not isinstance(pid, int) or pid <= 0:
        return False
    if owner.get("host") != socket.gethostname():
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return owner.get("born") == _born(pid)


def _born(pid: int) -> str:
    """What tells a process from a later one of the same number, "" where the system does not say."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _held(path: Path, owner: dict[str, object]) -> UsageError:
    who = f"'{owner.get('run', '?')}' with the process {owner.get('pid', '?')} on {owner.get('host', '?')}"
    return UsageError(
        f"expected {path.parent} to be free, found another run at work in it: {who}",
        hint=f"wait for it or choose another --out; if no such process lives, remove {path}",
    )
