"""A run that is killed anywhere, inside of a write, too, ends as if it had not been when it is started again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from concurrent.futures.process import BrokenProcessPool, _ExecutorManagerThread
from pathlib import Path
from typing import Any

import pytest
from letters import Capitals, capitals, content, killed_at, write_letters

from vns_sam.errors import OutputError, VnsSamError
from vns_sam.runs.job import Work
from vns_sam.runs.lines import LineFile
from vns_sam.runs.processes import Processes, end_pool, process_pool, worker_died

LETTERS = Path(__file__).with_name("letters.py")
ITEMS = 5
STEPS = 2 * (1 + 2 * ITEMS + 1 + 1)
"""Of the writer in a whole run: two for each file, which are manifest, results, list and manifest."""


def start(folder: Path, out: Path, step: int, workers: int = 0, pause: float = 0) -> subprocess.Popen[bytes]:
    arguments = [sys.executable, str(LETTERS), str(folder), str(out), str(step), str(workers), str(pause)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE)


def sorted_names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.txt"))


@pytest.fixture(scope="module")
def letters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("letters")
    write_letters(folder / "in", ITEMS)
    list(capitals(folder / "in", folder / "whole", sorted_names(folder / "in")))
    return folder


@pytest.mark.parametrize("step", [0, 9, STEPS - 1])
def test_killed_inside_a_write(letters: Path, tmp_path: Path, step: int) -> None:
    process = start(letters / "in", tmp_path / "out", step)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    list(capitals(letters / "in", tmp_path / "out", sorted_names(letters / "in")))
    assert content(tmp_path / "out") == content(letters / "whole")


def forked(folder: Path, out: Path, step: int) -> int:
    """A run in a copy of this process, which dies at a step unless that is negative; its exit status."""
    pid = os.fork()
    if pid == 0:
        try:
            if step >= 0:
                killed_at(step)
            list(capitals(folder, out, sorted_names(folder)))
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.slow
def test_killed_inside_every_write_and_again_when_it_goes_on(letters: Path, tmp_path: Path) -> None:
    for step in range(STEPS):
        out = tmp_path / str(step)
        codes = [forked(letters / "in", out, again) for again in (step, step // 2, 0, -1)]
        assert codes[0] == -signal.SIGKILL
        assert codes[-1] == 0
        assert content(out) == content(letters / "whole")


def test_killed_under_way_with_its_processes(tmp_path: Path) -> None:
    names = write_letters(tmp_path / "in", 20)
    process = start(tmp_path / "in", tmp_path / "out", -1, workers=2, pause=0.05)
    assert process.stdout is not None
    process.stdout.readline()
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    workers = children.read_text().split() if children.exists() else []
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 20
    while any(_lives(int(pid)) for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [pid for pid in workers if _lives(int(pid))]
    list(capitals(tmp_path / "in", tmp_path / "out", sorted(names)))
    list(capitals(tmp_path / "in", tmp_path / "whole", sorted(names)))
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_processes_find_what_one_finds_and_a_killed_one_costs_nothing(tmp_path: Path) -> None:
    names = write_letters(tmp_path / "in", 12)
    (tmp_path / "in" / names[4]).write_text("deadly once")
    (tmp_path / "in" / names[7]).write_text("bad text")
    spread = {o.name: o for o in capitals(tmp_path / "in", tmp_path / "spread", names, Processes(2))}
    assert [name for name, o in spread.items() if o.error] == [names[7]]
    list(capitals(tmp_path / "in", tmp_path / "plain", names))
    assert content(tmp_path / "spread") == content(tmp_path / "plain")


def test_an_item_that_kills_every_process_fails_alone(tmp_path: Path) -> None:
    names = write_letters(tmp_path / "in", 6)
    (tmp_path / "in" / names[1]).write_text("deadly always")
    outcomes = {o.name: o for o in capitals(tmp_path / "in", tmp_path / "out", names, Processes(2))}
    assert {name: o.error for name, o in outcomes.items() if o.error} == {
        names[1]: f"{names[1]}: 2 processes died at it; is there memory for it?"
    }


def test_a_process_that_starts_while_the_pool_breaks_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told to end through a queue whose lock went down with another process."""
    late: list[tuple[int, Any]] = []
    known = threading.Event()
    breaks, joins = _ExecutorManagerThread.terminate_broken, _ExecutorManagerThread.join_executor_internals

    def start_one(self: Any, cause: Any) -> None:
        pool._spawn_process()
        late.append(pool._processes.popitem())
        breaks(self, cause)

    def know_of_it(self: Any) -> None:
        pool._processes.update(late)
        known.set()
        joins(self)

    monkeypatch.setattr(_ExecutorManagerThread, "terminate_broken", start_one)
    monkeypatch.setattr(_ExecutorManagerThread, "join_executor_internals", know_of_it)
    pool: Any = process_pool(2)
    list(pool.map(time.sleep, [0.5, 0.5]))
    with pytest.raises(BrokenProcessPool):
        pool.submit(os._exit, 1).result()
    assert known.wait(30)
    ending = threading.Thread(target=end_pool, args=(pool,), daemon=True)
    ending.start()
    ending.join(30)
    assert not ending.is_alive()


class KilledOnTheWay(Work[str, str]):
    """Work whose first so many processes are killed while they take it."""

    def __init__(self, folder: Path, deaths: int) -> None:
        self.folder, self.deaths = folder, deaths

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if len(list(self.folder.iterdir())) < self.deaths:
            (self.folder / str(os.getpid())).touch()
            os.kill(os.getpid(), signal.SIGKILL)

    def name(self, item: str) -> str:
        return item

    def work(self, item: str, content: Any) -> str:
        return item.upper()

    def encode(self, item: str, answer: str) -> str:
        return answer


def test_a_process_that_is_killed_before_it_has_the_work_is_started_again(tmp_path: Path) -> None:
    found = Processes(1)(KilledOnTheWay(tmp_path, 1), ["a", "b"])
    assert sorted((done.result, done.error) for done in found) == [("A", ""), ("B", "")]
    assert len(list(tmp_path.iterdir())) == 1


def test_processes_that_never_start_end_the_run(tmp_path: Path) -> None:
    with pytest.raises(VnsSamError, match="found one dead"):
        list(Processes(1)(KilledOnTheWay(tmp_path, 99), ["a"]))
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("shared", [True, False])
def test_a_disk_that_is_full_between_a_result_and_its_line_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared: bool
) -> None:
    monkeypatch.setattr(Capitals, "shares_folder", shared)
    names = write_letters(tmp_path / "in", 6)
    left = iter(range(4))  # what is claimed, and three lines

    def add(self: LineFile, line: Mapping[str, Any], *, sync: bool = False) -> None:
        if next(left, None) is None:
            raise OutputError("no space left")
        original(self, line, sync=sync)

    original = LineFile.add
    with monkeypatch.context() as broken:
        broken.setattr(LineFile, "add", add)
        with pytest.raises(OutputError):
            list(capitals(tmp_path / "in", tmp_path / "out", names))
    list(capitals(tmp_path / "in", tmp_path / "out", names))
    list(capitals(tmp_path / "in", tmp_path / "whole", names))
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_a_pool_that_cannot_start_is_told_for_any_verb() -> None:
    error = worker_died()
    assert isinstance(error, VnsSamError)
    assert "score" not in error.message
    assert "__main__" in error.hint


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z" and os.path.exists(f"/proc/{pid}")
