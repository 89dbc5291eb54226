"""A graph as a file, in the precision that is wanted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from vns_sam.export.record import INLINE, LARGE, ir
from vns_sam.images.write import atomic_path, unwritable, write_bytes

if TYPE_CHECKING:
    import onnx_ir

Precision = Literal["fp32", "fp16", "int8"]


def store(graph: onnx_ir.Model, path: Path, precision: Precision) -> None:
    """Writes a graph with its weights.

    Args:
        graph: It is changed.
        path: Of the file; weights of 2 GB and more go beside it.
        precision: Of the weights: "fp16" halves them, numbers are computed in float32 all the same; "int8" also
            multiplies matrices in whole numbers.

    Raises:
        OutputError: The place cannot be written.
    """
    if precision == "fp16":
        halve(graph)
    if _bytes(graph) > LARGE:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            ir().save(graph, path, external_data=f"{path.name}.data")
        except OSError as error:
            raise unwritable(path, error) from None
    else:
        write_bytes(path, ir().to_proto(graph).SerializeToString())
    if precision == "int8":
        _quantise(path)


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
