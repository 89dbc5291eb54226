"""A model's folder, as far as it is known without its weights: ``config.json``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vns_sam.errors import CheckpointError
from vns_sam.images.bounded import read_bounded

CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
PROCESSOR = "preprocessor_config.json"
"""How pictures enter, in a folder of transformers."""
PROCESSORS = ("processor_config.json", PROCESSOR)
"""The files that may say so; the first, from transformers 5 on, has it below ``image_processor``."""
FILES = (".pth", ".pt", ".safetensors")
"""How the names of files of weights end; no hub id does."""
OLDER_WEIGHTS = "pytorch_model.bin"
"""What transformers wrote before it had SafeTensors."""
GRAPHS = "onnx.json"
"""Says which graphs a folder holds and where their weights are, see :mod:`vns_sam.inference.onnx.folder`."""
GRAPH_FILES = "*.onnx*"
GRAPHS_OF = {"promptable": ("encoder", "decoder"), "refiner": ("refiner",), "segmenter": ("segmenter",)}
"""The graphs that a folder holds, by the kind that its ``onnx.json`` states."""


def graph_files(folder: Path) -> list[Path]:
    """The graphs of a folder and the weights beside them, in order; not what is being written or a kill has left."""
    return sorted(path for path in folder.glob(GRAPH_FILES) if path.is_file() and not path.name.startswith("."))


def read_config(folder: str | Path) -> dict[str, Any]:
    """Reads ``config.json``.

    Raises:
        CheckpointError: It is missing, or no JSON object of ordinary size with a ``model_type``.
    """
    path = Path(folder) / CONFIG
    if not path.exists():
        raise CheckpointError(f"no {CONFIG} in {folder}", hint="give a folder written by save_pretrained")
    try:
        values = json.loads(read_bounded(path))
    except (OSError, ValueError, RecursionError) as error:  # ValueError: no UTF-8, no JSON, too many digits
        reason = "nested too deeply" if isinstance(error, RecursionError) else " ".join(str(error).split())
        raise CheckpointError(f"{path} is not readable JSON ({reason})") from None
    if not isinstance(values, dict) or not isinstance(values.get("model_type"), str):
        raise CheckpointError(f"{path} holds no 'model_type'", hint="give a folder written by save_pretrained")
    return values
