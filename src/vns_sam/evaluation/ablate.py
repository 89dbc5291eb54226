"""What is a part of a trained model worth? Its output is replaced, and the same objects are scored again.

Nothing is trained again: a part may be worth nothing to a model that learnt with it and much to one that learns
without it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from typing import Any, Literal, get_args

import torch
from torch import nn

from vns_sam.errors import UsageError
from vns_sam.evaluation.compare import Difference, Rows, compare
from vns_sam.evaluation.report import ModelResult

How = Literal["mean", "zero", "shuffle"]
WAYS: tuple[How, ...] = get_args(How)


@dataclass(frozen=True)
class Ablation:
    """One part that is switched off.

    Attributes:
        module: Its name in the model, or the end of it: ``nsfm.low`` for ``decoder.nsfm.low``.
        how: "mean" gives every place the mean of its channel, "zero" nothing at all, "shuffle" the output of another
            place.
    """

    module: str
    how: How = "mean"

    def __str__(self) -> str:
        return f"{self.module} ({self.how})"


def parse_ablations(modules: Sequence[str], ways: Sequence[str]) -> list[Ablation]:
    """Each module in each way.

    Raises:
        UsageError: A way is unknown.
    """
    unknown = next((way for way in ways if way not in WAYS), None)
    if unknown is not None:
        raise UsageError(f"unknown way to ablate '{unknown}'", hint=f"one of {', '.join(WAYS)}")
    return [Ablation(module, how) for module in modules for how in WAYS if how in ways]


def find_module(model: object, name: str) -> nn.Module:
    """The part of a model that a name means.

    Raises:
        UsageError: The model is no network, or the name means no part or several.
    """
    if not isinstance(model, nn.Module):
        raise UsageError(f"only parts of a network can be ablated, found a {type(model).__name__}")
    parts = {full: part for full, part in model.named_modules() if full}
    if name in parts:
        return parts[name]
    found = [full for full in parts if full.endswith(f".{name}")]
    if len(found) == 1:
        return parts[found[0]]
    if found:
        raise UsageError(f"'{name}' means {len(found)} parts of the model", hint=f"{found[0]} or {found[1]}")
    known = {full: full for full in parts} | {full.partition(".")[2]: full for full in parts if "." in full}
    near = get_close_matches(name, known, 1)
    hint = known[near[0]] if near else f"such as {', '.join([*parts][:3])}"
    raise UsageError(f"the model has no part '{name}'", hint=hint)


@contextmanager
def ablated(model: object, ablation: Ablation | None) -> Iterator[None]:
    """Replaces the output of a part as long as the context lasts; None leaves the model as it is.

    Raises:
        UsageError: See :func:`find_module`.
    """
    if ablation is None:
        yield
        return
    part = find_module(model, ablation.module)
    handle = part.register_forward_hook(partial(_instead, ablation.how))  # picklable: the model may travel
    try:
        yield
    finally:
        handle.remove()


def worth(whole: ModelResult, without: ModelResult, metrics: Sequence[str] | None = None) -> list[Difference]:
    """What a part adds: the scores with it less those without it, with 95 % intervals."""
    return compare(_by_place(without), _by_place(whole), metrics)


def _by_place(result: ModelResult) -> Rows:
    found: Rows = {}
    for row in result.rows:
        at = found.setdefault((row.key.prompt, row.key.dataset), {})
        at[row.key.stem, row.key.target] = dict(row.scores.values)
    return found


def _instead(how: How, module: nn.Module, given: Any, output: Any) -> Any:
    return _replace(output, how)


def _replace(output: Any, how: How) -> Any:
    """The output with every map in it replaced; what is no map of numbers stays."""
    if isinstance(output, tuple | list):
        return type(output)(_replace(part, how) for part in output)
    if not isinstance(output, torch.Tensor) or not output.is_floating_point():
        return output
    if how == "zero":
        return torch.zeros_like(output)
    places = tuple(range(2, output.ndim)) if output.ndim > 2 else (0,)
    if how == "mean":
        return output.mean(dim=places, keepdim=True).expand_as(output).contiguous()
    flat = output.flatten(2) if output.ndim > 2 else output.T
    order = torch.randperm(flat.shape[-1], generator=torch.Generator().manual_seed(0)).to(output.device)
    shuffled = flat[..., order]
    return shuffled.reshape(output.shape) if output.ndim > 2 else shuffled.T.contiguous()
