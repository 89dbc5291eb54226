"""Renaming the tensors of a published file."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import torch

Rows = Sequence[tuple[str, str]]
"""Pairs of the end of a key in the file and its end in our model; ``*`` is a number. The first that fits counts."""


def translator(parts: Sequence[tuple[str, str, Rows]]) -> Callable[[str], str | None]:
    """A function from a file's key to ours, None for what no part takes.

    Args:
        parts: For each the beginning of the file's keys, what takes its place, and the rows for what follows. The first
            that fits counts.
    """
    compiled = [(before, after, [_rule(*row) for row in rows]) for before, after, rows in parts]

    def translate(key: str) -> str | None:
        for before, after, rules in compiled:
            if key.startswith(before):
                rest = key.removeprefix(before)
                found = (pattern.subn(target, rest) for pattern, target in rules)
                return after + next((changed for changed, count in found if count), rest)
        return None

    return translate


def rename(state: Mapping[str, torch.Tensor], translate: Callable[[str], str | None]) -> dict[str, torch.Tensor]:
    """The tensors that ``translate`` knows by our names, as float32 where they are floating."""
    named = ((translate(key), value) for key, value in state.items())
    return {key: value.float() if value.is_floating_point() else value for key, value in named if key is not None}


def _rule(source: str, target: str) -> tuple[re.Pattern[str], str]:
    pattern = re.escape(source).replace(r"\*", r"(\d+)")
    first, *rest = target.split("*")
    replacement = first + "".join(rf"\g<{i}>{part}" for i, part in enumerate(rest, 1))
    return re.compile(rf"(?<![^.]){pattern}(?=(?:\.weight|\.bias)?$)"), replacement
