"""From a published file's tensors to a model of ours: other names, other numbers, and parts that are not needed."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

from vns_sam.errors import CheckpointError, UsageError
from vns_sam.sam.checkpoints import KeyReport, load_weights
from vns_sam.sam.config import SamConfig
from vns_sam.sam.model import SamModel

Rows = Sequence[tuple[str, str]]
"""Pairs of the end of a key in the file and its end in our model; ``*`` is a number. The first that fits counts."""
Translate = Callable[[str], str | None]
"""From a file's key to ours; None for what a model of single pictures does not need."""


def translator(parts: Sequence[tuple[str, str, Rows]], skipped: tuple[str, ...] = ()) -> Translate:
    """A function from a file's key to ours; what nothing is said about keeps its name, and is then refused.

    Args:
        parts: For each the beginning of the file's keys, what takes its place, and the rows for what follows. The first
            that fits counts.
        skipped: Beginnings of keys that are not needed, if no part fits.
    """
    compiled = [(before, after, [_rule(*row) for row in rows]) for before, after, rows in parts]

    def translate(key: str) -> str | None:
        for before, after, rules in compiled:
            if key.startswith(before):
                rest = key.removeprefix(before)
                found = (pattern.subn(target, rest) for pattern, target in rules)
                return after + next((changed for changed, count in found if count), rest)
        return None if key.startswith(skipped) else key

    return translate


def rename(state: Mapping[str, torch.Tensor], translate: Translate) -> dict[str, torch.Tensor]:
    """The tensors that are needed by our names, as float32 where they are floating."""
    named = ((translate(key), value) for key, value in state.items())
    return {key: value.float() if value.is_floating_point() else value for key, value in named if key is not None}


def split_points(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Splits transformers' one table of the four kinds of points into ours."""
    table = state.pop("prompt_encoder.point_embed.weight", None)
    if table is None:
        return state
    return {**state, **{f"prompt_encoder.point_embed.{i}.weight": row[None].clone() for i, row in enumerate(table)}}


def join_projections(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Puts query, key and value of an attention, ``attn.q``, ``attn.k`` and ``attn.v``, into one ``attn.qkv``."""
    joined = dict(state)
    for key in [key for key in joined if ".attn.q." in key]:
        names = [key.replace(".attn.q.", f".attn.{part}.") for part in "qkv"]
        if all(name in joined for name in names):
            joined[key.replace(".attn.q.", ".attn.qkv.")] = torch.cat([joined.pop(name) for name in names])
    return joined


def build(
    config: Callable[[], SamConfig], state: Mapping[str, torch.Tensor], origin: str | Path
) -> tuple[SamModel, KeyReport]:
    """A SAM of a configuration, made here so that its faults are the file's, with tensors by our names.

    Raises:
        CheckpointError: A number is none that a model can have; tensors are missing, left over or of another shape.
    """
    try:
        made = config()
    except (UsageError, TypeError, ValueError) as error:
        reason = error.message if isinstance(error, UsageError) else " ".join(str(error).split())
        raise CheckpointError(f"{origin}: {reason}", hint="it is damaged, or a model of another build") from None
    with torch.device("meta"):
        model = SamModel(made)
    counters = {key: torch.tensor(0) for key in model.state_dict() if key.endswith("num_batches_tracked")}
    report = load_weights(model, {**counters, **state}, f"{origin} ({made.name})")
    return model.eval(), report


def _rule(source: str, target: str) -> tuple[re.Pattern[str], str]:
    pattern = re.escape(source).replace(r"\*", r"(\d+)")
    first, *rest = target.split("*")
    replacement = first + "".join(rf"\g<{i}>{part}" for i, part in enumerate(rest, 1))
    return re.compile(rf"(?<![^.]){pattern}(?=(?:\.weight|\.bias)?$)"), replacement
