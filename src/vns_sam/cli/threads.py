"""How many threads a process computes in, and how they wait: settled before torch is loaded, which reads it once.

Two threads that share a picture wait for each other hundreds of times. OpenMP lets them spin while they wait, and on a
machine with other work a spinning thread keeps the one it waits for from its core: ten times the time of one thread.
Here they look a short while and then sleep.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping

from vns_sam.errors import UsageError

FLAG = "--threads"
COUNTS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
WAITING = {"GOMP_SPINCOUNT": "1000", "KMP_BLOCKTIME": "0"}
"""GNU's and LLVM's names for how long a thread looks before it sleeps: a thousand looks, no milliseconds."""


def take_threads(arguments: list[str]) -> tuple[int | None, list[str]]:
    """Takes ``--threads N`` out of a command line.

    Returns:
        N or None, and the other arguments.

    Raises:
        UsageError: N is missing or no number from 1 on.
    """
    rest: list[str] = []
    for argument in arguments:
        rest += argument.split("=", 1) if argument.startswith(f"{FLAG}=") else [argument]
    count = None
    while FLAG in rest:
        at = rest.index(FLAG)
        given = rest[at + 1] if at + 1 < len(rest) else "nothing"
        if not given.isdecimal() or int(given) < 1:
            raise UsageError(f"{FLAG} expects a number from 1 on, found {given}", hint=f"{FLAG} 1")
        count = int(given)
        del rest[at : at + 2]
    return count, rest


def settle_threads(count: int | None, environment: MutableMapping[str, str] = os.environ) -> None:
    """Says in the environment how torch shall compute; what the user has said there stays.

    Args:
        count: Threads, None for what the user or torch chooses: one for each core.
        environment: Where it is said.
    """
    if count is not None:
        environment.update({name: str(count) for name in COUNTS})
    if not {"OMP_WAIT_POLICY", *WAITING} & environment.keys():
        environment.update(WAITING)
