"""Writes a model as ONNX graphs with a manifest, see :mod:`vns_sam.inference.onnx.folder`."""

from __future__ import annotations

import hashlib
import json
import logging
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import nn

from vns_sam.errors import MissingExtraError, UsageError
from vns_sam.export.graphs import DecoderGraph, EncoderGraph, RefinerGraph, SegmenterGraph
from vns_sam.images.write import atomic_path, write_bytes, write_text
from vns_sam.inference.onnx.folder import MANIFEST, Manifest, read_arrays
from vns_sam.sam.based import SamBasedNetwork
from vns_sam.sam.folder import CONFIG, WEIGHTS
from vns_sam.sam.promptable import PromptableNetwork
from vns_sam.sam.registry import bundled, place, portable

if TYPE_CHECKING:
    import onnx_ir

Precision = Literal["fp32", "fp16", "int8"]
OPSET = 18
OPSETS = range(18, 22)
"""Of ONNX, that torch can write and ONNX Runtime reads."""
LARGE = 1_800_000_000
"""Bytes from which on weights lie beside a graph: a file of ONNX itself may have 2 GiB."""
INLINE = 4096
"""Numbers of a constant that is no stored weight, at most: a graph that only names its weights holds it itself."""
_OWN = "model."
"""How the names of weights begin in a graph."""


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
    ir()
    if opset not in OPSETS:
        raise UsageError(f"--opset must be {OPSETS[0]} to {OPSETS[-1]}, found {opset}", hint=f"--opset {OPSET}")
    recorder = _Recorder(opset, named)
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


def _record_promptable(model: SamBasedNetwork, recorder: _Recorder) -> tuple[Manifest, dict[str, onnx_ir.Model]]:
    info, side, grid = model.info, model.preprocessing.image_size, model.grid
    pixels = torch.rand(1, 3, side, side) * 255
    with torch.no_grad():
        features = model.encode_pixels(model.preprocessing.normalise(pixels))  # what is computed once is computed here
    maps, mined = (*features.mined, *features.finer), len(features.mined)
    others = [f"mined.{k}" if k < mined else f"finer.{k - mined}" for k in range(len(maps))]
    encoder = recorder(EncoderGraph(model), (pixels,), ["pixels"], ["embedding", *others])
    places, labels = torch.rand(3, 5, 2) * side, torch.tensor([[1, 0, -1, 2, 3]] * 3)
    example = (features.embedding, places, labels, torch.rand(3, 1, 4 * grid, 4 * grid), torch.ones(3))
    each: dict[int, Any] = {0: torch.export.Dim("P", min=1, max=4096)}
    points = each | {1: torch.export.Dim("N", min=1, max=4096)}
    more: tuple[Any, ...] = (tuple({} for _ in maps),) if maps else ()  # what a *argument gets is one entry
    inputs = ["embedding", "points", "labels", "masks", "has_mask", *(f"maps.{k}" for k in range(len(maps)))]
    outputs = ["mask_logits", "scores", "candidate_logits", "candidate_scores", "edge_logits"][: 4 + info.edges]
    graph = DecoderGraph(model, mined)
    decoder = recorder(graph, (*example, *maps), inputs, outputs, ({}, points, points, each, each, *more))
    closed = model.foundation.prompt_encoder.closed
    manifest = Manifest("promptable", info.name, model.preprocessing, info.candidates, info.edges, mined, closed)
    return manifest, {"encoder": encoder, "decoder": decoder}


@dataclass(frozen=True)
class _Recorder:
    """How graphs are recorded, see :func:`record`."""

    opset: int
    named: bool

    def __call__(
        self,
        graph: nn.Module,
        example: tuple[torch.Tensor, ...],
        inputs: Sequence[str],
        outputs: Sequence[str],
        dynamic: Any = None,
    ) -> onnx_ir.Model:
        with torch.no_grad(), _quietly():
            program = torch.onnx.export(
                graph.eval(),
                example,
                dynamo=True,
                optimize=False,
                verbose=False,
                opset_version=self.opset,
                input_names=list(inputs),
                output_names=list(outputs),
                dynamic_shapes=dynamic,
            )
            assert program is not None
            (_simplify if self.named else _optimise)(program.model)
        _strip(program.model)
        return program.model


def _optimise(model: onnx_ir.Model) -> None:
    """Computes and fuses all that is known, weights included."""
    from onnxscript import optimizer

    optimizer.optimize_ir(model, input_size_limit=LARGE, output_size_limit=LARGE)


def _simplify(model: onnx_ir.Model) -> None:
    """Computes what is known, but nothing that weights take part in: that is left to who runs the graph."""
    from onnxscript import optimizer

    common: Any = import_module("onnx_ir.passes.common")

    def has_weights(node: onnx_ir.Node) -> bool | None:
        named = (value.name for value in node.inputs if value is not None and value.is_initializer())
        return False if any(str(name).startswith(_OWN) for name in named) else None

    common.InlinePass()(model)
    for _ in range(2):
        optimizer.fold_constants(model, onnx_shape_inference=True, output_size_limit=INLINE, should_fold=has_weights)
        common.RemoveUnusedNodesPass()(model)
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    common.CommonSubexpressionEliminationPass()(model)
    common.RemoveUnusedFunctionsPass()(model)
    common.RemoveUnusedOpsetsPass()(model)


def _strip(model: onnx_ir.Model) -> None:
    """Drops what tells where in the source a node comes from, and the shapes between nodes."""
    for value in model.graph.initializers.values():
        value.metadata_props.clear()
    for node in model.graph:
        node.metadata_props.clear()
        node.doc_string = None
        for value in node.outputs:
            value.metadata_props.clear()
            if not value.is_graph_output():
                value.shape = value.type = None


def ir() -> Any:
    """The package onnx_ir, which graphs are edited with; it comes with onnxscript.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        import onnx_ir
        import onnxscript  # noqa: F401
    except ImportError:
        raise MissingExtraError("onnxscript", extra="export", purpose="writing graphs") from None
    return onnx_ir


@contextmanager
def _quietly() -> Iterator[None]:
    """Without the exporter's notes about packages that are not there."""
    loud = logging.getLogger("torch.onnx._internal.exporter")
    level = loud.level
    loud.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        loud.setLevel(level)


def write(model: PromptableNetwork, folder: Path, precision: Precision = "fp32", opset: int = OPSET) -> Manifest:
    """Writes a folder of graphs that holds all it needs; a refiner's first stage is named, not copied.

    Args:
        model: See :func:`record`.
        folder: Where ``config.json``, ``onnx.json`` and the graphs go.
        precision: Of the weights on disk: "fp16" halves them, numbers are computed in float32 all the same; "int8" also
            multiplies the decoder's matrices in whole numbers.
        opset: Of ONNX.

    Raises:
        MissingExtraError, UsageError: See :func:`record`.
        OutputError: The place cannot be written.
    """
    manifest, graphs = record(model, opset, named=precision == "fp16")  # fused with norms, weights would need more bits
    for name, graph in graphs.items():
        if precision == "fp16":
            halve(graph)
        path = folder / f"{name}.onnx"
        if _bytes(graph) > LARGE:
            path.parent.mkdir(parents=True, exist_ok=True)
            ir().save(graph, path, external_data=f"{name}.onnx.data")
        else:
            write_bytes(path, ir().to_proto(graph).SerializeToString())
        if precision == "int8" and name == "decoder":
            _quantise(path)
    write_text(folder / CONFIG, json.dumps(config_of(model), indent=2) + "\n")
    write_text(folder / MANIFEST, json.dumps(asdict(manifest), indent=1) + "\n")
    return manifest


def config_of(model: PromptableNetwork) -> dict[str, Any]:
    """The ``config.json`` of a model, what it stands on by a name that holds everywhere."""
    parts: Any = model
    values: dict[str, Any] = parts.config.to_dict()
    return {**values, "base": portable(values["base"])} if "base" in values else values


def halve(graph: onnx_ir.Model) -> None:
    """Stores large weights in half precision; a cast brings each back when the graph is opened."""
    for name, value in [*graph.graph.initializers.items()]:
        tensor = value.const_value
        if tensor is None or tensor.dtype != ir().DataType.FLOAT or tensor.size <= INLINE:
            continue
        users = [(use.node, use.idx) for use in value.uses()]
        small = ir().Value(name=f"{name}.half", const_value=ir().tensor(tensor.numpy().astype(np.float16)))
        cast = ir().node("Cast", [small], attributes={"to": ir().DataType.FLOAT})
        for user, place_ in users:
            user.replace_input_with(place_, cast.outputs[0])
        graph.graph.initializers.pop(name)
        graph.graph.register_initializer(small)
        graph.graph.insert_before(graph.graph[0], cast)


def _bytes(graph: onnx_ir.Model) -> int:
    return sum(value.const_value.nbytes for value in graph.graph.initializers.values() if value.const_value is not None)


def _quantise(path: Path) -> None:
    """The products of matrices with weights in 8 bits; those of the prompt's convolutions stay."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with atomic_path(path) as part:
        quantize_dynamic(path, part, op_types_to_quantize=["MatMul", "Gemm"], weight_type=QuantType.QInt8)


def write_named(model: PromptableNetwork, folder: Path, sources: Sequence[str] = ("",)) -> Manifest:
    """Writes graphs beside a model's weights, which they name only: nothing is stored twice.

    Args:
        model: The model.
        folder: That of its weights.
        sources: Where weights are: "" for the folder itself, and bundled models.

    Raises:
        UsageError: A weight is in none of the sources.
    """
    manifest, graphs = record(model, named=True)
    stored = [read_arrays((place(source) if source else folder) / WEIGHTS) for source in sources]
    known: dict[bytes, list[tuple[int, str]]] = defaultdict(list)
    for k, values in enumerate(stored):
        for key, value in values.items():
            known[_fingerprint(value)].append((k, key))
    named: dict[str, dict[str, tuple[int, str]]] = {}
    for name, graph in graphs.items():
        named[name] = _name_weights(graph, known)
        write_bytes(folder / f"{name}.onnx", ir().to_proto(graph).SerializeToString())
    manifest = replace(manifest, sources=tuple(sources), weights=named)
    write_text(folder / MANIFEST, json.dumps(asdict(manifest), indent=1) + "\n")
    return manifest


def sources_of(model: PromptableNetwork) -> tuple[str, ...]:
    """Where the weights of a model's folder are: there, and in the bundled model that it stands on."""
    base = getattr(getattr(model, "config", None), "base", None)
    return ("", base) if isinstance(model, SamBasedNetwork) and base in bundled() else ("",)


def _name_weights(graph: onnx_ir.Model, known: Mapping[bytes, list[tuple[int, str]]]) -> dict[str, tuple[int, str]]:
    """Takes the weights out of a graph and says where they are."""
    named = {}
    for name, value in graph.graph.initializers.items():
        if not name.startswith(_OWN) or value.const_value is None:
            continue
        places = known.get(_fingerprint(value.const_value.numpy()), [])
        if not places and value.const_value.size <= INLINE:
            continue
        if not places:
            raise UsageError(f"the weight '{name}' is in none of the files that the graph may name")
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
