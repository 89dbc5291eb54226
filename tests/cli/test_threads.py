"""Threads are settled before torch is loaded, and what a user has said stays."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from vns_sam.cli.threads import WAITING, settle_threads, take_threads
from vns_sam.errors import UsageError


def test_the_count_is_taken_out_of_the_command_line() -> None:
    assert take_threads(["segment", "a.jpg", "--threads", "3", "--box"]) == (3, ["segment", "a.jpg", "--box"])
    assert take_threads(["--threads=2", "segment", "--box=1"]) == (2, ["segment", "--box=1"])
    assert take_threads(["segment"]) == (None, ["segment"])


@pytest.mark.parametrize("given", [["--threads"], ["--threads", "0"], ["--threads", "-2"], ["--threads", "all"]])
def test_a_count_that_is_none_is_refused(given: list[str]) -> None:
    with pytest.raises(UsageError, match="a number from 1 on"):
        take_threads(["demo", *given])


@pytest.mark.parametrize("said", [{"OMP_WAIT_POLICY": "active"}, {"GOMP_SPINCOUNT": "7"}, {"KMP_BLOCKTIME": "200"}])
def test_what_the_user_has_said_about_waiting_stays(said: dict[str, str]) -> None:
    environment = dict(said)
    settle_threads(None, environment)
    assert environment == said


def test_waiting_is_short_otherwise_and_the_count_is_the_command_lines() -> None:
    environment = {"OMP_NUM_THREADS": "8"}
    settle_threads(2, environment)
    assert environment == {"OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2", **WAITING}
    environment = {"OMP_NUM_THREADS": "8"}
    settle_threads(None, environment)
    assert environment == {"OMP_NUM_THREADS": "8", **WAITING}


def test_torch_computes_in_as_many_threads() -> None:
    code = (
        "import sys; from vns_sam.cli.main import main; main(['--threads', '1', '--version']);"
        "assert 'torch' not in sys.modules; import torch; print(torch.get_num_threads())"
    )
    environment = {name: value for name, value in os.environ.items() if name not in ("OMP_NUM_THREADS", *WAITING)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == "1"
