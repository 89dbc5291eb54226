"""Kills commands inside their writes and at random moments, and compares what resumes.

python benchmarks/kills.py --kills 50                     every verb; one line each
python benchmarks/kills.py --verbs segment train --kills 200 --seed 3
python benchmarks/kills.py --verbs segment "segment workers" --kills 6 --pictures 2000

Every run is a process of its own that dies by a signal it cannot hear: half of them before a chosen step of the one
writer (:mod:`vns_sam.images.write`: a file goes to the disk, a name is given), half at a random moment. Some are killed
once more while they go on. Of "segment workers" every second run loses one of its two worker processes instead, and
must end by itself. Then the same command runs undisturbed, and every byte must be that of a run that never was
(but for seconds; of a training's ``last.pt`` all values, whose order in the file may be another).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

import vns_sam.data.sets.build
import vns_sam.evaluation.suite
import vns_sam.inference.load
import vns_sam.labelling.folder
import vns_sam.lowlight.folder
import vns_sam.training.chain  # noqa: F401 - what every run would import again
from vns_sam.cli.main import main as command
from vns_sam.images import write
from vns_sam.images.write import write_image, write_mask, write_text
from vns_sam.sam.architectures import LiteConfig
from vns_sam.sam.config import MaskDecoderConfig, SamConfig
from vns_sam.sam.model import SamModel

WORKERS = "segment workers"
TWICE = 0.3
"""Share of the runs that are killed a second time."""
NARROW = SamConfig(
    name="narrow",
    backbone=LiteConfig(),
    image_size=64,
    level_channels=(384, 160, 112, 320),
    mixer_blocks=1,
    mask_decoder=MaskDecoderConfig(hidden_size=32, mlp_dim=64, num_attention_heads=4, iou_head_hidden_dim=32),
)
"""A model that answers in no time; what it answers does not matter here."""
Content = dict[str, Any]


def make_inputs(folder: Path, pictures: int) -> None:
    """A narrow model, a set of bright discs on noise, prompts, a download to build from, and a recipe."""
    torch.manual_seed(0)
    SamModel(NARROW).save_pretrained(folder / "narrow")
    rng = np.random.default_rng(0)
    rows = []
    for k in range(pictures):
        y, x = np.mgrid[:48, :64]
        down = k % 6
        disc = (y - 20 - down) ** 2 + (x - 30) ** 2 < 150
        image = rng.integers(0, 60, (48, 64, 3)).astype(np.uint8)
        image[disc] += 120
        for place, names in (("set", ("images", "masks")), ("raw/NC4K", ("Imgs", "GT"))):
            write_image(folder / place / names[0] / f"{k}.jpg", image)
            write_mask(folder / place / names[1] / f"{k}.png", disc)
        rows.append(f"{k}.jpg,17,{7 + down},43,{33 + down}")
    write_text(folder / "boxes.csv", "\n".join(rows))
    recipe = {
        **{"task": "sam", "out": "OUT", "init": str(folder / "narrow"), "steps": 4, "batch_size": 1, "workers": 0},
        "data": {"root": str(folder), "sets": {"set": 1}, "sizes": [64]},
        **{"checkpoint_every": 1, "log_every": 1, "validation": {"every": 2, "limit": 1}},
    }
    write_text(folder / "recipe.yaml", yaml.safe_dump(recipe))
    if child(["data", "scribble", str(folder / "set"), "--out", str(folder / "strokes")]):
        raise SystemExit("error: the strokes could not be drawn")


def verbs(folder: Path) -> dict[str, list[str]]:
    """The command lines, without ``--out``."""
    source, model = str(folder / "set"), str(folder / "narrow")
    prompts = ["--prompts", str(folder / "boxes.csv")]
    return {
        "segment": ["segment", f"{source}/images", *prompts, "--overlay", "--model", model],
        WORKERS: ["segment", f"{source}/images", *prompts, "--workers", "2", "--model", model],
        "segment coco": ["segment", f"{source}/images", *prompts, "--format", "coco", "--model", model],
        "pseudo-label": [
            *("pseudo-label", source, "--labels", str(folder / "strokes"), "--views", "none", "--model", model)
        ],
        "evaluate": ["evaluate", model, "--data", source, "--prompt", "box", "points:2", "--save-maps", "OUT/maps"],
        "train": ["train", str(folder / "recipe.yaml")],
        "build": ["data", "build", "vns-seg", "--raw", str(folder / "raw"), "--workers", "0"],
        "score": ["data", "score", source, "--workers", "0"],
        "darken": ["data", "darken", source, "--workers", "0"],
        "enrich": ["data", "enrich", source, "--workers", "0"],
        "scribble": ["data", "scribble", source],
        "scribble box": ["data", "scribble", source, "--kind", "box"],
    }


def child(
    arguments: list[str], prepare: Callable[[], None] = lambda: None, meanwhile: Callable[[int], None] = lambda _: None
) -> int:
    """Runs a command line in a process of its own; its exit status, negative for a signal.

    Args:
        arguments: The command line.
        prepare: Called in that process first.
        meanwhile: Called here with the number of that process.
    """
    pid = os.fork()
    if pid == 0:
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1), os.dup2(quiet, 2)
        prepare()
        os._exit(command([*arguments, "--quiet"]))
    meanwhile(pid)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def kill_worker(seconds: float, killed: list[int]) -> Callable[[int], None]:
    """Kills one process that a process has started, after so long; ``killed`` notes which."""

    def meanwhile(pid: int) -> None:
        time.sleep(seconds)
        started = [int(n) for task in Path(f"/proc/{pid}/task").glob("*/children") for n in task.read_text().split()]
        workers = [n for n in started if b"resource_tracker" not in Path(f"/proc/{n}/cmdline").read_bytes()]
        for worker in workers[:1]:
            os.kill(worker, signal.SIGKILL)
            killed.append(worker)

    return meanwhile


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


def content(out: Path) -> Content:
    """All files, hidden ones, too: without seconds, of files of lines the whole ones, of checkpoints the values."""
    found: Content = {}
    for path in sorted(out.rglob("*")):
        if path.is_file():
            text = path.read_bytes()
            if path.suffix == ".jsonl":
                lines = [timeless(line) for line in text.splitlines() if whole(line)]
                found[str(path.relative_to(out))] = sorted(lines) if path.name == "manifest.jsonl" else lines
            elif path.suffix == ".pt":
                found[str(path.relative_to(out))] = plain(torch.load(path, weights_only=True))
            else:
                found[str(path.relative_to(out))] = timeless(text) if path.suffix == ".json" else text
    return found


def plain(state: Any) -> Any:
    """What a checkpoint of a training says, whatever the order in which it says it."""
    if isinstance(state, dict):
        return sorted((str(name), plain(value)) for name, value in state.items())
    if isinstance(state, list | tuple):
        return [plain(value) for value in state]
    if isinstance(state, torch.Tensor):
        values = state.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
        return str(state.dtype), tuple(state.shape), hashlib.sha256(values).hexdigest()
    return repr(state)


def timeless(text: bytes) -> bytes:
    """JSON without what it says of seconds."""
    return re.sub(rb'"seconds": (\{[^}]*\}|[0-9.e-]+)(, )?', b"", text)


def whole(line: bytes) -> bool:
    """Whether a line was written to its end."""
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def attack(name: str, arguments: list[str], out: Path, kills: int, rng: random.Random) -> bool:
    """Kills a command again and again; whether all that was resumed is what it should be."""
    told = [*(word.replace("OUT", str(out)) for word in arguments), "--out", str(out)]
    start = time.perf_counter()
    if child(told):
        print(f"| {name} | could not run |", flush=True)
        return False
    seconds = time.perf_counter() - start
    expected = content(out)
    steps = 2 * (len(expected) + 2)
    died = again = equal = 0
    for kill in range(kills):
        shutil.rmtree(out, ignore_errors=True)
        moment = rng.uniform(0.2, 1.0) * seconds
        if name == WORKERS and kill % 2:
            lost: list[int] = []
            ended = child(told, meanwhile=kill_worker(moment, lost))
            died += len(lost)
            equal += (good := ended == 0 and content(out) == expected)
            if not good:
                tell(ended, expected, content(out))
            continue
        died += child(told, at_step(rng.randrange(steps)) if kill % 2 else after(moment)) < 0
        if rng.random() < TWICE:
            again += child(told, at_step(rng.randrange(steps))) < 0
        ended, found = child(told), content(out)
        good = ended == 0 and found == expected
        equal += good
        if not good:
            tell(ended, expected, found)
    shutil.rmtree(out, ignore_errors=True)
    print(f"| {name} | {kills} | {died} | {again} | {equal} | {kills - equal} |", flush=True)
    return equal == kills


def tell(ended: int, expected: Content, found: Content) -> None:
    """What came out otherwise."""
    names = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    print(f"exit code {ended}, different: {', '.join(names)}", file=sys.stderr)


def main() -> int:
    """Attacks the verbs that are asked for; 1 where anything came out otherwise."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--verbs", nargs="+")
    parser.add_argument("--pictures", type=int, default=6)
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_inputs(folder, args.pictures)
        print("| verb | runs | killed | killed again | equal | different |")
        print("|---|--:|--:|--:|--:|--:|", flush=True)
        good = True
        for verb, arguments in verbs(folder).items():
            if not args.verbs or verb in args.verbs:
                good &= attack(verb, arguments, folder / "out", args.kills, random.Random(args.seed))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
