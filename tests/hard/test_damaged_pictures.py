"""Damaged pictures are read right or refused in one line; none brings the process down or takes its memory."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from damage import GIB, corpus

SLOWEST = 60.0
"""Seconds for one file, on a machine that has other work."""


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("count", "seed"), [(120, 0), pytest.param(2000, 1, marks=pytest.mark.hard)], ids=["quick", "hard"]
)
def test_damaged_pictures_are_read_or_refused(tmp_path: Path, count: int, seed: int) -> None:
    for name, content in corpus(count, seed):
        (tmp_path / name).write_bytes(content)
    script = Path(__file__).with_name("damage.py")
    done = subprocess.run([sys.executable, str(script), str(tmp_path)], capture_output=True, text=True, check=False)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, f"{lines[-1]}: {done.stderr[-2000:]}"
    found = {line["name"]: line for line in lines if "name" in line}
    assert len(found) == len(list(tmp_path.iterdir()))
    assert [name for name, line in found.items() if "RAISED" in line["error"]] == []
    assert [name for name, line in found.items() if line["error"] and (name not in line["error"])] == []
    assert [name for name, line in found.items() if "\n" in line["error"]] == []
    assert [name for name, line in found.items() if bool(line["error"]) == bool(line["size"])] == []
    assert [name for name, line in found.items() if line["seconds"] > SLOWEST] == []
    wrong = [
        name for name, line in found.items() if "-whole-" in name and line["size"] not in ([37, 53, 3], [32, 32, 3])
    ]
    assert wrong == []
    assert [name for name, line in found.items() if "-renamed-" in name and line["size"]] == []
    (peak,) = [line["peak"] for line in lines if "peak" in line]
    assert peak < 2 * GIB
    kinds = Counter((name.split("-")[1], "refused" if line["error"] else "read") for name, line in found.items())
    print(f"{len(found)} pictures, peak {peak / 2**20:.0f} MiB, {dict(kinds)}")
