"""From a network's function of tensors to a graph."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from vns_sam.errors import MissingExtraError, UsageError

if TYPE_CHECKING:
    import onnx_ir

OPSET = 18
OPSETS = range(18, 22)
"""Of ONNX, that torch can write and ONNX Runtime reads."""
OWN = "model."
"""How the names of weights begin in a graph."""
INLINE = 4096
"""Numbers of a constant that is no stored weight, at most: a graph that only names its weights holds it itself."""
MERGED = (
    "remove_optional_bias_from_conv_rule",
    "normalize_pad_format_conv_rule",
    "fuse_pad_into_conv_rule",
    "reshape_reshape_rule",
    "transpose_transpose_rule",
    "unsqueeze_unsqueeze_rule",
    "materialize_reshape_shape_rule",
)
"""Rules of onnxscript that make fewer nodes of more and change no weight."""
LARGE = 1_800_000_000
"""Bytes from which on weights lie beside a graph: a file of ONNX itself may have 2 GiB."""


@dataclass(frozen=True)
class Recorder:
    """How graphs are recorded.

    Attributes:
        opset: Of ONNX.
        named: Whether weights keep their names and values, so that they can be taken out; else what can be computed
            from them in advance is.

    Raises:
        MissingExtraError: The packages onnx and onnxscript are not installed.
        UsageError: The opset is not supported.
    """

    opset: int
    named: bool

    def __post_init__(self) -> None:
        ir()
        if self.opset not in OPSETS:
            bounds = f"{OPSETS[0]} to {OPSETS[-1]}"
            raise UsageError(f"--opset must be {bounds}, found {self.opset}", hint=f"--opset {OPSET}")

    def __call__(
        self,
        graph: nn.Module,
        example: tuple[torch.Tensor, ...],
        inputs: Sequence[str],
        outputs: Sequence[str],
        dynamic: Any = None,
    ) -> onnx_ir.Model:
        """Records a module whose network is its attribute ``model``, so that weights begin with :data:`OWN`.

        Args:
            graph: The module.
            example: What it is called with.
            inputs: Their names.
            outputs: Names of what comes out.
            dynamic: Which sizes are free, as ``torch.export`` wants it.
        """
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
        _halve_last(program.model)
        _strip(program.model)
        return program.model


def _optimise(model: onnx_ir.Model) -> None:
    """Computes and fuses all that is known, weights included."""
    from onnxscript import optimizer

    optimizer.optimize_ir(model, input_size_limit=LARGE, output_size_limit=LARGE)


def _simplify(model: onnx_ir.Model) -> None:
    """Computes what is known, but nothing that weights take part in: that is left to who runs the graph."""
    from onnxscript import optimizer
    from onnxscript.rewriter import RewritePass

    common: Any = import_module("onnx_ir.passes.common")
    rules: Any = import_module("onnxscript.rewriter.rules.common")
    merge = RewritePass([getattr(rules, name) for name in MERGED])

    def has_weights(node: onnx_ir.Node) -> bool | None:
        named = (value.name for value in node.inputs if value is not None and value.is_initializer())
        return False if any(str(name).startswith(OWN) for name in named) else None

    common.InlinePass()(model)
    for _ in range(2):
        optimizer.fold_constants(model, onnx_shape_inference=True, output_size_limit=INLINE, should_fold=has_weights)
        merge(model)
        common.RemoveUnusedNodesPass()(model)
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    common.CommonSubexpressionEliminationPass()(model)
    common.RemoveUnusedFunctionsPass()(model)
    common.RemoveUnusedOpsetsPass()(model)


def _halve_last(model: onnx_ir.Model) -> None:
    """Turns GELU's x * (1/2 * (1 + erf)), as torch writes it, into (x * (1 + erf)) * 1/2: the same to the last bit, and
    what ONNX Runtime knows to be one operation.
    """
    for node in model.graph:
        if node.op_type != "Erf":
            continue
        raised = node.outputs[0].consumers()[0]
        halved = raised.outputs[0].consumers()[0]
        scaled = halved.outputs[0].consumers()[0]
        if (raised.op_type, halved.op_type, scaled.op_type) != ("Add", "Mul", "Mul"):
            continue
        half = next(at for at, value in enumerate(halved.inputs) if value is not raised.outputs[0])
        x = next(at for at, value in enumerate(scaled.inputs) if value is not halved.outputs[0])
        factor, argument = halved.inputs[half], scaled.inputs[x]
        halved.replace_input_with(half, argument)
        scaled.replace_input_with(x, factor)


def _strip(model: onnx_ir.Model) -> None:
    """Drops what tells where in the source a node comes from, the shapes between nodes, and the notes of the tracer,
    which are half of a graph without weights and come in another order each time.
    """
    model.graph.metadata_props.clear()
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
