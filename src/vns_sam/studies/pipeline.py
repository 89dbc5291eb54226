"""A pipeline: all that makes a model, from sets as they are to the measured weights, in one file.

Each step is one or a few command lines of ``vns-sam``; what this module adds is their order, where each puts its
result, and what it stands on. ``studies.making`` tells which of them are done.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, field
from dataclasses import dataclass as plain_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass

from vns_sam.errors import UsageError
from vns_sam.evaluation.measure import Look
from vns_sam.training.fields import check_fields, find_recipe, read_values, set_field
from vns_sam.training.recipe import parse_recipe
from vns_sam.types import SECOND_LOOK

_STRICT = ConfigDict(extra="forbid")
_REFERENCE = re.compile(r"\{([^{}]*)\}")
Names = Annotated[tuple[str, ...], Field(min_length=1)]
Seed = Annotated[int, Field(ge=0)]

SETS = "data"
"""Folder inside a pipeline's own in which its sets lie: those of ``root`` as links, and those that steps make."""
SET = "set"
"""``{set}`` stands for each set's name in what a recipe says of all of them; other names in braces are steps."""


@dataclass(frozen=True, config=_STRICT)
class Darken:
    """The same sets at night, see ``vns-sam data darken``; each becomes a set of its own."""

    name: str
    do: Literal["darken"]
    sets: Names
    suffix: str = "_dark"
    """Behind the name of the set."""
    strength: Annotated[float, Field(ge=0, le=2)] = 1.0
    seed: Seed = 0


@dataclass(frozen=True, config=_STRICT)
class Scribble:
    """Strokes, points or boxes drawn from masks, see ``vns-sam data scribble``."""

    name: str
    do: Literal["scribble"]
    sets: Names
    kind: Literal["scribble", "point", "box"] = "scribble"
    split: str | None = "train"
    seed: Seed = 0


@dataclass(frozen=True, config=_STRICT)
class PseudoLabel:
    """Masks to learn from, see ``vns-sam pseudo-label``."""

    name: str
    do: Literal["pseudo-label"]
    sets: Names
    labels: str
    """Sparse labels of each set, such as ``{strokes}/{set}`` of a step "strokes"."""
    model: str = "vns-sam-tiny"
    """Who is asked."""
    student: str | None = None
    split: str | None = "train"
    views: Literal["none", "flip", "d4", "ws12", "full24"] = "ws12"
    fuse: Literal["vote", "prob"] = "vote"
    points: Annotated[int, Field(gt=0)] = 10
    gates: bool = True
    second_look: Look = SECOND_LOOK
    seed: Seed = 0


@dataclass(frozen=True, config=_STRICT)
class Train:
    """A training run, see ``vns-sam train``."""

    name: str
    do: Literal["train"]
    recipe: Path | dict[str, Any]
    """Its fields, or the file that has them, by its path from the pipeline; ``out`` and ``data.root`` are set here."""
    change: dict[str, Any] = field(default_factory=dict)
    """Fields of the recipe that are changed, by dotted name."""


@dataclass(frozen=True, config=_STRICT)
class Average:
    """The mean of several models' weights, see ``vns-sam models average``."""

    name: str
    do: Literal["average"]
    models: Annotated[tuple[str, ...], Field(min_length=2)]
    shares: tuple[Annotated[float, Field(gt=0)], ...] = ()
    """How much each counts; alike without it."""


@dataclass(frozen=True, config=_STRICT)
class Evaluate:
    """Scores, see ``vns-sam evaluate``."""

    name: str
    do: Literal["evaluate"]
    models: Names
    data: Names
    prompts: tuple[str, ...] = ()
    """The command's own without it: the box, or none for models that take none."""
    metrics: tuple[str, ...] = ()
    second_look: Look = SECOND_LOOK
    seed: Seed = 0
    limit: Annotated[int, Field(gt=0)] | None = None
    save: str | None = None
    """File of the means with their intervals, as ``vns-sam evaluate --save`` writes it."""


AnyStep = Annotated[Darken | Scribble | PseudoLabel | Train | Average | Evaluate, Field(discriminator="do")]
KINDS = (Darken, Scribble, PseudoLabel, Train, Average, Evaluate)


@dataclass(frozen=True, config=_STRICT)
class Pipeline:
    """All steps.

    Attributes:
        out: Folder of everything that is made; each step has one of its name in it.
        steps: In the order in which they are made; a step may name those before it, ``{strokes}``.
        root: Folder of the sets, which stay as they are.
    """

    out: Path
    steps: Annotated[tuple[AnyStep, ...], Field(min_length=1)]
    root: Path = Path("data")


_ADAPTER = TypeAdapter(Pipeline)


@plain_dataclass(frozen=True)
class Work:
    """One step, ready to be done.

    Attributes:
        step: The step.
        fields: What it says, a recipe's fields where it trains, before references are followed.
        needs: Names of the steps whose results it takes.
        sets: Sets of ``root`` that it reads.
        all_sets: These and those that steps before it make.
        masks: Whether it reads the masks of sets.
        product: Its result: what ``{name}`` stands for in later steps.
        commands: What does it, arguments behind ``vns-sam``.
        recipe: File and text of the recipe that its command reads, where it trains.
    """

    step: AnyStep
    fields: Mapping[str, Any]
    needs: tuple[str, ...]
    sets: tuple[str, ...]
    all_sets: tuple[str, ...]
    masks: bool
    product: Path
    commands: tuple[tuple[str, ...], ...]
    recipe: tuple[Path, str] | None = None


def load_pipeline(path: str | Path) -> Pipeline:
    """Reads a pipeline; see :func:`parse_pipeline`."""
    return parse_pipeline(read_values(path, "pipeline"), str(path))


def parse_pipeline(values: Mapping[str, Any], source: str) -> Pipeline:
    """Checks a pipeline's fields; the recipes that its steps name as files are read.

    Args:
        values: The fields.
        source: The file that they come from.

    Raises:
        UsageError: A field is unknown, missing or of another type, two steps have one name, a step names one that
            does not come before it, or a recipe is wrong.
    """
    pipeline = check_fields(_ADAPTER, dict(values), source, (Pipeline, *KINDS), "see docs/pipelines.md")
    names = [step.name for step in pipeline.steps]
    for name in names:
        if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name) or name in (SETS, SET):
            raise UsageError(f"{source}: '{name}' cannot be a step's name", hint="letters, digits, '-', '_' and '.'")
        if names.count(name) > 1:
            raise UsageError(f"{source} has two steps '{name}'", hint="give each step a name of its own")
    return pipeline


def plan(pipeline: Pipeline, source: str | Path) -> list[Work]:
    """All steps with their command lines, every reference followed and every recipe checked.

    Args:
        pipeline: The pipeline.
        source: Its file; recipes are found from its folder.

    Raises:
        UsageError: See :func:`parse_pipeline`.
    """
    made: dict[str, Path] = {}
    dark: dict[str, str] = {}
    works = []
    for step in pipeline.steps:
        where = f"{source}, step '{step.name}'"
        fields = _recipe_values(step, Path(source).parent, where) if isinstance(step, Train) else asdict(step)
        needed: set[str] = set()
        masks = isinstance(step, Scribble | Evaluate)
        values = _follow(fields, made, needed, where)
        if isinstance(step, Train):
            values["out"] = str(pipeline.out / step.name)
            values["data"]["root"] = str(pipeline.out / SETS)
            parsed = parse_recipe(values, where, file=step.recipe if isinstance(step.recipe, Path) else "")
            masks = parsed.reads_masks
        named = _sets(step, values)
        needed |= {dark[name] for name in named if name in dark}
        own = tuple(name for name in named if name not in dark)
        file = pipeline.out / f"{step.name}.yaml"
        recipe = (file, yaml.safe_dump(values, sort_keys=False)) if isinstance(step, Train) else None
        product = _product(step, pipeline.out)
        commands = _commands(step, values, pipeline.out, file)
        needs = tuple(name for name in made if name in needed)
        works.append(Work(step, fields, needs, own, named, masks, product, commands, recipe))
        made[step.name] = product
        if isinstance(step, Darken):
            dark.update({f"{name}{step.suffix}": step.name for name in step.sets})
    return works


def _recipe_values(step: Train, folder: Path, where: str) -> dict[str, Any]:
    """Fields of a step's recipe, less where it lies and where its sets do."""
    values = (
        read_values(_recipe_file(folder, step.recipe)) if isinstance(step.recipe, Path) else copy.deepcopy(step.recipe)
    )
    for name, value in step.change.items():
        set_field(values, name, copy.deepcopy(value))
    if not isinstance(values.get("data"), dict):
        raise UsageError(f"{where}: the recipe names no training set", hint="data: {sets: {camo: 1}}")
    values.pop("out", None)
    values["data"].pop("root", None)
    return values


def _recipe_file(folder: Path, named: Path) -> Path:
    """A recipe beside the pipeline, or one that comes with vns-sam by its name."""
    return folder / named if (folder / named).exists() else find_recipe(named)


def _follow(values: Any, made: Mapping[str, Path], needed: set[str], where: str) -> Any:
    """The values with the names of steps in braces replaced by their results."""

    def replaced(match: re.Match[str]) -> str:
        name = match[1]
        if name == SET:
            return match[0]
        if name not in made:
            near = get_close_matches(name, made, 1)
            hint = f"{{{near[0]}}}" if near else f"one of those before it: {', '.join(made) or 'none'}"
            raise UsageError(f"{where}: no step '{name}' before it", hint=hint)
        needed.add(name)
        return str(made[name])

    if isinstance(values, str):
        return _REFERENCE.sub(replaced, values)
    if isinstance(values, Mapping):
        return {key: _follow(value, made, needed, where) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [_follow(value, made, needed, where) for value in values]
    return values


def _sets(step: AnyStep, values: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the sets that a step reads."""
    if isinstance(step, Train):
        found: Sequence[str] = [*values["data"].get("sets", ())]
    elif isinstance(step, Evaluate):
        found = [name.partition("@")[0] for name in step.data]
    else:
        found = () if isinstance(step, Average) else step.sets
    return tuple(dict.fromkeys(found))


def _product(step: AnyStep, out: Path) -> Path:
    if isinstance(step, Darken):
        return out / SETS
    return out / step.name / "model" if isinstance(step, Train) else out / step.name


def _commands(step: AnyStep, values: Mapping[str, Any], out: Path, file: Path) -> tuple[tuple[str, ...], ...]:
    """The command lines of a step; ``values`` are its fields with every reference followed."""
    data, own = out / SETS, out / step.name
    if isinstance(step, Train):
        return (("train", str(file)),)
    if isinstance(step, Average):
        shares = ["--shares", *map(str, step.shares)] if step.shares else []
        return (("models", "average", *values["models"], *shares, "--out", str(own), "--force"),)
    if isinstance(step, Evaluate):
        return (tuple(_evaluate(step, values, data, own)),)
    return tuple(tuple(_for_set(step, values, data, own, name)) for name in step.sets)


def _evaluate(step: Evaluate, values: Mapping[str, Any], data: Path, own: Path) -> Iterator[str]:
    yield from ("evaluate", *values["models"], "--data", *(str(data / name) for name in step.data))
    yield from ("--prompt", *step.prompts) if step.prompts else ()
    yield from ("--metrics", *step.metrics) if step.metrics else ()
    yield from ("--second-look", step.second_look)
    yield from ("--limit", str(step.limit)) if step.limit is not None else ()
    yield from ("--save", values["save"]) if step.save is not None else ()
    yield from ("--seed", str(step.seed), "--out", str(own))


def _for_set(
    step: Darken | Scribble | PseudoLabel, values: Mapping[str, Any], data: Path, own: Path, name: str
) -> Iterator[str]:
    source, seed = str(data / name), ("--seed", str(step.seed))
    if isinstance(step, Darken):
        yield from ("data", "darken", source, "--strength", str(step.strength), *seed)
        yield from ("--out", f"{source}{step.suffix}")
        return
    split = () if step.split is None else ("--split", step.split)
    if isinstance(step, Scribble):
        yield from ("data", "scribble", source, "--kind", step.kind, *split, *seed, "--out", str(own / name))
        return
    labels = str(values["labels"]).replace(f"{{{SET}}}", name)
    yield from ("pseudo-label", source, "--labels", labels, *split, "--model", values["model"], *seed)
    yield from ("--views", step.views, "--fuse", step.fuse, "--points", str(step.points))
    yield from () if step.gates else ("--no-gates",)
    yield from ("--second-look", step.second_look)
    yield from () if step.student is None else ("--student", values["student"])
    yield from ("--out", str(own / name))
