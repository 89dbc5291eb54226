"""Commands that are killed again and again go on to the same bytes; ``VNS_SAM_KILLS`` says how often each is killed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import vns_sam

KILLS = Path(__file__).parents[2] / "benchmarks" / "kills.py"
QUICK = ("segment", "pseudo-label", "train", "evaluate", "build")


@pytest.mark.timeout(0)
@pytest.mark.parametrize(
    ("kills", "verbs"), [(1, QUICK), pytest.param(50, (), marks=pytest.mark.hard)], ids=["quick", "hard"]
)
def test_killed_commands_go_on_to_the_same_bytes(kills: int, verbs: tuple[str, ...]) -> None:
    count = os.environ.get("VNS_SAM_KILLS", str(kills))
    environment = {**os.environ, "PYTHONPATH": str(Path(vns_sam.__path__[0]).parent), "OMP_NUM_THREADS": "1"}
    run = [sys.executable, str(KILLS), "--kills", count, *(["--verbs", *verbs] if verbs else [])]
    done = subprocess.run(run, capture_output=True, text=True, env=environment, check=False)
    print(done.stdout)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in done.stdout.splitlines()[2:]]
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-2000:]}"
    assert {row[0] for row in rows} >= set(verbs)
    assert all(row[1] == row[4] == count and row[5] == "0" for row in rows)
    assert sum(int(row[2]) for row in rows) > 0, "nothing was killed"
