"""The mean of several trainings of one model: between a model and its fine-tuned self lies one that keeps most of what
the first could and has most of what the second learnt (Wortsman et al., CVPR 2022).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from vns_sam.errors import CheckpointError, UsageError
from vns_sam.sam.checkpoints import read_state, write_checkpoint
from vns_sam.sam.folder import read_config
from vns_sam.sam.registry import place


def average_checkpoints(
    folders: Sequence[str | Path], out: str | Path, shares: Sequence[float] | None = None
) -> dict[str, torch.Tensor]:
    """Writes a model whose weights are the mean of others', in half precision.

    Args:
        folders: Two or more folders of ``save_pretrained``, of the same tensors; a bundled model goes by its name.
        out: Folder to write; its configuration, and tensors that are no floating-point numbers, are the last one's.
        shares: How much each counts, 0 or more; alike by default.

    Returns:
        The mean, by name.

    Raises:
        UsageError: There is one folder, or shares do not fit them.
        CheckpointError: A folder is missing or damaged, or of other tensors.
    """
    shares = [1.0] * len(folders) if shares is None else list(shares)
    if len(folders) < 2:
        raise UsageError(f"expected two or more models to average, found {len(folders)}")
    if len(shares) != len(folders) or min(shares) < 0 or not sum(shares):
        raise UsageError(f"expected a share, 0 or more, for each of {len(folders)} models, found {shares}")
    places = [place(folder) for folder in folders]
    kind = read_config(places[0])["model_type"]
    config: dict[str, Any] = {}
    states: list[dict[str, torch.Tensor]] = []
    for folder in places:
        config, state = read_config(folder), read_state(folder)
        if config["model_type"] != kind:
            raise CheckpointError(f"{folder} holds a '{config['model_type']:.60}' model, expected '{kind}'")
        states.append(state)
        found, wanted = _shapes(state), _shapes(states[0])
        if odd := [key for key in {**wanted, **found} if found.get(key) != wanted.get(key)]:
            expected = f"expected '{odd[0]}' {wanted.get(odd[0], 'not to be there')} as in {folders[0]}"
            raise CheckpointError(f"{folder}: {expected}, found {found.get(odd[0], 'none')}")
    last = states[-1]
    mean = dict(last)
    for key in (key for key, value in last.items() if value.is_floating_point()):
        weighed = [share * state[key] for share, state in zip(shares, states, strict=True)]
        mean[key] = torch.stack(weighed).sum(0) / sum(shares)
    write_checkpoint(out, config, mean, torch.float16)
    return mean


def _shapes(state: dict[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in state.items()}
