"""Writes a model as ONNX graphs with a manifest, see :mod:`vns_sam.inference.onnx.folder`."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from vns_sam.errors import UsageError
from vns_sam.export.graphs import DecoderGraph, EncoderGraph, RefinerGraph, SegmenterGraph
from vns_sam.export.record import INLINE, OPSET, OWN, Recorder, ir
from vns_sam.export.store import Precision, store
from vns_sam.images.write import write_bytes, write_text
from vns_sam.inference.onnx.folder import Manifest, read_arrays
from vns_sam.sam.based import SamBasedNetwork
from vns_sam.sam.checkpoints import remove_graphs
from vns_sam.sam.editions import edition
from vns_sam.sam.folder import CONFIG, GRAPHS, WEIGHTS
from vns_sam.sam.preprocessing import Preprocessing
from vns_sam.sam.promptable import PromptableNetwork
from vns_sam.sam.registry import bundled, place

if TYPE_CHECKING:
    import onnx_ir


def record(
    model: PromptableNetwork, opset: int = OPSET, *, named: bool = False
) -> tuple[Manifest, dict[str, onnx_ir.Model]]:
    """Records a model's graphs.

    Args:
        model: A SAM, VNS-SAM, HQ-SAM, DIS-SAM (its second stage alone) or WS-SAM, on the CPU.
        opset: Of ONNX.
        named: Whether weights keep their names and values, so that they can be taken out; else what can be computed
            from them in advance is.

    Returns:
        The manifest without weights, and the graphs by name.

    Raises:
        MissingExtraError: The packages onnx and onnxscript are not installed.
        UsageError: The model is of another kind, or the opset is not supported.
    """
    recorder = Recorder(opset, named)
    model = model.eval()
    parts: Any = model
    if isinstance(model, SamBasedNetwork):
        return _record_promptable(model, recorder)
    kind = getattr(getattr(model, "config", None), "model_type", "")
    if kind == "dis-sam":
        channels = torch.rand(1, 5, parts.config.image_size, parts.config.image_size)
        graph = recorder(RefinerGraph(parts.network), (channels,), ["channels"], ["alpha"])
        return Manifest("refiner", model.name, model.preprocessing), {"refiner": graph}
    if kind == "ws-sam":
        pixels = torch.rand(1, 3, parts.config.image_size, parts.config.image_size)
        graph = recorder(SegmenterGraph(model), (pixels,), ["pixels"], ["logits"])
        return Manifest("segmenter", model.name, model.preprocessing), {"segmenter": graph}
    raise UsageError(f"'{model.name}' cannot be exported: it is none of SAM, VNS-SAM, HQ-SAM, DIS-SAM and WS-SAM")


def _record_promptable(model: SamBasedNetwork, recorder: Recorder) -> tuple[Manifest, dict[str, onnx_ir.Model]]:
    info, side, grid = model.info, model.preprocessing.image_size, model.grid
    pixels = torch.rand(1, 3, side, side) * 255
    with torch.no_grad():
        features = model.encode_pixels(model.preprocessing.normalise(pixels))  # what is computed once is computed here
    maps, mined = (*features.mined, *features.finer), len(features.mined)
    others = [f"mined.{k}" if k < mined else f"finer.{k - mined}" for k in range(len(maps))]
    sides = _free_sides(model.preprocessing)
    encoder = recorder(EncoderGraph(model), (pixels,), ["pixels"], ["embedding", *others], (sides(side),))
    places, labels = torch.rand(3, 5, 2) * side, torch.tensor([[1, 0, -1, 2, 3]] * 3)
    example = (features.embedding, places, labels, torch.rand(3, 1, 4 * grid, 4 * grid), torch.ones(3))
    each: dict[int, Any] = {0: torch.export.Dim("P", min=1, max=4096)}
    points = each | {1: torch.export.Dim("N", min=1, max=4096)}
    masks = each | sides(4 * grid)
    more: tuple[Any, ...] = (tuple(sides(one.shape[-1]) for one in maps),) if maps else ()  # a *argument is one entry
    inputs = ["embedding", "points", "labels", "masks", "has_mask", *(f"maps.{k}" for k in range(len(maps)))]
    outputs = ["mask_logits", "scores", "candidate_logits", "candidate_scores", "edge_logits"][: 4 + info.edges]
    graph = DecoderGraph(model, mined)
    decoder = recorder(graph, (*example, *maps), inputs, outputs, (sides(grid), points, points, masks, each, *more))
    manifest = Manifest(
        "promptable",
        info.name,
        model.preprocessing,
        info.candidates,
        info.edges,
        mined,
        model.foundation.prompt_encoder.closed,
        info.least_score,
        info.least_stability,
    )
    return manifest, {"encoder": encoder, "decoder": decoder}


def _free_sides(preprocessing: Preprocessing) -> Callable[[int], dict[int, Any]]:
    """Which sides of a map are free, told how many cells it has along a side of the largest input: both where pictures
    are not padded to a square, in steps of the unit that they are padded to.
    """
    if preprocessing.fit != "tight":
        return lambda cells: {}
    units = preprocessing.image_size // preprocessing.unit
    down, across = (torch.export.Dim(name, min=2, max=units) for name in ("down", "across"))
    return lambda cells: {2: cells // units * down, 3: cells // units * across}


def write(model: PromptableNetwork, folder: Path, precision: Precision = "fp32", opset: int = OPSET) -> Manifest:
    """Writes a folder of graphs that holds all it needs; a refiner's first stage is named, not copied. Earlier graphs
    are removed first: an export that fails leaves no graphs of two models.

    Args:
        model: See :func:`record`.
        folder: Where ``config.json``, ``onnx.json`` and the graphs go.
        precision: Of the weights on disk, see :func:`vns_sam.export.store.store`; "int8" is for the decoder alone:
            convolutions in whole numbers are slower and wrong.
        opset: Of ONNX.

    Raises:
        MissingExtraError, UsageError: See :func:`record`.
        OutputError: The place cannot be written.
    """
    manifest, graphs = record(model, opset, named=precision == "fp16")  # fused with norms, weights would need more bits
    config = model.saved_config()
    remove_graphs(folder)
    for name, graph in graphs.items():
        store(graph, folder / f"{name}.onnx", precision if name == "decoder" or precision != "int8" else "fp32")
    write_text(folder / CONFIG, json.dumps(config, indent=2) + "\n")
    write_text(folder / GRAPHS, json.dumps(asdict(manifest), indent=1) + "\n")
    return manifest


def write_named(model: PromptableNetwork, folder: Path, sources: Sequence[str] = ("",)) -> Manifest:
    """Writes graphs beside a model's weights, which they name only: nothing is stored twice. Earlier graphs are removed
    first, as by :func:`write`.

    Args:
        model: The model.
        folder: That of its weights.
        sources: Where weights are: "" for the folder itself, and bundled models.

    Raises:
        UsageError: A weight is in none of the sources.
        OutputError: The place cannot be written.
    """
    manifest, graphs = record(model, named=True)
    stored = [read_arrays((place(source) if source else folder) / WEIGHTS) for source in sources]
    known: dict[bytes, list[tuple[int, str]]] = defaultdict(list)
    for k, values in enumerate(stored):
        for key, value in values.items():
            known[_fingerprint(value)].append((k, key))
    named = {name: _name_weights(graph, known) for name, graph in graphs.items()}
    remove_graphs(folder)
    for name, graph in graphs.items():
        write_bytes(folder / f"{name}.onnx", ir().to_proto(graph).SerializeToString())
    editions = {source: each for source in sources if (each := edition(source)) is not None}
    manifest = replace(manifest, sources=tuple(sources), editions=editions, weights=named)
    write_text(folder / GRAPHS, json.dumps(asdict(manifest), indent=1) + "\n")
    return manifest


def sources_of(model: PromptableNetwork) -> tuple[str, ...]:
    """Where the weights of a model's folder are: there, and in the bundled model that it stands on.

    Raises:
        UsageError: It stands on another, whose weights no graph may name.
    """
    base = getattr(getattr(model, "config", None), "base", None)
    if base is None or not isinstance(model, SamBasedNetwork):
        return ("",)
    if base not in bundled():
        raise UsageError(
            f"expected a model with its own weights, or on a bundled one, '{model.name}' stands on '{base}'",
            hint="vns-sam export MODEL --out graphs/",
        )
    return ("", base)


def _name_weights(graph: onnx_ir.Model, known: Mapping[bytes, list[tuple[int, str]]]) -> dict[str, tuple[int, str]]:
    """Takes the weights out of a graph and says where they are."""
    named = {}
    for name, value in graph.graph.initializers.items():
        if not name.startswith(OWN) or value.const_value is None:
            continue
        places = known.get(_fingerprint(value.const_value.numpy()), [])
        if not places and value.const_value.size <= INLINE:
            continue
        if not places:
            raise UsageError(
                f"the weight '{name}' is in none of the files that the graph may name",
                hint="vns-sam export MODEL --out graphs/",
            )
        tensor = value.const_value
        value.const_value = ir().ExternalTensor(
            "weights", None, None, tensor.dtype, shape=tensor.shape, name=name, base_dir=""
        )
        named[name] = max(places, key=lambda at: _shared_ending(name, at[1]))  # tensors of zeros are all alike
    return named


def _shared_ending(name: str, other: str) -> int:
    """How many parts two dotted names end with in common."""
    pairs = zip(reversed(name.split(".")), reversed(other.split(".")), strict=False)
    return next((k for k, (one, two) in enumerate(pairs) if one != two), min(name.count("."), other.count(".")) + 1)


def _fingerprint(values: np.ndarray) -> bytes:
    return hashlib.sha256(f"{values.shape} {values.dtype}".encode() + np.ascontiguousarray(values).tobytes()).digest()
