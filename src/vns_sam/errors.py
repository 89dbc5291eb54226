"""Typed errors. Each carries one line for the user, one hint and the exit code of the command line.

The command line prints ``error: <message>`` and ``try: <hint>`` and exits with ``exit_code``; nothing else in
the package prints. Codes: 0 done, 2 usage, 3 bad input or data, 4 bad checkpoint, 5 a missing extra.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Any


class VnsSamError(Exception):
    """Base of every error that a user can cause and mend.

    Args:
        message: One line: what was expected, what was found and where.
        hint: One line: what to try next.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(shortened(message))
        self.message = shortened(message)
        self.hint = printable(hint)

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (type(self), self.message, self.hint)  # a worker's error reaches its caller whole


class UsageError(VnsSamError):
    """A wrong call: an unknown option, an impossible combination, a recipe with a wrong field."""

    exit_code = 2


class DataError(VnsSamError):
    """Input that cannot be used: a broken image, a pair that does not match, an unwritable output."""

    exit_code = 3


class OutputError(DataError):
    """A place that cannot be written: it costs a run, where bad input costs one item of it."""


class PromptError(DataError):
    """A prompt that names no place in its image: a reversed box, NaN, labels of another length."""


class CheckpointError(VnsSamError):
    """Weights that are missing, damaged or of another architecture."""

    exit_code = 4


class MissingExtraError(VnsSamError):
    """An optional dependency is needed and absent."""

    exit_code = 5

    def __init__(self, package: str, *, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package '{package}', which is not installed",
            hint=f"pip install 'vns-sam[{extra}]'",
        )
        self.package, self.extra, self.purpose = package, extra, purpose

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(MissingExtraError, extra=self.extra, purpose=self.purpose), (self.package,)


LONGEST = 1000
"""Characters of a message: what a file holds may be quoted in it."""


def shortened(text: str) -> str:
    """A message as :func:`printable`, its middle left out where it is very long."""
    line = printable(text)
    return line if len(line) <= LONGEST else f"{line[: LONGEST // 2]} ... {line[-LONGEST // 3 :]}"


def printable(text: str) -> str:
    """One line that every terminal shows and anybody may read, whatever the names in it hold."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in without_key(text))


def without_key(name: str) -> str:
    """An address without user and key, as it may be written where others read it; any other name as it is."""
    return re.sub(r"(https?://)[^/?#\s]*@", r"\1", name)


def _again(kind: type[VnsSamError], message: str, hint: str) -> VnsSamError:
    error = kind.__new__(kind)
    VnsSamError.__init__(error, message, hint=hint)
    return error
