"""Reading and writing a model's folder: ``config.json`` beside ``model.safetensors``."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from vns_sam.errors import CheckpointError
from vns_sam.images.write import atomic_path, write_text

logger = logging.getLogger(__name__)

CONFIG, WEIGHTS = "config.json", "model.safetensors"


@dataclass(frozen=True)
class KeyReport:
    """What became of a file's tensors.

    Attributes:
        used: Names that found their place, in the model's order.
        missing: Names that the model has and the file has not.
        left_over: Names of the file that the model has no place for.
    """

    used: tuple[str, ...]
    missing: tuple[str, ...]
    left_over: tuple[str, ...]

    def __str__(self) -> str:
        return f"{len(self.used)} tensors used, {len(self.missing)} missing, {len(self.left_over)} left over"


def load_weights(model: nn.Module, state: Mapping[str, torch.Tensor], origin: str | Path) -> KeyReport:
    """Puts ``state`` into ``model``, which may be on the meta device: its tensors are taken, not copied.

    Args:
        model: Every tensor of it must be in ``state``.
        state: By the model's own names; others are left over and reported.
        origin: What an error calls the weights.

    Raises:
        CheckpointError: A tensor is missing or has another shape.
    """
    expected = model.state_dict()
    missing = tuple(key for key in expected if key not in state)
    if missing:
        raise CheckpointError(
            f"{origin} lacks {len(missing)} of {len(expected)} tensors, the first is '{missing[0]}'",
            hint="the file is truncated or of another model: download or convert it again",
        )
    for key, tensor in expected.items():
        if state[key].shape != tensor.shape:
            found, wanted = tuple(state[key].shape), tuple(tensor.shape)
            raise CheckpointError(f"{origin}: '{key}' must have shape {wanted}, found {found}")
    model.load_state_dict({key: state[key] for key in expected}, assign=True)
    report = KeyReport(tuple(expected), missing, tuple(key for key in state if key not in expected))
    if report.left_over:
        logger.warning("%s: %s, the first left over is '%s'", origin, report, report.left_over[0])
    return report


def write_checkpoint(
    folder: str | Path, config: Mapping[str, Any], state: Mapping[str, torch.Tensor], dtype: torch.dtype
) -> None:
    """Writes a model's folder, each file atomically; floating tensors are stored as ``dtype``.

    Raises:
        DataError: The place cannot be written.
    """
    folder = Path(folder)
    stored = {
        key: (value.to(dtype) if value.is_floating_point() else value).detach().cpu().contiguous().clone()
        for key, value in state.items()
    }
    write_text(folder / CONFIG, json.dumps(config, indent=2) + "\n")
    with atomic_path(folder / WEIGHTS) as part:
        save_file(stored, part)
        part.chmod((folder / CONFIG).stat().st_mode)  # safetensors would keep other users of the machine out


def read_config(folder: str | Path) -> dict[str, Any]:
    """Reads ``config.json``.

    Raises:
        CheckpointError: It is missing or no JSON object with a ``model_type``.
    """
    path = Path(folder) / CONFIG
    try:
        values = json.loads(path.read_text())
    except FileNotFoundError:
        raise CheckpointError(f"no {CONFIG} in {folder}", hint="give a folder written by save_pretrained") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is not readable JSON ({error})") from None
    if not isinstance(values, dict) or "model_type" not in values:
        raise CheckpointError(f"{path} holds no 'model_type'", hint="give a folder written by save_pretrained")
    return values


def read_checkpoint(folder: str | Path, model_type: str) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Reads a model's folder; floating tensors become float32.

    Raises:
        CheckpointError: A file is missing or damaged, or the folder holds another kind of model.
    """
    values = read_config(folder)
    if values["model_type"] != model_type:
        raise CheckpointError(f"{folder} holds a '{values['model_type']}' model, expected '{model_type}'")
    path = Path(folder) / WEIGHTS
    try:
        state = load_file(path)
    except FileNotFoundError:
        raise CheckpointError(f"no {WEIGHTS} in {folder}") from None
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is damaged ({error})", hint="download or copy it again") from None
    return values, {k: v.float() if v.is_floating_point() else v for k, v in state.items()}


def model_digest(model: nn.Module) -> str:
    """A digest of what a network's answers depend on: its name, and the configurations and weights of all its parts."""
    configs = [asdict(config) for config in configurations(model)]
    digest = hashlib.sha256(json.dumps([getattr(model, "name", ""), *configs], sort_keys=True).encode())
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:16]


def configurations(model: nn.Module) -> list[Any]:
    """The configurations of all parts of a network, in order; those of other packages' parts do not count."""
    found = (getattr(part, "config", None) for part in model.modules())
    return [config for config in found if type(config).__module__.startswith("vns_sam.")]
