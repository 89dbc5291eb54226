"""Commands at places that give way: a disk that is full, a folder that takes nothing, one that another run holds,
one whose files seem to be of 1970 when a run that was killed goes on in the year 2242.

``python places.py VERB...``: one JSON line for each verb, with the exit codes that the command ended with.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from kills import at_step, child, content, make_inputs, verbs

from vns_sam.runs.lock import locked

SIZES = (0, 200, 3_000, 20_000)
"""Bytes that a file may have on the full disk: nothing, a line, a manifest, a picture."""
NOWHERE = "/proc/nowhere/out"
"""Nobody can write there, not even root."""
LONG_AGO, FAR_AHEAD = 1.0, 2.0**33
"""Seconds since 1970 that the clock jumps to."""
KILLED_AT = 7
"""The step of the writer before which a run dies, with some of its work done."""


def full(size: int) -> Callable[[], None]:
    """Lets no file grow beyond so many bytes."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def clock(seconds: float) -> Callable[[], None]:
    """Sets the clock that a process reads."""
    return lambda: setattr(time, "time", lambda: seconds)


def jump(arguments: list[str], out: Path) -> int:
    """Kills a command, makes all that it wrote old, and goes on far ahead; the exit code."""
    shutil.rmtree(out, ignore_errors=True)
    child(arguments, at_step(KILLED_AT))
    for path in (out, *out.rglob("*")):
        os.utime(path, (LONG_AGO, LONG_AGO))
    return child(arguments, clock(FAR_AHEAD))


def try_places(arguments: list[str], out: Path) -> dict[str, object]:
    """Exit codes, and whether what was cut off goes on to the same bytes."""
    told = [*(word.replace("OUT", str(out)) for word in arguments), "--out", str(out)]
    whole = child(told)
    expected = content(out)
    shutil.rmtree(out, ignore_errors=True)
    codes = [child(told, full(size)) for size in SIZES]
    again = child(told)
    equal = content(out) == expected
    jumped = jump(told, out) == 0 and content(out) == expected
    with locked(out, "another"):
        before = content(out)
        held = child(told)
        untouched = content(out) == before
    shutil.rmtree(out, ignore_errors=True)
    nowhere = child([*(word.replace("OUT", NOWHERE) for word in arguments), "--out", NOWHERE])
    return {
        **{"whole": whole, "full": codes, "again": again, "equal": equal, "jumped": jumped},
        **{"held": held, "untouched": untouched, "nowhere": nowhere},
    }


def main() -> None:
    """Tries the verbs that are named."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_inputs(folder, 6)
        known = verbs(folder)
        for verb in sys.argv[1:]:
            print(json.dumps({"verb": verb, **try_places(known[verb], folder / "out")}), flush=True)


if __name__ == "__main__":
    main()
