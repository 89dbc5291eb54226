"""A small job without models: text files become files in capitals, and a list of all."""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from vns_sam.errors import DataError
from vns_sam.images import write
from vns_sam.images.write import write_text
from vns_sam.runs.engine import Outcome, run
from vns_sam.runs.job import Job, Mapper, Result
from vns_sam.runs.plan import distinct_stems, prepare
from vns_sam.runs.processes import Processes
from vns_sam.runs.threads import overlapped

ALL = "all.txt"


@dataclass
class Capitals(Job[str]):
    """``a.txt`` becomes ``a.up`` and ``a.len``; texts that begin with "bad" fail, "deadly" ones kill their process."""

    folder: Path
    target: Path
    names: Sequence[str]
    mark: str = ""
    weights: str = "w"

    verb: ClassVar[str] = "capitals"
    item_field: ClassVar[str] = "text"
    shares_folder: ClassVar[bool] = True

    @property
    def out(self) -> Path:
        return self.target

    @property
    def items(self) -> Sequence[str]:
        return self.names

    def name(self, item: str) -> str:
        return item

    def inputs(self, item: str) -> Sequence[Path]:
        return [self.folder / item]

    def outputs(self, item: str) -> Sequence[str]:
        stem = distinct_stems(tuple(self.names))[item]
        return [f"{stem}.up", f"{stem}.len"]

    def closing(self) -> Sequence[str]:
        return [ALL]

    def asked(self) -> Mapping[str, Any]:
        return {"mark": self.mark}

    def identity(self) -> Mapping[str, Any]:
        return {"weights": self.weights}

    def key(self, item: str) -> str:
        return hashlib.sha256(self._text(item).encode()).hexdigest()

    def read(self, item: str) -> str:
        return self._text(item)

    def work(self, item: str, content: str) -> str:
        if content.startswith("bad"):
            raise DataError(f"expected letters in {item}, found bad ones")
        if content.startswith("odd"):
            raise ZeroDivisionError("odd")
        if content.startswith("deadly"):
            once = self.folder / f"{item}.killed"
            if content.startswith("deadly always") or not once.exists():
                once.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        return content.upper() + self.mark

    def encode(self, item: str, answer: str) -> Result:
        up, length = self.outputs(item)
        return Result({up: answer.encode(), length: str(len(answer)).encode()}, {"length": len(answer)})

    def finish(self, done: Sequence[Mapping[str, Any]], failed: Mapping[str, str]) -> None:
        write_text(self.target / ALL, "".join(f"{line['text']} {line['length']}\n" for line in done))

    def _text(self, item: str) -> str:
        try:
            return (self.folder / item).read_text()
        except OSError:
            raise DataError(f"no text at {self.folder / item}") from None


def write_letters(folder: Path, count: int) -> list[str]:
    """Text files, some in a sub-folder."""
    names = [f"{'sub/' if k % 3 == 2 else ''}{k:03d}.txt" for k in range(count)]
    for k, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"letters {k} " * (k + 1))
    return names


def capitals(
    folder: Path, out: Path, names: Sequence[str], mapper: Mapper = overlapped, *, force: bool = False, **more: Any
) -> Iterator[Outcome]:
    """Runs the job."""
    strict, retry = more.pop("strict", False), more.pop("retry_failed", False)
    return run(prepare(Capitals(folder, out, names, **more), force=force, retry_failed=retry), mapper, strict=strict)


def content(out: Path) -> dict[str, bytes]:
    """All files of an output, hidden ones, too."""
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def killed_at(step: int) -> None:
    """From the ``step``-th step of the one writer on, the process is gone: before the disk has a file, or its name."""
    left = [step]

    def counted(original: Any) -> Any:
        def call(*arguments: Any) -> None:
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            original(*arguments)

        return call

    write._sync, write._swap = counted(write._sync), counted(write._swap)


def main() -> None:
    """``python letters.py FOLDER OUT KILL_AT WORKERS [PAUSE]``: a run that dies, for tests of what is left."""
    folder, out, step, workers = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.txt"))
    if step >= 0:
        killed_at(step)
    for outcome in capitals(folder, out, names, Processes(workers) if workers else overlapped):
        print(outcome.name, flush=True)
        time.sleep(float(sys.argv[5]) if len(sys.argv) > 5 else 0)


if __name__ == "__main__":
    main()
