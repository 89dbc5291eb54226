import os
import pickle
import socket
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import cv2
import pytest
from jobs import given, label
from workshop import narrow_sam, write_disks

from vns_sam.distributed import mapper as mapper_module
from vns_sam.distributed.mapper import RayMapper
from vns_sam.errors import MissingExtraError, UsageError
from vns_sam.evaluation.suite import make_suite
from vns_sam.labelling.folder import LabelJob, LabelRun, plan_run
from vns_sam.labelling.labeller import LabelSettings
from vns_sam.labelling.records import Record
from vns_sam.labelling.store import LabelStore
from vns_sam.runs.threads import in_line

SMALL = {"CPU": 3.0, "memory": 1e9}
LARGE = {"CPU": 8.0, "GPU": 2.0}


@pytest.fixture
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """What needs no cluster is tested without Ray too."""
    monkeypatch.setattr(mapper_module, "_ray", lambda: None)


def alive(*machines: dict[str, float]) -> list[dict[str, Any]]:
    return [{"Alive": True, "Resources": one} for one in machines]


def test_without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match="ray"):
        RayMapper()


@pytest.mark.parametrize(
    ("given", "machines", "actors", "cpus", "gpus"),
    [
        ({}, [SMALL, SMALL], 2, 2, 0),  # the third processors make no fourth actor
        ({}, [{"CPU": 1.0}], 1, 1, 0),
        ({}, [SMALL, LARGE], 2, 1, 1),
        ({"gpus": 0}, [SMALL, LARGE], 5, 2, 0),
        ({"gpus": 0.5}, [LARGE], 4, 1, 0.5),
        ({"cpus": 4}, [LARGE], 2, 4, 1),
        ({"actors": 7}, [{}], 7, 2, 0),  # a cluster that is still to grow
    ],
)
@pytest.mark.usefixtures("no_ray")
def test_as_many_actors_as_find_room(
    given: dict[str, Any], machines: list[dict[str, float]], actors: int, cpus: float, gpus: float
) -> None:
    pool = RayMapper(**given).fitted(alive(*machines))
    assert (pool.actors, pool.cpus, pool.gpus) == (actors, cpus, gpus)


@pytest.mark.usefixtures("no_ray")
def test_what_finds_no_room_is_told() -> None:
    dead = [{"Alive": False, "Resources": LARGE}]
    with pytest.raises(UsageError, match="2 CPUs and 1 GPUs for an actor, the largest of 1 have 3 and 0"):
        RayMapper(cpus=2, gpus=1).fitted([*alive(SMALL), *dead])
    with pytest.raises(UsageError, match="no negative"):
        RayMapper(actors=-1)


@pytest.mark.usefixtures("no_ray")
def test_a_cluster_that_does_not_answer_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = SimpleNamespace(is_initialized=lambda: False, init=lambda *_, **__: pytest.fail("Ray was asked"))
    monkeypatch.setattr(mapper_module, "_ray", lambda: ray)
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # nobody listens
        address = f"127.0.0.1:{bound.getsockname()[1]}"
        with pytest.raises(UsageError, match=f"expected a Ray cluster at {address}, found none"):
            next(RayMapper(address)(None, ["a"]))  # type: ignore[arg-type]


@pytest.mark.usefixtures("no_ray")
def test_nothing_to_do_starts_nothing() -> None:
    assert list(RayMapper()(None, [])) == []  # type: ignore[arg-type]


def disks(root: Path, out: str) -> LabelRun:
    """Four pictures and a table with a point on the object and one beside it; the last picture is broken."""
    if not (root / "set").is_dir():
        lines = ["name,x,y,label"]
        for path in sorted((write_disks(root / "set", 5) / "masks").iterdir()):
            y, x = (int(v.mean()) for v in cv2.imread(str(path), 0).nonzero())
            lines += [f"{path.stem},{x},{y},1", f"{path.stem},0,0,2"]
        (root / "points.csv").write_text("\n".join(lines))
        (root / "set" / "images" / "004.png").write_bytes(b"no picture")
    return plan_run(root / "set", root / "points.csv", root / out, LabelSettings("flip", "prob"))


def content(out: Path) -> list[tuple[Record, bytes]]:
    return [(replace(r, seconds=0), (out / r.map).read_bytes()) for r in LabelStore(out).records.values()]


class Deadly(LabelJob):
    """Kills its process at one picture, as the kernel does when memory runs out; once only where it leaves a mark."""

    at = "001.png"
    once: ClassVar[Path | None] = None

    def work(self, item: str, content: Any) -> Any:
        if item == self.at and not (self.once and self.once.exists()):
            if self.once:
                self.once.touch()
            os._exit(137)
        return super().work(item, content)


@pytest.mark.slow
def test_a_picture_that_kills_its_worker_fails_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    monkeypatch.setattr(mapper_module, "pickle", SimpleNamespace(dumps=ray.cloudpickle.dumps, loads=pickle.loads))
    job = Deadly(disks(tmp_path, "out"), given(narrow_sam()))
    mapper, names = RayMapper(address="local", actors=1, cpus=0.5), ["000.png", "001.png", "002.png"]
    found = list(mapper(job, names))
    assert {one.name for one in found if one.result is not None} == {"000.png", "002.png"}
    errors = {one.name: one.error for one in found if one.error}
    assert errors == {"001.png": "001.png: 3 workers were killed at it; is there memory for it?"}
    monkeypatch.setattr(Deadly, "once", tmp_path / "killed")
    assert {one.name for one in mapper(job, names) if one.result is not None} == set(names)


@pytest.mark.slow
def test_a_cluster_finds_what_one_process_finds_and_each_goes_on_with_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("ray.data")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.chdir(tmp_path)
    mapper = RayMapper(address="local", actors=2, cpus=0.5)
    model = narrow_sam()
    list(label(model, disks(Path(), "plain")))
    outcomes = list(label(model, disks(Path(), "spread"), mapper=mapper))
    assert [o.name for o in outcomes if o.error] == ["004.png"]
    assert len(content(Path("plain"))) == 4
    assert content(Path("spread")) == content(Path("plain"))

    stopped = disks(Path(), "stopped")
    steps = label(model, stopped, mapper=mapper)
    first = next(steps)
    steps.close()
    assert list(LabelStore(stopped.out).records) == ([] if first.error else [first.name])
    list(label(model, stopped))
    assert content(stopped.out) == content(Path("plain"))
    said = "".join(capfd.readouterr()).splitlines()
    its_own = ("Set ray log level", "killed by `ray.kill`")  # what Ray says of a run that is stopped cannot be silenced
    assert [line for line in said if not any(known in line for known in its_own)] == []


@pytest.mark.slow
def test_a_cluster_measures_what_one_process_measures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray.data")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    suite, model = make_suite([write_disks(tmp_path / "disks", 3)]), narrow_sam()
    rows = []
    for mapper in (in_line, RayMapper(address="local", actors=1, cpus=0.5)):
        run = suite.run(model, "narrow", mapper=mapper)
        assert not [outcome.error for outcome in run if outcome.error]
        rows.append([(row.key, row.scores.values) for row in run.result().rows])
    assert rows[0] == rows[1]
    assert len(rows[0]) == 3
