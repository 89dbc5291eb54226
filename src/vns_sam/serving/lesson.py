"""The process that learns: ``python -m vns_sam.serving.lesson FOLDER`` does what ``vns-sam train FOLDER/set`` does.

It shares nothing with the server but the folder, so the server can end and begin again meanwhile::

    FOLDER/order.json   what was asked for
    FOLDER/told.json    how far it is
    FOLDER/result.json  what came of it, or why nothing did
    FOLDER/run/         the run, see :mod:`vns_sam.studies.adapt`
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vns_sam.errors import VnsSamError
from vns_sam.images.write import write_json
from vns_sam.runs.lock import locked

ORDER, TOLD, RESULT, SET, RUN = "order.json", "told.json", "result.json", "set", "run"
NICENESS = 10
"""Whoever clicks goes first."""
TOLD_EVERY = 0.5
"""Seconds between two lines of progress at least."""


class Diary:
    """What the lesson tells of itself, written where the server reads it.

    Args:
        path: ``told.json``.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._said, self._last = path, [], 0.0

    _said: list[str]

    def say(self, line: str) -> None:
        """Keeps a sentence about what was found and decided."""
        self._said.append(line)

    def tell(self, what: str, done: int, total: int) -> None:
        """Writes how far it is; not more often than anybody looks."""
        if time.monotonic() - self._last < TOLD_EVERY and done < total:
            return
        self._last = time.monotonic()
        write_json(self._path, {"what": what, "done": done, "total": total, "said": self._said})


def learn(folder: Path) -> None:
    """Follows the order in a folder, and writes the result there.

    Raises:
        KeyboardInterrupt: It was told to stop; the same call goes on later.
    """
    from vns_sam.studies.adapt import Order, adapt

    order = json.loads((folder / ORDER).read_text(encoding="utf-8"))
    diary = Diary(folder / TOLD)
    diary.tell("starting", 0, 1)
    wanted = Order(
        folder / SET,
        folder / RUN,
        order["start"],
        order["minutes"],
        changes=tuple((name, value) for name, value in order.get("changes", ())),
        device=order["device"],
    )
    result = _result(lambda: adapt(wanted, diary.tell, diary.say))
    write_json(folder / RESULT, result)


def _result(work: Callable[[], Any]) -> dict[str, Any]:
    try:
        done = work()
    except VnsSamError as error:
        return {"error": error.message, "hint": error.hint}
    except MemoryError:
        return {"error": "there is not enough memory", "hint": "fewer minutes, or a smaller model"}
    rows = [
        {**asdict(row), "certain": row.certain}
        for row in done.differences
        if all(value == value for value in (row.first, row.second, row.low, row.high))  # NaN is no JSON
    ]
    return {"model": str(done.model), "taken": done.taken, "why": done.why, "rows": rows}


def main(folder: Path) -> int:
    """Learns in a folder, unless another process learns beside it."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(OSError, AttributeError):
        os.nice(NICENESS)
    try:
        with locked(folder.parent, folder.name):  # which lesson runs is read there
            learn(folder)
    except KeyboardInterrupt:
        return 130
    except VnsSamError as error:  # another lesson is at work, or the disk is full
        with suppress(VnsSamError):
            write_json(folder / RESULT, {"error": error.message, "hint": error.hint})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
