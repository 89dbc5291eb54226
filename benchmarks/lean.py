"""What the package costs without torch: megabytes on the disk, and seconds to the first mask of a process.

    python benchmarks/lean.py                     # builds the wheel, installs it into a fresh environment
    python benchmarks/lean.py --rounds 9 --json

A cold first mask is a process that reads a picture, opens the bundled model and answers one box. It is set beside its
parts, measured in one process of the same environment: opening both graphs, encoding, decoding. Runs take turns.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "src" / "vns_sam" / "assets" / "demo.jpg"
FIRST_MASK = """
import sys, vns_sam
predictor = vns_sam.Predictor("vns-sam-tiny", second_look="off")
predictor.set_image(sys.argv[1])
predictor.predict(boxes=[[198, 98, 449, 311]])
assert "torch" not in sys.modules
"""
PARTS = """
import json, sys, time, vns_sam
from vns_sam.images.read import read_image
marks = [time.perf_counter()]
predictor = vns_sam.Predictor("vns-sam-tiny", second_look="off")
for graph in ("encoder", "decoder"):
    predictor.model.folder.prepare(graph).result()
marks.append(time.perf_counter())
picture = read_image(sys.argv[1])
for _ in range(2):  # the first encoding and decoding make room, the second is what a picture costs
    start = time.perf_counter()
    predictor.set_image(picture)
    middle = time.perf_counter()
    predictor.predict(boxes=[[198, 98, 449, 311]])
    end = time.perf_counter()
print(json.dumps([marks[1] - marks[0], middle - start, end - middle]))
"""
NOTHING = "import numpy, cv2, PIL, onnxruntime"


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), args.rounds)
    if args.json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        print(f"{name:<28}{value:>10.2f}")


def measure(folder: Path, rounds: int) -> dict[str, float]:
    """Megabytes and seconds, medians."""
    python = folder / "env" / "bin" / "python"
    venv.create(folder / "env", with_pip=True)
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "-q"]
    before = _size(folder / "env")
    subprocess.run([*pip, "wheel", "--no-deps", "-w", str(folder), str(ROOT)], check=True)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([*pip, "install", str(wheel)], check=True)
    cold, imports, parts = [], [], []
    for _ in range(rounds):
        cold.append(_timed([str(python), "-c", FIRST_MASK, str(PICTURE)]))
        imports.append(_timed([str(python), "-c", NOTHING]))
        done = subprocess.run([str(python), "-c", PARTS, str(PICTURE)], check=True, capture_output=True, text=True)
        parts.append(json.loads(done.stdout))
    opening, encoding, decoding = (median(column) for column in zip(*parts, strict=True))
    least = median(imports) + opening + encoding + decoding
    return {
        "wheel MB": wheel.stat().st_size / 1e6,
        "installed MB": (_size(folder / "env") - before) / 1e6,
        "first mask s": median(cold),
        "of it: imports of others s": median(imports),
        "of it: opening graphs s": opening,
        "of it: encoding s": encoding,
        "of it: decoding s": decoding,
        "first mask / sum of these": median(cold) / least,
    }


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _timed(command: list[str]) -> float:
    """Seconds of a process, measured by itself to leave out how long it waited for its turn to be collected."""
    timer = "import subprocess, sys, time; s = time.perf_counter(); subprocess.run(sys.argv[1:], check=True)"
    done = subprocess.run(
        [sys.executable, "-c", f"{timer}; print(time.perf_counter() - s)", *command],
        check=True,
        capture_output=True,
        text=True,
    )
    return float(done.stdout)


if __name__ == "__main__":
    main()
