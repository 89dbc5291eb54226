"""Checkpoints of a run: everything that its next step depends on, in one file, replaced atomically."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from vns_sam.errors import CheckpointError

LAST = "last.pt"


def save_state(folder: Path, state: dict[str, Any]) -> None:
    """Writes ``last.pt``; a kill at any moment leaves the one before or the new one, never half of it."""
    part = folder / (LAST + ".part")
    with part.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, folder / LAST)


def load_state(folder: Path) -> dict[str, Any] | None:
    """Reads ``last.pt``, or None where the run has not written one yet.

    Raises:
        CheckpointError: The file is damaged.
    """
    path = folder / LAST
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(
            f"{path} is damaged ({type(error).__name__})", hint=f"remove {folder} to start the run again"
        ) from None
    return state
