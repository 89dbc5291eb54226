"""A command that is not let finish says what is kept; one whose output nobody takes says that."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from workshop import write_disks

COMMAND = [sys.executable, "-m", "vns_sam.cli.main", "data", "darken"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_stopped_run_says_what_is_kept(tmp_path: Path, number: signal.Signals, code: int, workers: str) -> None:
    write_disks(tmp_path / "set", 60)
    arguments = [*COMMAND, str(tmp_path / "set"), "--out", str(tmp_path / "dark"), "--workers", workers, "--json"]
    # A background job of a shell inherits that Ctrl-C is ignored; a command at a terminal does not.
    listen = partial(signal.signal, signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=listen
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith('{"source"')
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == code
    line = said.strip().splitlines()[-1]
    assert line.startswith("stopped: ")
    assert line.endswith(f"of 60 done are kept in {tmp_path / 'dark'}; the same command goes on")
    assert int(line.split()[1]) < 60
    assert not list((tmp_path / "dark").glob(".vns-sam.lock"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_behind_the_output_is_told_in_one_line(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        arguments = [sys.executable, "-m", "vns_sam.cli.main", "--version"]
        done = subprocess.run(arguments, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 3
    assert done.stderr.splitlines()[0] == "error: cannot write to the standard output: no space left on device"


def test_a_name_that_the_output_cannot_encode_is_escaped(tmp_path: Path) -> None:
    write_disks(tmp_path / "s\u00e9t", 1)
    arguments = [*COMMAND, str(tmp_path / "s\u00e9t"), "--out", str(tmp_path / "d\u00e9"), "--workers", "0"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = subprocess.run(arguments, capture_output=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert rb"d\xe9: 1 done" in done.stdout


LAST = """
import atexit, sys, threading, time
from vns_sam.cli.ends import leave
atexit.register(print, "registered")
threading.Thread(target=lambda: (time.sleep(0.2), print("thread"))).start()
class Held:
    def __del__(self):
        print("taken apart")
held = Held()
print("error", file=sys.stderr, end="")
leave(3)
"""


def test_the_end_waits_for_threads_and_takes_nothing_apart() -> None:
    ended = subprocess.run([sys.executable, "-c", LAST], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (3, "thread\nregistered\n", "error")
