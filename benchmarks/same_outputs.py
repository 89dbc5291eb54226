"""Do two versions of the package write the same bytes? Runs every verb with both on inputs made here.

python benchmarks/same_outputs.py BEFORE [AFTER]     each a source tree, or a revision of this repository
python benchmarks/same_outputs.py v0.1 --only train  the steps whose name holds a word
python benchmarks/same_outputs.py v0.1 --keep out    keeps what both wrote, in out/before and out/after

Both versions get the same inputs, options and relative paths. What they print and every file they write is compared
byte for byte, after times and places have been struck out of texts. What may differ, because an older version was wrong
there, stands with its reason in ``EXPECTED``. Exit code 1 when anything else differs.
"""

from __future__ import annotations

import argparse
import math
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
from safetensors.torch import load_file
from same_steps import Step, make_inputs, make_steps

from vns_sam.images.read import read_image

REPOSITORY = Path(__file__).parents[1]
STRUCK = (
    (r'"(\w*seconds|\w*time|started|finished)": (\{[^}]*\}|"[^"]*"|[\d.e-]+)', r'"\1": -'),
    (r"\b\d+(\.\d+)? s\b", "- s"),
    (r"[^\s\"]*/(before|after)/", ""),
    (r'"(weights|model|data)": "[0-9a-f]{16}"', r'"\1": -'),
    (r'"(second_look|choice)": [^,}]+(, )?', ""),
    (r"\n?Second look: .*\n", ""),
    (r'"curves": \{[^}]*\}', '"curves": -'),
)
"""What is struck out of texts: times, places, digests of models, what reports of today say of the second look, and
curves, whose numbers are coded; the scores that are read off them stay.
"""
TEXTS = {".json", ".jsonl", ".md", ".csv", ".txt", ".yaml", ".svg", ".geojson", ".log", ""}

ROUNDING = "sums in another order, for speed"
"""Reason that holds only for numbers that are no farther apart than ``CLOSE``."""
CLOSE = {".safetensors": 1e-2, ".jpg": 0.03}
"""Largest difference by the kind of file: of weights, stored as float16, after a few steps of Adam, which go either way
where a gradient is near 0, in parts of their tensor's largest; of pictures in parts of white.
"""
NUMBERS = 2e-3
"""Largest difference of numbers in texts, in parts of themselves."""
NUMBER = re.compile(r"-?\d+\.\d+(?:e-?\d+)?")
APART = "numbers apart"

EXPECTED: dict[str, str] = {
    "*/out/manifest.jsonl": "one manifest for all folder runs; segment's kept the masks of a model that had changed",
    "labels*/out/labels.jsonl": "one manifest for all folder runs",
    "enrich/printed.txt": "one last line for all folder runs",
    "segment-refined/out/moth_mask_alpha.png": "alpha maps are called alike beside single pictures and in folders",
    "segment-refined/out/moth_alpha.png": "alpha maps are called alike beside single pictures and in folders",
    "segment-refined/printed.txt": "the same",
    "train-*/recipe.yaml": "resolved recipes hold the fields of their own task",
    "train-*/config.json": "one typed form of every config.json",
    "train-*/last.pt": "a checkpoint holds its recipe",
    "train-dis-sam/out/run/cache/coarse/*": "files are named by the digest of the model, which covers its config",
    "train-*/log.jsonl": ROUNDING,
    "train-*/printed.txt": ROUNDING,
    "train-*/model.safetensors": ROUNDING,
    "average/out/model/config.json": "one typed form of every config.json",
    "average/out/model/model.safetensors": ROUNDING,
    "folder-yolo/out/*": "a YOLO set as Ultralytics trains on it, not a text for each picture",
    "folder-geojson/out/01_mask.geojson": "a ring no longer touches itself where a hole meets the outside at a corner",
    "folder-refined/out/*": "dis-sam-tiny leaves the coarse mask where its alpha inside is low",
    "score/printed.txt": "one last line for all folder runs",
    "import/out/set/objects/*": "each object whole, with its class, besides",
    "realism/out/report.json": ROUNDING,
    "labels*/out/left_out.tsv": "what was left out, and why, besides",
    "evaluate*/report.csv": ROUNDING,
    "evaluate-instances/out/rows/*": "rows of instances know their class",
    "evaluate*/rows/*": ROUNDING,
    "evaluate*/figures/*": ROUNDING,
    "evaluate*/report.json": "reports say which second look, and how masks were chosen",
    "models/printed.txt": "more models, and what all of a model weighs",
}
"""Pattern of ``step/file`` to the reason why the newer version writes something else."""


def main() -> int:
    """Compares; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", metavar="BEFORE")
    parser.add_argument("after", nargs="?", default=str(REPOSITORY), metavar="AFTER")
    parser.add_argument("--only", nargs="+", default=[""], metavar="WORD", help="steps whose name holds one of these")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="a new folder for inputs and outputs")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        room = args.keep.resolve() if args.keep else Path(scratch) / "room"
        trees = [source_tree(text, Path(scratch) / f"tree{i}") for i, text in enumerate((args.before, args.after))]
        sides = [room / name for name in ("before", "after")]
        for side, tree in zip(sides, trees, strict=True):
            make_inputs(side, trees[0] / "docs" / "moth.jpg")
            (side / "weights").symlink_to(tree / "src" / "vns_sam" / "weights")
        steps = wanted(make_steps(), args.only)
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda pair: run(steps, *pair), zip(sides, trees, strict=True)))
        verdicts = [verdict for step in steps for verdict in compare(step.name, sides)]
    return report(verdicts)


def source_tree(text: str, scratch: Path) -> Path:
    """The folder itself, or a revision's files."""
    if (Path(text) / "src" / "vns_sam").is_dir():
        return Path(text).resolve()
    scratch.mkdir()
    archive = subprocess.run(["git", "archive", text], cwd=REPOSITORY, check=True, capture_output=True).stdout
    subprocess.run(["tar", "-x"], cwd=scratch, input=archive, check=True)
    return scratch


def wanted(steps: Sequence[Step], words: Sequence[str]) -> list[Step]:
    """The steps whose name holds one of the words, and those that they need."""
    by_name = {step.name: step for step in steps}
    names: set[str] = set()

    def add(step: Step) -> None:
        names.add(step.name)
        for need in step.needs:
            add(by_name[need])

    for step in steps:
        if any(word in step.name for word in words):
            add(step)
    return [step for step in steps if step.name in names]


def compare(step: str, sides: Sequence[Path]) -> Iterator[tuple[str, str]]:
    """``step/file`` and what is different about each file of a step."""
    files = [written(side / step) for side in sides]
    for name in sorted(files[0].keys() | files[1].keys()):
        yield f"{step}/{name}", judge(files[0].get(name), files[1].get(name))


def run(steps: Sequence[Step], side: Path, tree: Path) -> None:
    """Runs the steps in the side's folder, all in one process: most of a short command is starting Python."""
    environment = {**os.environ, "PYTHONPATH": str(tree / "src"), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    line = [sys.executable, str(Path(__file__).with_name("same_steps.py")), *(step.name for step in steps)]
    done = subprocess.run(line, cwd=side, env=environment, check=False)
    if done.returncode:
        sys.exit(f"error: the steps could not be run with {tree}")


def written(folder: Path) -> dict[str, Path]:
    """Every file below a folder by its name there."""
    return {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}


def judge(before: Path | None, after: Path | None) -> str:
    """What is different about a file; empty when nothing is."""
    if before is None or after is None:
        return "is new" if before is None else "is gone"
    first, second = before.read_bytes(), after.read_bytes()
    if first == second:
        return ""
    if before.suffix in TEXTS and strike(first.decode()) == strike(second.decode()):
        return ""
    measure = {".safetensors": tensors_apart, ".jpg": pictures_apart}.get(before.suffix, numbers_apart)
    if before.suffix in CLOSE or before.suffix in TEXTS:
        apart = measure(before, after)
        if apart <= CLOSE.get(before.suffix, NUMBERS):
            return f"{APART} by {apart:.1e} at most"
    return f"differs: {len(first)} and {len(second)} bytes"


def tensors_apart(before: Path, after: Path) -> float:
    """The largest difference of two files of weights; infinite where they hold other tensors."""
    first, second = load_file(before), load_file(after)
    if {name: value.shape for name, value in first.items()} != {name: value.shape for name, value in second.items()}:
        return math.inf
    pairs = [(value.double(), second[name].double()) for name, value in first.items() if value.numel()]
    return max(float((one - other).abs().max() / one.abs().max().clamp_min(1)) for one, other in pairs)


def pictures_apart(before: Path, after: Path) -> float:
    """The largest difference of two pictures; infinite where they have other sizes."""
    first, second = read_image(before), read_image(after)
    return float(np.abs(first / 255 - second / 255).max()) if first.shape == second.shape else math.inf


def numbers_apart(before: Path, after: Path) -> float:
    """The largest difference of the numbers in two texts; infinite where anything else differs."""
    texts = [strike(path.read_text()) for path in (before, after)]
    if len({NUMBER.sub("", text) for text in texts}) > 1:
        return math.inf
    pairs = zip(*(map(float, NUMBER.findall(text)) for text in texts), strict=True)
    return max((abs(one - other) / max(abs(one), 0.01) for one, other in pairs), default=0.0)


def strike(text: str) -> str:
    """The text without times and places."""
    for pattern, instead in STRUCK:
        text = re.sub(pattern, instead, text)
    return text


def report(verdicts: Sequence[tuple[str, str]]) -> int:
    """Prints a line for each step and each difference; 1 when one of them is unexpected."""
    counts: dict[str, list[int]] = {}
    unexpected = 0
    lines = []
    for name, verdict in verdicts:
        count = counts.setdefault(name.split("/")[0], [0, 0, 0])
        reason = next((why for pattern, why in EXPECTED.items() if fnmatch(name, pattern)), "")
        reason = "" if reason == ROUNDING and not verdict.startswith(APART) else reason
        count[0 if not verdict else 1 if reason else 2] += 1
        unexpected += bool(verdict) and not reason
        if verdict:
            lines.append(f"{name}: {verdict}{f' (expected: {reason})' if reason else ''}")
    print(f"{'step':<32}{'same':>6}{'expected':>10}{'differ':>8}")
    for step, (same, known, other) in counts.items():
        print(f"{step:<32}{same:>6}{known:>10}{other:>8}")
    print(*["", *lines] if lines else [], sep="\n")
    print(f"\n{len(verdicts)} files, {unexpected} unexpected differences")
    return 1 if unexpected else 0


if __name__ == "__main__":
    sys.exit(main())
