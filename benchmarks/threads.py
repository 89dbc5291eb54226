"""Encoding with one thread, with one for each core as commands do it, and as torch does by itself: idle and busy.

python benchmarks/threads.py                      beside nothing, then beside two processes that never rest
python benchmarks/threads.py --busy 4 --model sam-tiny --backend onnx

Each sample is the median of some pictures in a process of its own, which settles its threads before it loads anything;
the ways take turns. "spinning" is how OpenMP waits when nobody tells it otherwise.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

import torch

from vns_sam.cli.threads import WAITING, settle_threads
from vns_sam.evaluation.cost import hardware

ENCODE = """
import sys, time, numpy
from vns_sam.inference.load import load_model
model = load_model(sys.argv[1], backend=sys.argv[2])
image = numpy.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=numpy.uint8)
taken = []
for _ in range(int(sys.argv[3]) + 1):
    start = time.perf_counter()
    model.encode([image])
    taken.append(time.perf_counter() - start)
print(sorted(taken[1:])[int(sys.argv[3]) // 2])
"""
PICTURES = 5
"""Encoded in a process, after one that does not count."""
WAYS = ("one thread", "one for each core", "spinning")


def environment(way: str) -> dict[str, str]:
    """What a process is told of threads."""
    told = {name: value for name, value in os.environ.items() if name not in WAITING and not name.startswith("OMP_")}
    if way == "spinning":
        return told | {"OMP_WAIT_POLICY": "active"}
    settle_threads(1 if way == WAYS[0] else None, told)
    return told


@contextmanager
def beside(busy: int) -> Iterator[None]:
    """So many processes that never rest."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(busy)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def main() -> None:
    """Prints seconds and how many times the best way they are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="vns-sam-tiny")
    parser.add_argument("--backend", default="torch", choices=["torch", "onnx"])
    parser.add_argument("--busy", type=int, nargs="+", default=[0, 2], metavar="N", help="processes beside (0 2)")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    print(f"{hardware(torch.device('cpu'))}; {args.model}, {args.backend}")
    for busy in args.busy:
        taken: dict[str, list[float]] = {way: [] for way in WAYS}
        with beside(busy):
            for _ in range(args.rounds):
                for way, seconds in taken.items():
                    command = [sys.executable, "-c", ENCODE, args.model, args.backend, str(PICTURES)]
                    done = subprocess.run(command, env=environment(way), capture_output=True, text=True, check=True)
                    seconds.append(float(done.stdout))
        best = min(median(taken[way]) for way in WAYS[:2])
        for way, seconds in taken.items():
            spread = f"({1000 * min(seconds):.0f} to {1000 * max(seconds):.0f})"
            told = f"{1000 * median(seconds):>8.0f} ms  {spread:<16}{median(seconds) / best:.2f} x the better"
            print(f"  beside {busy}: {way:<20}{told}", flush=True)


if __name__ == "__main__":
    main()
