"""``manifest.jsonl``: a line for each finished picture of a command that works through a set, so that it can go on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, TypeVar

from vns_sam.errors import DataError, UsageError
from vns_sam.images.write import check_writable
from vns_sam.runs.lines import LineFile, read_lines, write_lines

MANIFEST = "manifest.jsonl"
_OF_THIS_RUN = ("error", "skipped")


class Outcome(Protocol):
    """What became of one picture: a dataclass, all of whose fields but these two are kept in the manifest."""

    @property
    def error(self) -> str:
        """Why the picture failed, or ""."""
        ...

    @property
    def skipped(self) -> bool:
        """Whether it was done by an earlier run."""
        ...


Read = TypeVar("Read")


def check_output(out: Path) -> None:
    """Checks that a folder can be written, and is new or that of an earlier run.

    Raises:
        DataError: It cannot, or holds something else.
    """
    check_writable(out / MANIFEST)
    if out.is_dir() and any(out.iterdir()) and not (out / MANIFEST).is_file():
        raise DataError(f"expected a new folder at {out}, found other files", hint="choose another with --out")


def check_outside(source: Path, out: Path, ending: str) -> None:
    """Checks that the output is neither the source nor in it; ``ending`` makes a better name from the source's.

    Raises:
        UsageError: It is.
    """
    if source.resolve() in (out.resolve(), *out.resolve().parents):
        raise UsageError(f"expected --out outside of {source}, found {out}", hint=f"--out {source.resolve()}_{ending}")


def read_manifest(out: Path, make: Callable[[dict[str, Any]], Read]) -> Iterator[Read]:
    """What earlier runs finished; a line that was cut off, or that ``make`` cannot take, is passed over."""
    for values in read_lines(out / MANIFEST):
        try:
            yield make(values)
        except (ValueError, TypeError, KeyError, AttributeError):
            continue


@contextmanager
def extended_manifest(out: Path) -> Iterator[Callable[[Outcome], None]]:
    """Gives a function that adds a finished picture; what failed or was done before is not added.

    Raises:
        DataError: The manifest cannot be written.
    """
    with LineFile(out / MANIFEST) as lines:

        def add(outcome: Outcome) -> None:
            if not outcome.error and not outcome.skipped:
                lines.add(_kept(outcome))

        yield add


def write_manifest(out: Path, outcomes: Iterable[Outcome]) -> None:
    """Writes the manifest anew, in this order and without what failed.

    Raises:
        DataError: It cannot be written.
    """
    write_lines(out / MANIFEST, (_kept(outcome) for outcome in outcomes if not outcome.error))


def _kept(outcome: Any) -> dict[str, Any]:
    return {name: value for name, value in asdict(outcome).items() if name not in _OF_THIS_RUN}
