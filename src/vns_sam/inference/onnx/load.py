"""From a folder of graphs to a model."""

from __future__ import annotations

from pathlib import Path

from vns_sam.dis.config import DisSamConfig
from vns_sam.errors import CheckpointError
from vns_sam.inference.onnx.folder import OnnxFolder
from vns_sam.inference.onnx.promptable import OnnxPromptable
from vns_sam.inference.onnx.refiner import OnnxRefiner
from vns_sam.inference.onnx.segmenter import OnnxSegmenter
from vns_sam.sam.folder import CONFIG, read_config
from vns_sam.sam.registry import place
from vns_sam.types import PromptableModel


def open_graphs(path: Path) -> PromptableModel:
    """The model of a folder; a refiner stands on the first stage that its ``config.json`` names.

    Raises:
        CheckpointError: The folder is damaged, or its first stage has no graphs.
    """
    folder = OnnxFolder(path)
    if folder.manifest.kind == "promptable":
        return OnnxPromptable(folder)
    if folder.manifest.kind == "segmenter":
        return OnnxSegmenter(folder)
    config = _config(path)
    first = open_graphs(_beside(path, config.base))
    if first.info.alpha or not first.info.prompts:
        raise CheckpointError(f"the first stage of {path}, '{config.base}', cannot be refined", hint="name a SAM")
    return OnnxRefiner(folder, config, first, config.name)


def refine_with_graph(path: Path, first: PromptableModel) -> PromptableModel:
    """A model and the refiner of a folder after it, in place of its own first stage.

    Raises:
        CheckpointError: The folder is damaged or holds no refiner.
    """
    folder = OnnxFolder(path)
    if folder.manifest.kind != "refiner":
        raise CheckpointError(f"{path} holds a {folder.manifest.kind} model, expected a DIS-SAM to refine with")
    config = _config(path)
    return OnnxRefiner(folder, config, first, f"{first.info.name}+{config.name}")


def _config(path: Path) -> DisSamConfig:
    return DisSamConfig.from_dict(read_config(path), path / CONFIG)


def _beside(path: Path, base: str) -> Path:
    """The folder of a first stage, which may be named relative to its refiner's."""
    found = place(base)
    return path / found if not found.is_absolute() and (path / found).exists() else found
