"""How the command ends: at once when all is done; by Ctrl-C, by a signal, or because nobody takes its output."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

from vns_sam.errors import OutputError

INTERRUPTED = 130
TERMINATED = 143


class Terminated(KeyboardInterrupt):
    """SIGTERM: workers are ended and locks given back as after Ctrl-C, with an exit code of its own."""


@contextmanager
def signals_heard() -> Iterator[None]:
    """Makes SIGTERM (and SIGHUP, a terminal that is closed) an exception for as long as the block lasts."""

    def heard(number: int, frame: FrameType | None) -> None:
        raise Terminated

    before = {}
    with suppress(ValueError):  # not in the main thread: the program around decides
        before = {kind: signal.signal(kind, heard) for kind in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


def accept_all_names() -> None:
    """Lets stdout take every name: what its encoding lacks is escaped, as on stderr.

    Streams that the caller has closed lead nowhere, so that no file of ours is opened in their place.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - as long as the process
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")


def flush_output() -> None:
    """Hands all that was printed to the system.

    Raises:
        OutputError: It takes no more; the work itself is done.
    """
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        drop_output()
        raise lost(error) from None


def lost(error: OSError) -> OutputError:
    """What to raise where stdout takes nothing."""
    reason = (error.strerror or str(error)).lower()
    return OutputError(f"cannot write to the standard output: {reason}", hint="files that were asked for are written")


def drop_output() -> None:
    """Sends what is still to be printed nowhere, so that Python's own end does not fail at it."""
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def leave(code: int) -> NoReturn:
    """Ends the process with an exit code, once its threads have ended and what was registered for its end is done.

    Python's own end would then take every module and object apart: an eighth of the time of a first mask, for memory
    that the system takes back anyway.
    """
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
