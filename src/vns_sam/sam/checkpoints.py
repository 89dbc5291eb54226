"""Reading and writing a model's folder: ``config.json`` beside ``model.safetensors``."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from vns_sam.errors import CheckpointError

CONFIG, WEIGHTS = "config.json", "model.safetensors"


def write_checkpoint(
    folder: str | Path, config: Mapping[str, Any], state: Mapping[str, torch.Tensor], dtype: torch.dtype
) -> None:
    """Writes a model's folder, each file atomically; floating tensors are stored as ``dtype``."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    stored = {
        key: (value.to(dtype) if value.is_floating_point() else value).detach().cpu().contiguous().clone()
        for key, value in state.items()
    }
    part = folder / (WEIGHTS + ".part")
    save_file(stored, part)
    os.replace(part, folder / WEIGHTS)
    part = folder / (CONFIG + ".part")
    part.write_text(json.dumps(config, indent=2) + "\n")
    os.replace(part, folder / CONFIG)


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
