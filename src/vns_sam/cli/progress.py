"""The one progress bar: on stderr, with rate and time left, gone when the work is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress, Task

Step = TypeVar("Step")


class Bars(Protocol):
    """Shows how far work has come; a bar for each kind of work, made when it is first told of."""

    def __call__(self, what: str, done: int, total: int | None = None, /) -> None:
        """Tells that ``done`` of ``total`` are done; a total that is None is not known yet."""
        ...


@contextmanager
def progress_bars(*, quiet: bool, keep: bool = False) -> Iterator[Bars]:
    """Bars for as long as the block lasts.

    Args:
        quiet: Whether none is shown.
        keep: Whether they stay on the screen.
    """
    with _progress(quiet=quiet, keep=keep) as progress:
        tasks = {}

        def show(what: str, done: int, total: int | None = None, /) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=total)
            progress.update(tasks[what], completed=done, total=total)

        yield show


@contextmanager
def progress_bar(what: str, *, quiet: bool, keep: bool = False) -> Iterator[Bars]:
    """One bar, whose words change with the work: what it is told replaces ``what``."""
    with _progress(quiet=quiet, keep=keep) as progress:
        task = progress.add_task(what, total=None)

        def show(now: str, done: int, total: int | None = None, /) -> None:
            progress.update(task, description=now, completed=done, total=total)

        yield show


def track(steps: Iterable[Step], what: str, total: int | None, *, quiet: bool) -> Iterator[Step]:
    """Gives steps as they come, with a bar."""
    with progress_bars(quiet=quiet) as show:
        show(what, 0, total)
        for done, step in enumerate(steps, start=1):
            yield step
            show(what, done, total)


def _progress(*, quiet: bool, keep: bool = False) -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        """Items a second, or seconds an item where that is slower."""

        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text(rate(speed) if speed else "", style="progress.data.speed")

    text = TextColumn("{task.description}", markup=False)
    columns = (text, BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=not keep, disable=quiet)


def rate(speed: float) -> str:
    """A speed in items a second, in words.

    >>> rate(12.34), rate(0.25)
    ('12.3/s', '4.0 s each')
    """
    return f"{speed:.1f}/s" if speed >= 1 else f"{1 / speed:.1f} s each"
