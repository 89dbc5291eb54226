"""Any work on Ray Data: a pool of actors does the work, and the caller writes what they find as it arrives."""

from __future__ import annotations

import logging
import os
import pickle
import socket
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

from vns_sam.errors import MissingExtraError, UsageError
from vns_sam.runs.job import Done, Item, Made, Work, attempt

logger = logging.getLogger(__name__)

PATIENCE = 10.0
"""Seconds until a cluster must answer; Ray itself would ask for minutes."""
ATTEMPTS = 3
"""How many actors an item may bring down, for want of memory; then it has failed. Ray itself would never give up."""
CPUS = 2
"""Processors of an actor that has no GPU; fewer where no machine has as many."""


@dataclass(frozen=True)
class RayMapper:
    """A :data:`vns_sam.runs.job.Mapper` that spreads items over a pool of Ray actors.

    The work travels from the caller to each actor once, with its models or with what loads them. What it reads is read
    where it is worked on: every machine must have it at the same place. A Ray that the caller has started is used as
    it is; else one is joined or started, and left at the end.

    Attributes:
        address: Of the cluster; when empty that of ``RAY_ADDRESS``, else one that runs on this machine, else a new one.
        actors: How many; as many as find room when 0.
        cpus: Processors of each; when 0 one beside a GPU, else :data:`CPUS`.
        gpus: GPUs of each, possibly a fraction; one where there are any when None.

    Raises:
        MissingExtraError: Ray Data is not installed.
        UsageError: A number is negative.
    """

    address: str = ""
    actors: int = 0
    cpus: float = 0
    gpus: float | None = None

    def __post_init__(self) -> None:
        _ray()
        if min(self.actors, self.cpus, self.gpus or 0) < 0:
            raise UsageError(f"expected no negative number of actors, CPUs or GPUs, found {self}")

    def __call__(self, work: Work[Item, Made], items: Sequence[Item], /) -> Iterator[Done[Made]]:
        """Does the work, in the order in which it is ready.

        Raises:
            UsageError: There is no cluster at ``address``, or it has no room for one actor.
        """
        if not items:
            return
        ray = _ray()
        with _connected(self.address):
            pool = self.fitted(ray.nodes())
            logger.info("%d actors with %g CPUs and %g GPUs each", pool.actors, pool.cpus, pool.gpus or 0)
            attempts = ray.remote(num_cpus=0)(_Attempts).remote()
            rows = [{"name": work.name(item), "item": pickle.dumps(item)} for item in items]
            found = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
                _Actor,
                fn_constructor_args=(ray.put(pickle.dumps(work.portable("cuda" if pool.gpus else ""))), attempts),
                compute=ray.data.ActorPoolStrategy(size=min(pool.actors, len(rows)), max_tasks_in_flight_per_actor=1),
                num_cpus=pool.cpus,
                num_gpus=pool.gpus,
            )
            for batch in found.iter_batches(batch_size=1, prefetch_batches=0):
                yield pickle.loads(batch["done"][0])

    def fitted(self, nodes: Sequence[dict[str, Any]]) -> RayMapper:
        """The same with numbers where none are given.

        Args:
            nodes: The machines as ``ray.nodes()`` tells them.

        Raises:
            UsageError: No machine has room for one actor. A number that is given is not checked: a cluster may grow.
        """
        machines = [node["Resources"] for node in nodes if node["Alive"]]
        most = {kind: max((one.get(kind, 0) for one in machines), default=0) for kind in ("CPU", "GPU")}
        gpus = min(1.0, most["GPU"]) if self.gpus is None else self.gpus
        cpus = self.cpus or (1 if gpus else min(CPUS, most["CPU"]) or CPUS)
        needs = {kind: need for kind, need in (("CPU", cpus), ("GPU", gpus)) if need}
        actors = self.actors or sum(
            int(min(one.get(kind, 0) / need for kind, need in needs.items())) for one in machines
        )
        if not actors:
            raise UsageError(
                f"expected a machine with {cpus:g} CPUs and {gpus:g} GPUs for an actor, the largest of {len(machines)} "
                f"have {most['CPU']:g} and {most['GPU']:g}",
                hint="ask for less with --actor-cpus and --actor-gpus",
            )
        return replace(self, actors=actors, cpus=cpus, gpus=gpus)


def _ray() -> Any:
    """Ray with Ray Data, untyped: its own hints refuse classes in ``map``."""
    try:
        import_module("ray.data")
        return import_module("ray")
    except ImportError:
        raise MissingExtraError("ray[data]", extra="cluster", purpose="work on a cluster") from None


class _Attempts:
    """Counts how often each item was begun, over all actors, also those that are gone."""

    def __init__(self) -> None:
        self._begun: Counter[str] = Counter()

    def begin(self, name: str) -> int:
        """Counts one more."""
        self._begun[name] += 1
        return self._begun[name]


class _Actor:
    """One copy of the work for as long as the run lasts."""

    def __init__(self, packed: Any, attempts: Any) -> None:
        self._attempts = attempts
        self._work: Work[Any, Any] = pickle.loads(_ray().get(packed))

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        name = row["name"]
        if _ray().get(self._attempts.begin.remote(name)) <= ATTEMPTS:
            done: Done[Any] = attempt(self._work, pickle.loads(row["item"]))
        else:
            done = Done(name, error=f"{name}: {ATTEMPTS} workers were killed at it; is there memory for it?")
        return {"done": pickle.dumps(done)}  # rows of Ray Data hold no objects


@contextmanager
def _connected(address: str) -> Iterator[None]:
    """A connection to Ray, without its own notes unless ours are shown too."""
    ray = _ray()
    if ray.is_initialized():
        yield
        return
    where = address or os.environ.get("RAY_ADDRESS", "")
    _check_answers(where)
    talks = logger.isEnabledFor(logging.INFO)
    level = logging.INFO if talks else logging.ERROR
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(level)
    if not talks:
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # its core is in C++ and heeds nothing else
    try:
        ray.init(address or None, include_dashboard=False, log_to_driver=talks, logging_level=level)
    except (ConnectionError, ValueError) as error:
        raise _no_cluster(where, error) from None
    try:
        yield
    finally:
        ray.shutdown()


def _check_answers(address: str) -> None:
    """Knocks at HOST:PORT; other kinds of addresses are left to Ray."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), PATIENCE).close()
    except (OSError, OverflowError) as error:
        raise _no_cluster(address, error) from None


def _no_cluster(address: str, error: Exception) -> UsageError:
    return UsageError(f"expected a Ray cluster at {address}, found none: {error}", hint="ray status")
