"""Kills commands that work through a folder, inside their writes and at random moments, and compares what resumes.

python benchmarks/kills.py --kills 50                     every verb; one line each
python benchmarks/kills.py --verbs segment --kills 200 --seed 3

Every run is a process of its own that dies by a signal it cannot hear: half of them before a chosen step of the one
writer (:mod:`vns_sam.images.write`: a file goes to the disk, a name is given), half at a random moment. Some are killed
once more while they go on. Then the same command runs undisturbed, and every byte must be that of a run that never was
(but for the seconds in a manifest).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import vns_sam.inference.load
import vns_sam.labelling.folder
import vns_sam.lowlight.folder  # noqa: F401 - what every run would import again
from vns_sam.cli.main import main as command
from vns_sam.images import write
from vns_sam.images.write import write_image, write_mask, write_text

PICTURES = 8
TWICE = 0.3
"""Share of the runs that are killed a second time."""


def make_inputs(folder: Path) -> None:
    """A set of bright discs on noise, prompts, and strokes."""
    rng = np.random.default_rng(0)
    rows = []
    for k in range(PICTURES):
        y, x = np.mgrid[:48, :64]
        disc = (y - 20 - k) ** 2 + (x - 30) ** 2 < 150
        image = rng.integers(0, 60, (48, 64, 3)).astype(np.uint8)
        image[disc] += 120
        write_image(folder / "set" / "images" / f"{k}.jpg", image)
        write_mask(folder / "set" / "masks" / f"{k}.png", disc)
        rows.append(f"{k}.jpg,17,{7 + k},43,{33 + k}")
    write_text(folder / "boxes.csv", "\n".join(rows))


def verbs(folder: Path) -> dict[str, list[str]]:
    """The command lines, without ``--out``."""
    source = str(folder / "set")
    prompts = ["--prompts", str(folder / "boxes.csv")]
    return {
        "segment": ["segment", f"{source}/images", *prompts, "--overlay", "--model", "sam-tiny"],
        "segment coco": ["segment", f"{source}/images", *prompts, "--format", "coco", "--model", "sam-tiny"],
        "pseudo-label": ["pseudo-label", source, "--labels", str(folder / "strokes"), "--views", "none"],
        "darken": ["data", "darken", source, "--workers", "0"],
        "enrich": ["data", "enrich", source, "--workers", "0"],
        "scribble": ["data", "scribble", source],
        "scribble box": ["data", "scribble", source, "--kind", "box"],
    }


def child(arguments: list[str], prepare: Callable[[], None] = lambda: None) -> int:
    """Runs a command line in a process of its own; its exit status, negative for a signal."""
    pid = os.fork()
    if pid == 0:
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1), os.dup2(quiet, 2)
        prepare()
        os._exit(command([*arguments, "--quiet"]))
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def at_step(step: int) -> Callable[[], None]:
    """Makes the process die before the ``step``-th step of the writer."""

    def prepare() -> None:
        left = [step]

        def counted(original: Callable[..., None]) -> Callable[..., None]:
            def call(*given: Any) -> None:
                left[0] -= 1
                if left[0] < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                original(*given)

            return call

        write._sync, write._swap = counted(write._sync), counted(write._swap)

    return prepare


def after(seconds: float) -> Callable[[], None]:
    """Makes the process die after so long, wherever it is."""

    def prepare() -> None:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, seconds)

    return prepare


def content(out: Path) -> dict[str, bytes]:
    """All files, hidden ones, too; lines of manifests without their seconds."""
    found = {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}
    for name in found:
        if name.endswith(".jsonl"):
            lines = [json.loads(line) for line in found[name].splitlines()]
            found[name] = json.dumps([{k: v for k, v in line.items() if k != "seconds"} for line in lines]).encode()
    return found


def attack(name: str, arguments: list[str], folder: Path, kills: int, rng: random.Random) -> bool:
    """Kills a command again and again; whether all that was resumed is what it should be."""
    start = time.perf_counter()
    assert child([*arguments, "--out", str(folder / "whole")]) == 0
    seconds = time.perf_counter() - start
    whole = content(folder / "whole")
    steps = 2 * (len(whole) + 2)
    died = again = equal = 0
    for kill in range(kills):
        out = folder / f"out{kill}"
        told = [*arguments, "--out", str(out)]
        how = at_step(rng.randrange(steps)) if kill % 2 else after(rng.uniform(0.2, 1.0) * seconds)
        died += child(told, how) < 0
        if rng.random() < TWICE:
            again += child(told, at_step(rng.randrange(steps))) < 0
        ended = child(told)
        equal += ended == 0 and content(out) == whole
        shutil.rmtree(out, ignore_errors=True)
    print(f"| {name} | {kills} | {died} | {again} | {equal} | {kills - equal} |", flush=True)
    return equal == kills


def main() -> int:
    """Attacks the verbs that are asked for; 1 where anything came out otherwise."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--verbs", nargs="+")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_inputs(folder)
        assert child(["data", "scribble", str(folder / "set"), "--out", str(folder / "strokes")]) == 0
        print("| verb | runs | killed | killed again | equal | different |")
        print("|---|--:|--:|--:|--:|--:|", flush=True)
        good = True
        for verb, arguments in verbs(folder).items():
            if not args.verbs or verb in args.verbs:
                place = folder / verb.replace(" ", "_")
                good &= attack(verb, arguments, place, args.kills, random.Random(args.seed))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
