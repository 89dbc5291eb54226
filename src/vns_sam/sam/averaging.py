"""The mean of several trainings of one model: between a model and its fine-tuned self lies one that keeps most of what
the first could and has most of what the second learnt (Wortsman et al., CVPR 2022).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from vns_sam.errors import CheckpointError, UsageError
from vns_sam.sam.checkpoints import read_state, write_checkpoint
from vns_sam.sam.editions import check_edition
from vns_sam.sam.folder import read_config
from vns_sam.sam.registry import place, portable


def average_checkpoints(
    folders: Sequence[str | Path], out: str | Path, shares: Sequence[float] | None = None
) -> dict[str, torch.Tensor]:
    """Writes a model whose weights are the mean of others', in half precision.

    Args:
        folders: Two or more folders of ``save_pretrained``, of the same tensors; a bundled model goes by its name.
        out: Folder to write; its configuration, and tensors that are no floating-point numbers, are the last one's. An
            edition that any of them has written down is kept.
        shares: How much each counts, 0 or more; alike by default.

    Returns:
        The mean, by name.

    Raises:
        UsageError: There is one folder, or shares do not fit them.
        CheckpointError: A folder is missing or damaged, of other tensors, or stands on another model, or on another
            edition of it.
    """
    shares = [1.0] * len(folders) if shares is None else list(shares)
    if len(folders) < 2:
        raise UsageError(f"expected two or more models to average, found {len(folders)}")
    if len(shares) != len(folders) or min(shares) < 0 or not sum(shares):
        raise UsageError(f"expected a share, 0 or more, for each of {len(folders)} models, found {shares}")
    places = [place(folder) for folder in folders]
    kind = read_config(places[0])["model_type"]
    configs: list[dict[str, Any]] = []
    states: list[dict[str, torch.Tensor]] = []
    for folder in places:
        config, state = read_config(folder), read_state(folder)
        if config["model_type"] != kind:
            raise CheckpointError(f"{folder} holds a '{config['model_type']:.60}' model, expected '{kind}'")
        states.append(state)
        configs.append(config)
        found, wanted = _shapes(state), _shapes(states[0])
        if odd := [key for key in {**wanted, **found} if found.get(key) != wanted.get(key)]:
            expected = f"expected '{odd[0]}' {wanted.get(odd[0], 'not to be there')} as in {folders[0]}"
            raise CheckpointError(f"{folder}: {expected}, found {found.get(odd[0], 'none')}")
    below = _common_base(configs, places)
    last = states[-1]
    mean = dict(last)
    for key in (key for key, value in last.items() if value.is_floating_point()):
        weighed = [share * state[key] for share, state in zip(shares, states, strict=True)]
        mean[key] = torch.stack(weighed).sum(0) / sum(shares)
    write_checkpoint(out, {**configs[-1], **below}, mean, torch.float16)
    return mean


def _common_base(configs: Sequence[Mapping[str, Any]], places: Sequence[Path]) -> dict[str, str]:
    """What models stand on, as fields of the mean's configuration: nothing of those that stand on none. A DIS-SAM
    refines masks of any first stage: its mean has that of the last.

    Raises:
        CheckpointError: They stand on several, on several editions of one, or on one that this version has not.
    """
    below: dict[str, str] = {}
    if configs[-1].get("model_type") == "dis-sam":
        configs, places = configs[-1:], places[-1:]
    for config, folder in zip(configs, places, strict=True):
        base, known = config.get("base"), config.get("base_edition")
        own = {} if base is None else {"base": portable(str(base), beside=folder)}
        own |= {} if known is None else {"base_edition": str(known)}
        if own:
            check_edition(own.get("base", ""), own.get("base_edition"), folder)
        for field, value in own.items():
            expected = below.setdefault(field, value)
            if value != expected:
                raise CheckpointError(
                    f"{folder} has {field} '{value}', expected '{expected}' as in {places[0]}",
                    hint="average trainings on one foundation: their weights mean nothing on another",
                )
    return below


def _shapes(state: dict[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in state.items()}
