"""From a folder of graphs to a model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from vns_sam.errors import CheckpointError
from vns_sam.inference.onnx.folder import OnnxFolder
from vns_sam.inference.onnx.promptable import OnnxPromptable
from vns_sam.sam.folder import CONFIG, read_config
from vns_sam.sam.registry import portable
from vns_sam.types import PromptableModel

if TYPE_CHECKING:
    from vns_sam.dis.config import DisSamConfig


def open_graphs(path: Path, first: Callable[[str], PromptableModel]) -> PromptableModel:
    """The model of a folder.

    Args:
        path: The folder.
        first: Loads what a refiner stands on, by the name in its ``config.json``: of a bundled or published model, an
            absolute path or a hub id.

    Raises:
        CheckpointError: The folder is damaged, or its first stage cannot be refined.
    """
    folder = OnnxFolder(path)
    if folder.manifest.kind == "promptable":
        return OnnxPromptable(folder)
    if folder.manifest.kind == "segmenter":
        from vns_sam.inference.onnx.segmenter import OnnxSegmenter

        return OnnxSegmenter(folder)
    config = _refiner_config(folder)
    own = first(portable(config.base, beside=path))
    if own.info.alpha or not own.info.prompts:
        raise CheckpointError(f"the first stage of {path}, '{config.base}', cannot be refined", hint="name a SAM")
    return _refiner(folder, config, own, config.name)


def refine_with_graph(path: Path, first: PromptableModel) -> PromptableModel:
    """A model and the refiner of a folder after it, in place of its own first stage.

    Raises:
        CheckpointError: The folder is damaged or holds no refiner.
    """
    folder = OnnxFolder(path)
    if folder.manifest.kind != "refiner":
        raise CheckpointError(f"{path} holds a {folder.manifest.kind} model, expected a DIS-SAM to refine with")
    config = _refiner_config(folder)
    return _refiner(folder, config, first, f"{first.info.name}+{config.name}")


def _refiner_config(folder: OnnxFolder) -> DisSamConfig:
    from vns_sam.dis.config import DisSamConfig  # not paid for by those who refine nothing

    return DisSamConfig.from_dict(read_config(folder.path), folder.path / CONFIG)


def _refiner(folder: OnnxFolder, config: DisSamConfig, first: PromptableModel, name: str) -> PromptableModel:
    from vns_sam.inference.onnx.refiner import OnnxRefiner

    return OnnxRefiner(folder, config, first, name)
