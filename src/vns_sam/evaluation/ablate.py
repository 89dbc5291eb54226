"""What is a part of a trained model worth? Its output is replaced, and the same objects are scored again.

Nothing is trained again: a part may be worth nothing to a model that learnt with it and much to one that learns
without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import nn

from vns_sam.errors import UsageError
from vns_sam.evaluation.compare import Difference, Rows, compare
from vns_sam.evaluation.report import ModelResult
from vns_sam.evaluation.results import ResultRow, Score
from vns_sam.types import PromptableModel, Prompts

How = Literal["mean", "zero", "shuffle"]
WAYS: tuple[How, ...] = get_args(How)
TOGETHER = "+"
"""Joins the names of parts that are switched off at once."""
ALL_SETS = "all sets"
"""What the objects of several sets together are called."""
_WITH_PLACES = 3
"""Dimensions from which on an output has places: (B, T, C) or (B, C, h, w)."""
WORTH = "worth_"
"""Before a metric's name: what a part adds to it."""


@dataclass(frozen=True)
class Ablation:
    """One part that is switched off, or several at once.

    Attributes:
        module: Its name in the model, or the end of it: ``nsfm.low`` for ``decoder.nsfm.low``;
            ``nsfm.low+nsfm.high`` for both.
        how: "mean" gives every place the mean of its channel, "zero" nothing at all, "shuffle" the output of another
            place. Places are the cells of a map (B, C, h, w), and the tokens of (B, T, C).
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
    with _hooked(_parts(model, ablation), partial(_instead, ablation.how)):  # picklable: the model may travel
        yield


def check_runs(model: PromptableModel, ablations: Sequence[Ablation]) -> None:
    """Asks the model about a gray picture once and looks whether each part is run and gives something to replace. What
    is never run, such as tokens, which hold numbers only, would be worth nothing whatever it is worth.

    Raises:
        UsageError: A part is not run, gives one vector where places are to be changed, or see :func:`find_module`.
    """
    for ablation in ablations:
        found: list[int] = []
        with _hooked(_parts(model, ablation), partial(_note_dimensions, found)):
            features = model.encode([np.full((64, 64, 3), 128, np.uint8)])
            asked = (Prompts(boxes=np.array([[8, 8, 56, 56]], np.float32)),) if model.info.prompts else ()
            model.decode(features, asked, [0]).logits(0)
        if not found:
            raise UsageError(
                f"the model does not run '{ablation.module}' when it answers",
                hint="name the part that takes its numbers",
            )
        if ablation.how != "zero" and min(found) < _WITH_PLACES:
            raise UsageError(
                f"'{ablation.module}' gives one vector, which has no places to take the {ablation.how} of",
                hint="--ablate-by zero",
            )


@contextmanager
def _hooked(parts: Sequence[nn.Module], hook: Callable[..., Any]) -> Iterator[None]:
    """Calls a hook after each of some parts as long as the context lasts."""
    with ExitStack() as hooks:
        for part in parts:
            hooks.callback(part.register_forward_hook(hook).remove)
        yield


def _parts(model: object, ablation: Ablation) -> list[nn.Module]:
    """The parts that an ablation names; of a list its members, since a list itself is never run."""
    named = [find_module(model, name) for name in ablation.module.split(TOGETHER)]
    return [each for part in named for each in (part if isinstance(part, nn.ModuleList) else [part])]


def _note_dimensions(found: list[int], module: nn.Module, given: Any, output: Any) -> None:
    maps = output if isinstance(output, tuple | list) else [output]
    found += [part.ndim for part in maps if isinstance(part, torch.Tensor) and part.is_floating_point()]


def worth(whole: ModelResult, without: ModelResult, metrics: Sequence[str] | None = None) -> list[Difference]:
    """What a part adds: the scores with it less those without it, with 95 % intervals; of several sets, also that of
    all their objects together.
    """
    first, second = _by_place(without), _by_place(whole)
    return compare({**first, **_together(first)}, {**second, **_together(second)}, metrics)


def worth_rows(whole: ModelResult, without: ModelResult, part: Ablation) -> Iterator[ResultRow]:
    """What :func:`worth` finds as rows of a file of results: the model is the model's part, the prompt says what stood
    in its place, and each metric is called ``worth_`` and its name.

    Args:
        whole: The model as it is.
        without: The model less the part.
        part: The part.
    """
    found: dict[tuple[str, str], list[Difference]] = {}
    for each in worth(whole, without):
        found.setdefault((each.prompt, each.dataset), []).append(each)
    for (prompt, name), differences in found.items():
        scores = {
            f"{WORTH}{d.metric}": Score(
                round(d.change, 4), *(None if x is None else round(x, 4) for x in (d.low, d.high))
            )
            for d in differences
        }
        yield ResultRow(f"{whole.label}: {part.module}", name, f"{prompt}: {part.how}", scores, differences[0].count)


def _by_place(result: ModelResult) -> Rows:
    found: Rows = {}
    for row in result.rows:
        at = found.setdefault((row.key.prompt, row.key.dataset), {})
        at[row.key.stem, row.key.target] = dict(row.scores.values)
    return found


def _together(rows: Rows) -> Rows:
    """The objects of all sets of a prompt as if they were one set; nothing where there is one set."""
    found: Rows = {}
    for (prompt, name), scores in rows.items():
        at = found.setdefault((prompt, ALL_SETS), {})
        at.update({(f"{name}/{stem}", target): values for (stem, target), values in scores.items()})
    several = len({name for _, name in rows}) > 1
    return found if several else {}


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
    places = 1 if output.ndim == _WITH_PLACES else 2
    flat = output.flatten(places) if places > 1 else output.mT  # (B, C, places)
    if how == "mean":
        flat = flat.mean(dim=-1, keepdim=True).expand_as(flat)
    else:
        flat = flat[..., torch.randperm(flat.shape[-1], generator=torch.Generator().manual_seed(0)).to(output.device)]
    return (flat if places > 1 else flat.mT).reshape(output.shape).contiguous()
