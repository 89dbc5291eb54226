"""An exported model: its graphs, what they need to know of each other, and where their weights are.

A folder holds ``onnx.json`` beside the graphs. The weights are in the graphs, or, so that nothing is stored twice, in
the ``model.safetensors`` of models that are there anyway: then the graphs name them only.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable, Container, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np

from vns_sam.errors import CheckpointError, UsageError
from vns_sam.images.bounded import read_bounded
from vns_sam.sam.editions import check_edition
from vns_sam.sam.folder import CONFIG, GRAPHS, WEIGHTS, graph_files
from vns_sam.sam.model_config import Checked, fit
from vns_sam.sam.preprocessing import Preprocessing
from vns_sam.sam.registry import place

if TYPE_CHECKING:
    import onnxruntime

VERSION = 2
"""Of the manifest's layout."""
MANY = 4
"""Runs at a time from which on they are worth a second way of opening their graph."""
SIDE_BY_SIDE = 16
"""Runs that lie side by side at most: each has its own maps in memory."""

Kind = Literal["promptable", "refiner", "segmenter"]
Item = TypeVar("Item")


@dataclass(frozen=True)
class Manifest(Checked):
    """``onnx.json``: what a folder's graphs are.

    Attributes:
        kind: "promptable" has an encoder and a decoder, "refiner" an IS-Net, "segmenter" a WS-SAM's network.
        name: What users call the model.
        preprocessing: How pictures enter.
        candidates: Masks that it offers for one prompt.
        edges: Whether the decoder's last output is an edge map.
        mined: How many of the encoder's outputs a method mined; those behind them are a SAM 2's finer maps.
        closed_prompts: Whether "not a point" follows boxes too, as in SAM 2.
        least_score, least_stability: See :class:`vns_sam.types.ModelInfo`.
        sources: Where weights are that the graphs only name: bundled models, or "" for this folder.
        editions: Of the bundled ones among them, see :mod:`vns_sam.sam.editions`.
        weights: By graph, the names of such weights to number of the source and name there.
        version: Of this layout.
    """

    kind: Kind
    name: str
    preprocessing: Preprocessing
    candidates: int = 1
    edges: bool = False
    mined: int = 0
    closed_prompts: bool = False
    least_score: float = 0.88
    least_stability: float = 0.95
    sources: tuple[str, ...] = ()
    editions: Mapping[str, str] = field(default_factory=dict)
    weights: Mapping[str, Mapping[str, tuple[int, str]]] = field(default_factory=dict)
    version: int = VERSION


class OnnxFolder:
    """A folder of graphs, each opened once, when it is first run or told to be needed soon. Threads may share it.

    Args:
        path: The folder.
        threads: Threads of a run; OMP_NUM_THREADS by default, as in torch, else one for each core.

    Attributes:
        manifest: What the graphs are.

    Raises:
        CheckpointError: There is no readable manifest, or a bundled model that it names has other weights now.
    """

    def __init__(self, path: Path, threads: int | None = None) -> None:
        self.path, self.threads = path, threads
        self.manifest = read_manifest(path)
        for name, known in self.manifest.editions.items():
            check_edition(name, known, path)
        self._sessions: dict[tuple[str, bool], Future[onnxruntime.InferenceSession]] = {}
        self._kept: dict[str, dict[str, onnxruntime.OrtValue]] = {}
        self._lock = threading.Lock()

    @property
    def at_a_time(self) -> int:
        """Runs that :meth:`run_each` has side by side, one for each thread that may be used."""
        return min(self.threads or _threads_asked() or os.cpu_count() or 1, SIDE_BY_SIDE)

    def prepare(self, graph: str, *, alone: bool = False) -> Future[onnxruntime.InferenceSession]:
        """Begins to open a graph beside what the caller does meanwhile; opening takes as long as encoding a picture.

        Args:
            graph: Its name.
            alone: Whether each run shall have one thread.
        """
        with self._lock:
            if (graph, alone) not in self._sessions:
                thread = ThreadPoolExecutor(1)
                self._sessions[graph, alone] = thread.submit(self._open, graph, alone)
                thread.shutdown(wait=False)
            return self._sessions[graph, alone]

    def run(self, graph: str, feed: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """All outputs of a graph.

        Raises:
            CheckpointError: It cannot be opened.
        """
        return _outputs(self.prepare(graph).result(), feed)

    def run_each(
        self, graph: str, items: Sequence[Item], feed: Callable[[Item], Mapping[str, np.ndarray]]
    ) -> list[list[np.ndarray]]:
        """All outputs for each of several items.

        Many run side by side, each in one thread: threads that share a run wait for each other at every operator, those
        that have one each do not. The numbers are the same.

        Args:
            graph: Its name.
            items: What is run, one after the other or side by side.
            feed: Makes the inputs of one, no earlier than it is run; called in several threads.

        Raises:
            CheckpointError: It cannot be opened.
        """
        wanted = 2 if (graph, True) in self._sessions else MANY
        if self.at_a_time == 1 or len(items) < wanted:
            return [self.run(graph, feed(item)) for item in items]
        session = self.prepare(graph, alone=True).result()
        with ThreadPoolExecutor(self.at_a_time) as threads:
            return [*threads.map(lambda item: _outputs(session, feed(item)), items)]

    def _open(self, graph: str, alone: bool) -> onnxruntime.InferenceSession:
        import onnxruntime  # not paid for by those who load a network

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = 1 if alone else self.threads or _threads_asked()
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # see cli/threads.py
        kept = self._kept.get(graph)
        if kept is None:
            values = {k: onnxruntime.OrtValue.ortvalue_from_numpy(each) for k, each in self._weights(graph).items()}
            kept = self._kept.setdefault(graph, values)  # sessions read weights where they are, both the same ones
        if kept:
            options.add_external_initializers([*kept], [*kept.values()])
        path = self.path / f"{graph}.onnx"
        try:
            return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the runtime has a class of its own for each reason
            reason = " ".join(str(error).split())[:200]
            raise CheckpointError(f"{path} cannot be run ({reason})", hint="export the model again") from None

    def _weights(self, graph: str) -> dict[str, np.ndarray]:
        """The weights that a graph names, by its names."""
        named = self.manifest.weights.get(graph, {})
        found: dict[str, np.ndarray] = {}
        for source, file in enumerate(self._files):
            keys = {name: key for name, (at, key) in named.items() if at == source}
            stored = read_arrays(file, set(keys.values())) if keys else {}
            found |= {name: stored[key] for name, key in keys.items() if key in stored}
        for name in named:
            if name not in found:
                raise CheckpointError(
                    f"{self.path / graph}.onnx wants a tensor '{named[name][1]}' that its weights lack",
                    hint="export the model again",
                )
        return found

    @property
    def _files(self) -> list[Path]:
        return [(place(source) if source else self.path) / WEIGHTS for source in self.manifest.sources]

    @cached_property
    def digest(self) -> str:
        """Identifies configuration, manifest, graphs and weights."""
        digest = hashlib.sha256()
        told = (file for file in (self.path / CONFIG, self.path / GRAPHS) if file.is_file())
        for file in (*told, *graph_files(self.path), *self._files):
            digest.update(hashlib.sha256(file.read_bytes()).digest())
        return digest.hexdigest()[:16]

    def __getstate__(self) -> dict[str, Any]:
        """What is copied and pickled: all but what is opened."""
        opened = ("_sessions", "_kept", "_lock")
        return {name: value for name, value in vars(self).items() if name not in opened}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _sessions={}, _kept={}, _lock=threading.Lock())


def has_graphs(path: Path) -> bool:
    """Whether a folder holds an exported model."""
    return (path / GRAPHS).is_file()


def read_manifest(path: Path) -> Manifest:
    """Reads ``onnx.json``.

    Raises:
        CheckpointError: It is missing, damaged, or of a later version.
    """
    file = path / GRAPHS
    try:
        values = json.loads(read_bounded(file))
        if not isinstance(values, dict) or values.get("version") != VERSION:
            raise UsageError(f"must be of version {VERSION}")
        manifest: Manifest = fit(values, Manifest, "manifest")
    except (OSError, ValueError, RecursionError, UsageError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{file} cannot be used ({reason})", hint="export the model again") from None
    return manifest


def read_arrays(file: Path, keys: Container[str] | None = None) -> dict[str, np.ndarray]:
    """The tensors of a safetensors file as arrays, floating ones as float32.

    Args:
        file: The file; what is not asked for is not read.
        keys: Names of the tensors that are wanted, where the file has them; None takes all.

    Raises:
        CheckpointError: It is missing or damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, "numpy") as stored:
            wanted = [key for key in stored.keys() if keys is None or key in keys]  # noqa: SIM118
            return {key: _widened(stored.get_tensor(key)) for key in wanted}
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{file} is damaged ({error})", hint="download or copy it again") from None


def _widened(value: np.ndarray) -> np.ndarray:
    return value.astype(np.float32) if value.dtype.kind == "f" else value


def _outputs(session: onnxruntime.InferenceSession, feed: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    found: list[np.ndarray] = session.run(None, feed)
    return found


def _threads_asked() -> int:
    """Threads that the environment asks for where numbers are computed; 0 leaves it to the runtime."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdecimal() else 0
