"""One run at a time in a folder, whatever became of the run before."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest
from letters import Capitals, capitals, content, write_letters

from vns_sam.errors import UsageError
from vns_sam.images.write import remove_parts
from vns_sam.runs import lock
from vns_sam.runs.engine import run
from vns_sam.runs.lock import LOCK, holder, locked, remove_parts_below
from vns_sam.runs.plan import prepare

LETTERS = Path(__file__).with_name("letters.py")


def test_a_folder_is_held_while_a_run_lasts_and_free_behind_it(tmp_path: Path) -> None:
    with locked(tmp_path / "out", "first"):
        owner = json.loads((tmp_path / "out" / LOCK).read_text())
        assert (owner["pid"], owner["run"]) == (os.getpid(), "first")
        says = rf"another run at work in it: 'first' with the process {os.getpid()} on"
        with pytest.raises(UsageError, match=says), locked(tmp_path / "out", "second"):
            pass
    assert not (tmp_path / "out" / LOCK).exists()
    with locked(tmp_path / "out", "third"):
        pass


@pytest.mark.parametrize("left", ["", "no json", '{"pid": 1}', '{"pid": "x"}', "[]"])
def test_what_a_dead_run_left_is_stale(tmp_path: Path, left: str) -> None:
    (tmp_path / LOCK).write_text(left)
    with locked(tmp_path, "next"):
        assert json.loads((tmp_path / LOCK).read_text())["run"] == "next"


@pytest.mark.parametrize(("born", "host", "free"), [("0", "", True), ("", "", False), ("", "elsewhere", False)])
def test_without_locks_of_the_system_the_owners_process_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, born: str, host: str, free: bool
) -> None:
    monkeypatch.setattr(lock, "fcntl", None)
    me = {"pid": os.getpid(), "host": host or lock.socket.gethostname(), "born": born or lock._born(os.getpid())}
    (tmp_path / LOCK).write_text(json.dumps(me))
    if free:
        with locked(tmp_path, "next"):
            pass
        return
    with pytest.raises(UsageError, match="found another run"), locked(tmp_path, "next"):
        pass


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(lock, "fcntl", SimpleNamespace(flock=flock, LOCK_EX=2, LOCK_NB=4))
    with locked(tmp_path, "a"), pytest.raises(UsageError), locked(tmp_path, "b"):
        pass


def test_of_two_runs_the_second_is_told_and_the_first_is_not_disturbed(tmp_path: Path) -> None:
    names = write_letters(tmp_path / "in", 12)
    out = tmp_path / "out"
    arguments = [sys.executable, str(LETTERS), str(tmp_path / "in"), str(out), "-1", "0", "0.1"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        first.stdout.readline()
        with pytest.raises(UsageError, match=f"with the process {first.pid} on"):
            list(capitals(tmp_path / "in", out, names))
        first.stdout.read()
        assert first.wait() == 0
    list(capitals(tmp_path / "in", tmp_path / "whole", sorted(names)))
    assert content(out) == content(tmp_path / "whole")


def _leave_part(folder: Path) -> Path:
    """What a run that is killed leaves, or one that is at work has."""
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / ".a.txt.123.part"
    part.touch()
    return part


def test_parts_below_a_folder_are_removed_but_those_of_other_runs(tmp_path: Path) -> None:
    places = [_leave_part(tmp_path / "out" / name) for name in ("", "a", "a/deep", "held", "held/deep")]
    (tmp_path / "out" / "a" / LOCK).touch()  # what a killed run left
    with locked(tmp_path / "out", "first"), locked(tmp_path / "out" / "held", "second"):
        remove_parts_below(tmp_path / "out")
    assert [part.exists() for part in places] == [False, False, False, True, True]


def test_a_folder_that_is_taken_while_others_are_cleared_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = {name: _leave_part(tmp_path / name) for name in ("a", "b")}
    cleared = []

    def remove(folder: Path) -> None:
        if folder != tmp_path and not cleared:
            cleared.append(folder.name)
            held.enter_context(locked(tmp_path / ("b" if folder.name == "a" else "a"), "another"))
        remove_parts(folder)

    monkeypatch.setattr(lock, "remove_parts", remove)
    with ExitStack() as held:
        remove_parts_below(tmp_path)
    assert [name for name, part in parts.items() if not part.exists()] == cleared


def test_who_only_looks_keeps_no_run_away(tmp_path: Path) -> None:
    (tmp_path / LOCK).touch()
    with (tmp_path / LOCK).open() as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        assert holder(tmp_path) is None
        threading.Timer(0.1, fcntl.flock, (looking, fcntl.LOCK_UN)).start()
        with locked(tmp_path, "next"):
            assert holder(tmp_path) == (os.getpid(), "next")


def test_a_lock_that_nobody_signs_is_not_waited_for_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "_PAUSE", 0)
    (tmp_path / LOCK).touch()
    with (tmp_path / LOCK).open() as taken:
        fcntl.flock(taken, fcntl.LOCK_EX)
        with pytest.raises(UsageError, match="found another run"), locked(tmp_path, "next"):
            pass


@pytest.mark.parametrize("held", ["b", "b/c"])
def test_a_run_leaves_the_parts_of_a_run_below_it_alone(tmp_path: Path, held: str) -> None:
    names = [*write_letters(tmp_path / "in", 2), "b/c/d.txt"]
    (tmp_path / "in" / "b" / "c").mkdir(parents=True)
    (tmp_path / "in" / names[-1]).write_text("letters")
    own, other = _leave_part(tmp_path / "out"), _leave_part(tmp_path / "out" / "b" / "c")
    with locked(tmp_path / "out" / held, "another"):
        assert all(not outcome.error for outcome in run(prepare(Capitals(tmp_path / "in", tmp_path / "out", names))))
    assert (own.exists(), other.exists()) == (False, True)


def test_a_killed_owner_leaves_the_folder_to_the_next(tmp_path: Path) -> None:
    names = write_letters(tmp_path / "in", 12)
    out = tmp_path / "out"
    arguments = [sys.executable, str(LETTERS), str(tmp_path / "in"), str(out), "-1", "0", "0.1"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        first.stdout.readline()
        first.send_signal(signal.SIGKILL)
    assert (out / LOCK).is_file()
    time.sleep(0.1)
    assert all(not outcome.error for outcome in run(prepare(Capitals(tmp_path / "in", out, names))))
    assert not (out / LOCK).exists()
