"""Times that compare on a machine with other work: what is compared takes turns in one run, and memory is that of a
fresh process.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from vns_sam.errors import VnsSamError


@dataclass(frozen=True)
class Times:
    """Seconds of one thing over the rounds of a run.

    Attributes:
        seconds: One for each round.
    """

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle one, or the mean of the two in the middle."""
        return statistics.median(self.seconds)

    @property
    def spread(self) -> tuple[float, float]:
        """The shortest and the longest."""
        return min(self.seconds), max(self.seconds)


def take_turns(
    calls: Mapping[str, Callable[[], object]], rounds: int, device: torch.device | None = None
) -> dict[str, Times]:
    """Times calls by name, each once a round, after a round that does not count; waits for the device's work to end."""
    asynchronous = device is not None and device.type in ("cuda", "mps", "xpu")
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for counts in [False] + [True] * rounds:
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if asynchronous:
                torch.accelerator.synchronize()
            if counts:
                taken[name].append(time.perf_counter() - start)
    return {name: Times(tuple(seconds)) for name, seconds in taken.items()}


@dataclass(frozen=True)
class Fresh:
    """What a fresh process needed: seconds from its start to its end, and MiB of memory at its peak."""

    seconds: float
    peak_mib: float


_PEAK = """
import pathlib, resource, sys
status = pathlib.Path("/proc/self/status")
lines = status.read_text().splitlines() if status.is_file() else []
own = [int(line.split()[1]) / 2**10 for line in lines if line.startswith("VmHWM:")]
unit = 2**20 if sys.platform == "darwin" else 2**10
print(own[0] if own else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit)
"""
"""Tells the peak of a process. On Linux its own: what the system counts for a child begins with its parent's."""


def in_fresh_process(code: str, arguments: Sequence[str] = ()) -> Fresh:
    """Runs Python code in a process of its own, where nothing is loaded or cached yet.

    Raises:
        VnsSamError: It failed; its last line is told.
    """
    command, start = [sys.executable, "-c", code + _PEAK, *arguments], time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if done.returncode:
        told = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise VnsSamError(f"a measured process failed: {told[-1]}")
    return Fresh(seconds, float(done.stdout.split()[-1]))
