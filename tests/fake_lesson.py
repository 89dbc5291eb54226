"""A lesson that ends when it is told to, in a process of its own as the true one is."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from vns_sam.serving import learning as module

ROWS = [
    {"prompt": "box", "dataset": "set", "metric": "iou", "count": 9, "first": 0.6, "second": 0.7}
    | {"low": 0.02, "high": 0.2, "certain": True}
]
FAKE = """
import json, signal, sys, time
from pathlib import Path
from vns_sam.runs.lock import locked
folder = Path(sys.argv[1])
signal.signal(signal.SIGTERM, signal.default_int_handler)
with locked(folder.parent, folder.name):
    (folder / "told.json").write_text(json.dumps({"what": "training", "done": 3, "total": 9, "said": ["x"]}))
    while not (folder / "finish").exists():
        time.sleep(0.02)
    (folder / "run" / "model").mkdir(parents=True)
    (folder / "run" / "model" / "config.json").write_text("{}")
    result = json.loads((folder / "finish").read_text())
    (folder / "result.json.part").write_text(json.dumps(result))
    (folder / "result.json.part").rename(folder / "result.json")
"""


@contextmanager
def faked(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[None]:
    """For as long as this lasts, lessons are such; those that still run are ended then."""
    script = folder / "fake_lesson.py"
    script.write_text(FAKE)
    started: list[int] = []
    popen = module.subprocess.Popen

    def start(command: list[str], **options: Any) -> Any:
        process = popen([sys.executable, str(script), command[-1]], **options)
        started.append(process.pid)
        return process

    monkeypatch.setattr(module.subprocess, "Popen", start)
    yield
    for pid in started:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
