"""Checkpoints of a run: everything that its next step depends on, in one file, replaced atomically."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vns_sam.errors import CheckpointError
from vns_sam.images.write import atomic_path
from vns_sam.sam.checkpoints import match_keys
from vns_sam.sam.files import check_finite

LAST = "last.pt"
NEEDED = ("recipe", "step", "model")
"""Of every checkpoint."""


def save_state(folder: Path, state: dict[str, Any]) -> None:
    """Writes ``last.pt``; a kill at any moment leaves the one before or the new one, never half of it.

    Raises:
        OutputError: The place cannot be written.
    """
    with atomic_path(folder / LAST) as part:
        try:
            with part.open("wb") as file:
                torch.save(state, file)
        except RuntimeError as error:  # what torch makes of a disk that takes no more
            raise OSError(errno.ENOSPC, "torch could not write it: is there room on the disk?") from error


def load_state(folder: Path) -> dict[str, Any] | None:
    """Reads ``last.pt``, or None where the run has not written one yet.

    Raises:
        CheckpointError: The file is damaged or no checkpoint.
    """
    path = folder / LAST
    if not path.exists():
        return None
    again = f"remove {folder} to start the run again"
    if not path.is_file():
        raise CheckpointError(f"{path} is no regular file", hint=again)
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(f"{path} is damaged ({type(error).__name__})", hint=again) from None
    missing = [name for name in NEEDED if not isinstance(state, dict) or name not in state]
    if missing or not isinstance(state["step"], int) or not isinstance(state["model"], dict):
        lacks = ", ".join(missing) or "other types"
        raise CheckpointError(f"{path} is no checkpoint of a run ({lacks})", hint=again)
    return state


def restore(model: nn.Module, expected: dict[str, torch.Tensor], state: dict[str, Any], folder: Path) -> None:
    """Puts the weights of a checkpoint into a model.

    Args:
        model: The model.
        expected: What training changes of it, by name: the checkpoint must hold these tensors and no other.
        state: The checkpoint, see :func:`load_state`.
        folder: Of the run.

    Raises:
        CheckpointError: A tensor is missing, left over or of another shape, or holds NaN.
    """
    found, path = state["model"], folder / LAST
    report = match_keys(expected, found)
    odd = (*report.missing, *report.left_over)
    wrong = [key for key in report.used if found[key].shape != expected[key].shape]
    if odd or wrong:
        first = (*odd, *wrong)[0]
        count = f"{len(report.missing)} missing, {len(report.left_over)} left over, {len(wrong)} of another shape"
        raise CheckpointError(
            f"{path} does not belong to this model: {count}, the first is '{first}'",
            hint=f"it was written by another version; remove {folder} to start the run again",
        )
    check_finite(found, path)
    model.load_state_dict(found, strict=False)  # what is frozen is not in a checkpoint
