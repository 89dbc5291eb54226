"""Generators on disk: our folders, and the authors' ``latest_net_G_A.pth``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from vns_sam.errors import CheckpointError
from vns_sam.lowlight.generator import GeneratorConfig, ResnetGenerator
from vns_sam.sam.checkpoints import load_weights, read_checkpoint, write_checkpoint
from vns_sam.sam.files import read_tensors

_FIRST, _BLOCK = "model.1.weight", ".conv_block.1.weight"
_WRAPPER = "module."
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
"""Tensors of instance norms in files of old PyTorch versions; they were never used."""


def save_generator(generator: ResnetGenerator, folder: str | Path, *, dtype: torch.dtype = torch.float16) -> None:
    """Writes ``config.json`` and ``model.safetensors``; the tensors keep the authors' names."""
    write_checkpoint(folder, generator.config.to_dict(), generator.state_dict(), dtype)


def load_generator(path: str | Path) -> ResnetGenerator:
    """Reads a generator, ready to translate.

    Args:
        path: A folder of :func:`save_generator`, or a ``.pth`` file of the authors' code (``latest_net_G_A.pth``),
            whose width and depth are found out from the tensors.

    Raises:
        CheckpointError: It is missing, damaged or of another network.
    """
    path = Path(path)
    if path.is_dir():
        config, state = read_checkpoint(path, GeneratorConfig)
        return _build(config, state, path)
    state = published_state(read_tensors(path, prefixes=[_WRAPPER]))  # "model." is a part of their names
    return _build(_detect(state, path), state, path)


def published_state(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A state dict of the authors' code by plain names: without ``module.`` and unused statistics, as float32."""
    plain = {key.removeprefix(_WRAPPER): value for key, value in state.items()}
    return {key: value.float() for key, value in plain.items() if not key.endswith(_STATISTICS)}


def _detect(state: Mapping[str, torch.Tensor], path: Path) -> GeneratorConfig:
    first = state.get(_FIRST)
    blocks = sum(key.endswith(_BLOCK) for key in state)
    if first is None or first.shape[1:] != (3, 7, 7) or not blocks:
        raise CheckpointError(
            f"{path} holds no ResNet generator of CycleGAN (its first tensor is '{next(iter(state), 'nothing')}')",
            hint="expected latest_net_G_A.pth, or latest_net_G.pth of a single direction",
        )
    return GeneratorConfig(len(first), blocks)


def _build(config: GeneratorConfig, state: Mapping[str, torch.Tensor], path: Path) -> ResnetGenerator:
    generator = ResnetGenerator(config)
    load_weights(generator, state, path)
    return generator.eval()
