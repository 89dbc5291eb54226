"""A full disk, a place that takes nothing, a folder that is held, a clock that jumps, no standard output: told, and
nothing is lost.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from workshop import write_disks

import vns_sam

QUICK = ("segment", "train", "evaluate", "build", "score")
MORE = ("segment coco", "pseudo-label", "darken", "enrich", "scribble", "scribble box")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(vns_sam.__path__[0]).parent), "OMP_NUM_THREADS": "1"}


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("verbs", [QUICK, pytest.param(MORE, marks=pytest.mark.hard)], ids=["quick", "hard"])
def test_places_that_give_way(verbs: tuple[str, ...]) -> None:
    script = Path(__file__).with_name("places.py")
    run = [sys.executable, str(script), *verbs]
    done = subprocess.run(run, capture_output=True, text=True, env=ENVIRONMENT, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    for line in map(json.loads, done.stdout.splitlines()):
        verb = line.pop("verb")
        codes = set(line.pop("full"))
        assert codes <= {0, 3}, f"{verb} on a full disk: {codes}"
        assert 3 in codes, verb
        held = {"held": 2, "untouched": True, "nowhere": 3}
        assert line == {"whole": 0, "again": 0, "equal": True, "jumped": True, **held}, verb


@pytest.mark.parametrize("out", [False, True])
def test_no_standard_output(tmp_path: Path, out: bool) -> None:
    source = write_disks(tmp_path / "disks", 2)
    told = f" --out {tmp_path / 'scores'}" if out else ""
    line = f"exec {sys.executable} -m vns_sam --quiet data score {source} --workers 0{told} >&-"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, env=ENVIRONMENT, check=False)
    assert done.returncode in (0, 3), done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 2
    if out:
        assert (tmp_path / "scores" / "scores.csv").is_file()
