"""Learning from what was annotated: one training at a time, in a process of its own, with all that is known on disk."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from vns_sam.data.importing import write_objects
from vns_sam.data.sets.divide import FEWEST
from vns_sam.formats.objects import Object
from vns_sam.images.write import encode_image, link_or_copy, write_bytes, write_json
from vns_sam.runs.lock import Holder, holder
from vns_sam.serving.engine import Adapted
from vns_sam.serving.lesson import ORDER, RESULT, RUN, SET, TOLD
from vns_sam.serving.lesson_schemas import LearnedRow, LearnState
from vns_sam.serving.problems import conflicting, unusable

PREFIX, DRAFTS, STOPPED = "learned-", "drafts", "stopped"
NEEDED = ("torch", "transformers", "accelerate", "faster_coco_eval", "py_sod_metrics")
MODEL = "model"
"""Where the run puts its model, see :mod:`vns_sam.studies.adapt`, which is not imported here: it wants torch."""
MOST_PICTURES = 2000
LONGEST = 40
"""Characters of a picture's name that its files begin with; files take 255 bytes, and a character up to four."""
ENDING = 20.0
"""Seconds in which a process that is told to stop writes where it was."""


class Learning:
    """Trainings in folders ``learned-1``, ``learned-2``, ... of one folder.

    Several servers may look at the same folder: which training runs is told by the lock that it holds and has signed
    with its folder's name, what came of it by its files. Nothing is made on disk before the first picture is given.

    Args:
        root: The folder; None where learning is switched off.
        device: Where models are measured.
        changes: Fields of the recipe that differ, for tests.
    """

    def __init__(self, root: Path | None, device: str = "cpu", changes: Sequence[tuple[str, Any]] = ()) -> None:
        self.root, self.device, self.changes = root, device, tuple(changes)
        self._process: subprocess.Popen[bytes] | None = None
        self._name = ""  # of the lesson that this process learns

    @property
    def missing(self) -> str:
        """What has to be there first, "" where nothing is missing."""
        if self.root is None:
            return "learning is switched off: start the server with --learn DIR"
        lacking = [name for name in NEEDED if find_spec(name) is None]
        return f"{', '.join(lacking)} is not installed: pip install 'vns-sam[train,eval]'" if lacking else ""

    def models(self) -> dict[str, Adapted]:
        """The models that were learned and taken, by the name they are on offer with."""
        found = {}
        for folder in self._lessons():
            if _read(folder / RESULT).get("taken") and (folder / RUN / MODEL / "config.json").is_file():
                found[folder.name] = Adapted(str(folder / RUN / MODEL), str(_read(folder / ORDER).get("model", "")))
        return found

    # ---- pictures ----

    def clear(self, owner: str) -> None:
        """Forgets the pictures that an owner has given for the next lesson."""
        if self.root is not None:
            shutil.rmtree(self._draft(owner), ignore_errors=True)

    def give(self, owner: str, name: str, source: np.ndarray | Path, masks: Sequence[np.ndarray]) -> None:
        """Takes a picture with its objects for the next lesson.

        Args:
            owner: Whose lesson.
            name: Of the picture; one of the same name is replaced.
            source: Pixels (H, W, 3) uint8, or the file, which is linked.
            masks: One (H, W) bool for each object.

        Raises:
            Problem: There are too many pictures, or it cannot be learned here.
            OutputError: The place cannot be written.
        """
        if self.missing:
            raise unusable(self.missing)
        folder = self._draft(owner)
        if sum(1 for _ in folder.glob("masks/*.png")) >= MOST_PICTURES:
            raise unusable(f"more than {MOST_PICTURES} pictures to learn from", hint="vns-sam train FOLDER takes more")
        stem = _stem(name)
        for made in folder.glob(f"images/{stem}.*"):
            made.unlink()
        if isinstance(source, Path):
            link_or_copy(source, folder / "images" / f"{stem}{source.suffix}")
        else:
            write_bytes(folder / "images" / f"{stem}.png", encode_image(source, photo=True))
        write_objects(folder, stem, [Object(mask) for mask in masks])

    def given(self, owner: str) -> int:
        """How many pictures were given for the next lesson."""
        return 0 if self.root is None else sum(1 for _ in self._draft(owner).glob("masks/*.png"))

    # ---- the lesson ----

    def start(self, owner: str, model: str, minutes: float) -> None:
        """Begins a lesson with the pictures that were given.

        Raises:
            Problem: One runs, there are too few pictures, or it cannot be learned here.
        """
        if self.missing:
            raise unusable(self.missing)
        self._refuse_second()
        if self.given(owner) < FEWEST:
            raise unusable(f"expected {FEWEST} annotated pictures at least, found {self.given(owner)}")
        assert self.root is not None
        numbers = [int(folder.name.removeprefix(PREFIX)) for folder in self._lessons()]
        folder = self.root / f"{PREFIX}{max(numbers, default=0) + 1}"
        folder.mkdir()
        self._draft(owner).rename(folder / SET)
        order = {"owner": owner, "start": self._place(model), "model": model, "minutes": minutes}
        write_json(folder / ORDER, {**order, "device": self.device, "changes": self.changes})
        self._run(folder)

    def go_on(self, owner: str) -> None:
        """Goes on with the last lesson where it was stopped.

        Raises:
            Problem: There is none, or one runs.
        """
        self._refuse_second()
        folder = self._last(owner)
        if folder is None or _read(folder / RESULT):
            raise unusable("there is no lesson to go on with", hint="start one")
        (folder / STOPPED).unlink(missing_ok=True)
        self._run(folder)

    def stop(self, owner: str) -> None:
        """Ends the lesson that runs; it can go on later.

        Raises:
            Problem: None of this owner runs.
        """
        folder, running = self._last(owner), self._running()
        if folder is None or running is None or running.run != folder.name or not running.pid or _read(folder / RESULT):
            raise unusable("no lesson runs")
        write_json(folder / STOPPED, {"why": "It was stopped."})
        self._end(running.pid)

    def close(self) -> None:
        """Ends the lesson that this server has begun."""
        if self.root is None or self._process is None or self._process.poll() is not None:
            return
        with suppress(Exception):
            write_json(self.root / self._name / STOPPED, {"why": "The server was stopped meanwhile."})
        self._end(self._process.pid)

    def state(self, owner: str) -> LearnState:
        """What is known of the last lesson; of somebody else's only that it runs."""
        running = self._running()
        missing, given = self.missing, self.given(owner)
        base = LearnState(possible=not missing, missing=missing, least=FEWEST, given=given, busy=running is not None)
        folder = self._last(owner)
        if folder is None:
            return base
        order, told, result = (_read(folder / name) for name in (ORDER, TOLD, RESULT))
        known = base.model_copy(
            update={
                "name": folder.name,
                "start": str(order.get("model", "")),
                "minutes": float(order.get("minutes", 0)),
                "what": str(told.get("what", "starting")),
                "done": int(told.get("done", 0)),
                "total": int(told.get("total", 1)),
                "said": list(told.get("said", [])),
            }
        )
        if result:
            return known.model_copy(update=_outcome(result))
        if running is not None and running.run == folder.name:
            return known.model_copy(update={"state": "running"})
        why = _read(folder / STOPPED).get("why", "It was ended from outside: a restart, or too little memory.")
        return known.model_copy(update={"state": "stopped", "why": str(why)})

    # ---- inside ----

    def _run(self, folder: Path) -> None:
        with (folder / "lesson.log").open("ab") as log:
            command = [sys.executable, "-m", "vns_sam.serving.lesson", str(folder)]
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self._name = folder.name

    def _running(self) -> Holder | None:
        """The process that learns, of this server or another, and its lesson's name; None where none does."""
        if self._process is not None and self._process.poll() is None:
            return Holder(self._process.pid, self._name)
        return None if self.root is None else holder(self.root)

    def _end(self, pid: int) -> None:
        def lives() -> bool:
            running = self._running()
            return running is not None and running.pid == pid

        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGTERM)
            deadline = time.monotonic() + ENDING
            while lives() and time.monotonic() < deadline:
                time.sleep(0.05)
            if lives():
                os.kill(pid, signal.SIGKILL)
                time.sleep(0.1)
        if self._process is not None and self._process.pid == pid:
            self._process.wait()

    def _refuse_second(self) -> None:
        if self._running() is not None:
            raise conflicting("a lesson runs already", hint="wait for it, or stop it")

    def _place(self, model: str) -> str:
        adapted = self.models().get(model)
        return model if adapted is None else adapted.place

    def _draft(self, owner: str) -> Path:
        assert self.root is not None
        return self.root / DRAFTS / owner[:32]

    def _lessons(self) -> list[Path]:
        """Folders of all lessons, in order."""
        if self.root is None or not self.root.is_dir():
            return []
        found = [f for f in self.root.glob(f"{PREFIX}*") if f.name.removeprefix(PREFIX).isdecimal()]
        return sorted(found, key=lambda folder: int(folder.name.removeprefix(PREFIX)))

    def _last(self, owner: str) -> Path | None:
        return next((f for f in reversed(self._lessons()) if _read(f / ORDER).get("owner") == owner), None)


def _stem(name: str) -> str:
    """What the files of a picture are called: what of its name every system takes, and a mark of all of it, since
    several pictures may have the first in common.
    """
    plain = "".join(c if c.isalnum() or c in "-_" else "_" for c in name)
    return f"{plain[:LONGEST]}-{hashlib.sha256(os.fsencode(name)).hexdigest()[:8]}"


def _outcome(result: dict[str, Any]) -> dict[str, Any]:
    if "error" in result:
        return {"state": "failed", "why": str(result["error"]), "hint": str(result.get("hint", ""))}
    rows = [
        LearnedRow(before=row["first"], after=row["second"], **{k: row[k] for k in LearnedRow.KEPT})
        for row in result["rows"]
    ]
    return {"state": "done", "why": str(result["why"]), "taken": bool(result["taken"]), "rows": rows}


def _read(path: Path) -> dict[str, Any]:
    """What a file of JSON says, nothing where it is missing or damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
