"""Reads millions of made-up files: a search that follows which lines of a reader a file reaches (atheris, libFuzzer).

python benchmarks/fuzz.py                                every kind of file for a minute each
python benchmarks/fuzz.py --kinds coco voc --seconds 600

Needs ``pip install atheris``. It begins with a whole file of each kind (tests/hard/ours.py). A reader may give back
what it read or raise an error of ours; anything else, or more than ``LONGEST`` seconds or ``MEMORY`` MiB, is a fault:
what brought it about is kept in ``--keep`` and the exit code is 1.
"""

from __future__ import annotations

import argparse
import logging
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
LONGEST, MEMORY = 20, 4096
SHARED = Path("/dev/shm")
"""Files that are only memory, where there are such."""


def main() -> int:
    """Prints a row for each kind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", metavar="PART", help="files whose name holds one of these (all)")
    parser.add_argument("--seconds", type=int, default=60, help="for each kind (%(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, default=Path("out/fuzz"), help="where faults are kept (%(default)s)")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one is not None:
        search(args.one, args.folder, args)
    sys.path.insert(0, str(ROOT / "tests" / "hard"))
    from ours import kinds  # type: ignore[import-not-found]

    args.keep.mkdir(parents=True, exist_ok=True)
    faults = 0
    print("| file | read | lines and branches reached | faults |\n|---|--:|--:|--:|", flush=True)
    with tempfile.TemporaryDirectory(dir=SHARED if SHARED.is_dir() else None) as made:
        for number, kind in enumerate(kinds(_new(Path(made), "kinds"))):
            if args.kinds and not any(part in kind.name for part in args.kinds):
                continue
            asked = {"one": number, "folder": _new(Path(made), str(number)), "keep": args.keep}
            asked |= {"seconds": args.seconds, "seed": args.seed}
            options = [word for name, value in asked.items() for word in (f"--{name}", str(value))]
            ended = subprocess.run([sys.executable, __file__, *options], capture_output=True, text=True, check=False)
            done = re.findall(r"#(\d+)\s+\w+\s+cov: (\d+)", ended.stderr) or [("0", "0")]
            faults += ended.returncode != 0
            print(f"| {kind.name} | {done[-1][0]} | {done[-1][1]} | {int(ended.returncode != 0)} |", flush=True)
            if ended.returncode:
                print("\n".join(ended.stderr.strip().splitlines()[-25:]), file=sys.stderr)
    return int(faults > 0)


def _new(folder: Path, name: str) -> Path:
    (folder / name).mkdir()
    return folder / name


def search(number: int, folder: Path, args: argparse.Namespace) -> None:
    """Reads one kind until the time is over or a fault is found; ends the process."""
    import atheris  # type: ignore[import-untyped, import-not-found, unused-ignore]

    with atheris.instrument_imports(include=["vns_sam"], enable_loader_override=False):
        sys.path.insert(0, str(ROOT / "tests" / "hard"))
        from ours import kinds

        from vns_sam.errors import VnsSamError

        kind = [*kinds(_new(folder, "whole"))][number]
        path = _new(folder, "read") / kind.name
        path.write_bytes(kind.content)
        kind.read(path)  # what it imports is watched, too
    first = _new(folder, "begin")
    (first / "whole").write_bytes(kind.content)
    logging.disable(logging.CRITICAL)  # what is passed over is told in the log, a line for each

    def read(content: bytes) -> None:
        path.write_bytes(content)
        try:
            kind.read(path)
        except VnsSamError as error:
            if "\n" in error.message:
                raise AssertionError(f"a message of several lines: {error.message}") from error

    limits = [f"-max_total_time={args.seconds}", f"-timeout={LONGEST}", f"-rss_limit_mb={MEMORY}", f"-seed={args.seed}"]
    kept = f"-artifact_prefix={args.keep.resolve()}/{kind.name}-"
    atheris.Setup([sys.argv[0], *limits, kept, str(first)], read)
    atheris.Fuzz()


if __name__ == "__main__":
    raise SystemExit(main())
