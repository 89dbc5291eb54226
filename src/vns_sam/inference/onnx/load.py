"""From a folder of graphs to a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vns_sam.errors import CheckpointError
from vns_sam.inference.onnx.folder import OnnxFolder
from vns_sam.inference.onnx.promptable import OnnxPromptable
from vns_sam.sam.folder import CONFIG, read_config
from vns_sam.sam.registry import local
from vns_sam.types import PromptableModel

if TYPE_CHECKING:
    from vns_sam.inference.onnx.refiner import OnnxRefiner


def open_graphs(path: Path) -> PromptableModel:
    """The model of a folder; a refiner stands on the first stage that its ``config.json`` names.

    Raises:
        CheckpointError: The folder is damaged, or its first stage has no graphs.
    """
    folder = OnnxFolder(path)
    if folder.manifest.kind == "promptable":
        return OnnxPromptable(folder)
    if folder.manifest.kind == "segmenter":
        from vns_sam.inference.onnx.segmenter import OnnxSegmenter

        return OnnxSegmenter(folder)
    return _refiner(folder)


def refine_with_graph(path: Path, first: PromptableModel) -> PromptableModel:
    """A model and the refiner of a folder after it, in place of its own first stage.

    Raises:
        CheckpointError: The folder is damaged or holds no refiner.
    """
    folder = OnnxFolder(path)
    if folder.manifest.kind != "refiner":
        raise CheckpointError(f"{path} holds a {folder.manifest.kind} model, expected a DIS-SAM to refine with")
    return _refiner(folder, first)


def _refiner(folder: OnnxFolder, first: PromptableModel | None = None) -> OnnxRefiner:
    """The refiner of a folder after its own first stage, or after another."""
    from vns_sam.dis.config import DisSamConfig  # not paid for by those who refine nothing
    from vns_sam.inference.onnx.refiner import OnnxRefiner

    config = DisSamConfig.from_dict(read_config(folder.path), folder.path / CONFIG)
    if first is not None:
        return OnnxRefiner(folder, config, first, f"{first.info.name}+{config.name}")
    base = local(config.base, beside=folder.path)
    if base is None:
        raise CheckpointError(
            f"the first stage of {folder.path}, '{config.base}', has no graphs", hint="run it in torch: --backend torch"
        )
    own = open_graphs(base)
    if own.info.alpha or not own.info.prompts:
        raise CheckpointError(
            f"the first stage of {folder.path}, '{config.base}', cannot be refined", hint="name a SAM"
        )
    return OnnxRefiner(folder, config, own, config.name)
