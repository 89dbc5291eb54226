"""What a recipe may say, out of the types and docstrings of its fields: for ``--help`` and for docs/training.md."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt

from vns_sam.training.samples.settings import TrainingData
from vns_sam.training.settings import ModelFields, Recipe
from vns_sam.training.tasks import RECIPES

BEGIN, END = "<!-- fields: made from the docstrings, see vns_sam.training.describe -->", "<!-- end of fields -->"


@dataclass(frozen=True)
class FieldHelp:
    """One field of a recipe.

    Attributes:
        name: Dotted, as on the command line.
        kind: What it may be: a type with its bounds, or the words to choose from.
        default: As YAML; empty for a field that must be given.
        meaning: What it means, from its docstring.
    """

    name: str
    kind: str
    default: str
    meaning: str


def describe(kind: type[Any], prefix: str = "") -> Iterator[FieldHelp]:
    """The fields of a recipe's class, those of its parts by dotted names."""
    hints = get_type_hints(kind, include_extras=True)
    words = meanings(kind)  # type: ignore[arg-type]
    for entry in fields(kind):
        hint, name = hints[entry.name], prefix + entry.name
        if isinstance(hint, type) and is_dataclass(hint):
            yield from describe(hint, f"{name}.")
            continue
        default = entry.default if entry.default_factory is MISSING else entry.default_factory()
        given = "" if default is MISSING else _shown(default)
        yield FieldHelp(name, _kind(hint), given, words.get(entry.name, ""))


def help_text(task: str) -> str:
    """The fields of one task for a terminal."""
    kind = RECIPES[task]
    lines = [f"fields of the task '{task}': {kind.__doc__}", ""]
    for field in describe(kind):
        default = f", default {field.default}" if field.default else ", required"
        lines += [f"  --{field.name}  {field.kind}{default}", *_wrap(field.meaning.replace("`", "'"))]
    return "\n".join(lines)


def table() -> str:
    """The fields of all tasks as Markdown: those of all first, then those of each, with those that it has otherwise."""
    shared = [*describe(Recipe)]
    common = {field.name: field for field in shared}
    prompted = [field for field in describe(TrainingData, "data.") if field.name not in common]
    told = common | {field.name: field for field in prompted}
    parts = ["### Of every task but `cyclegan`", _markdown([f for f in shared if f.name != "task"])]
    parts += ["### Of the tasks with prompts: `sam`, `vns-sam`, `hq-sam` and `sam-tune`", _markdown(prompted)]
    for task, kind in RECIPES.items():
        doc = " ".join((kind.__doc__ or "").split())
        own = [field for field in describe(kind) if field != told.get(field.name) or task == "cyclegan"]
        starts = meanings(kind).get("task", "")  # type: ignore[arg-type]
        parts += [f"### `{task}`", f"{doc} {starts}", _markdown([f for f in own if f.name != "task"]) if own else ""]
    return "\n\n".join(part for part in parts if part)


def update(page: str | Path) -> None:
    """Writes :func:`table` between the two marks of a page."""
    text = Path(page).read_text(encoding="utf-8")
    head, rest = text.split(BEGIN)
    Path(page).write_text(f"{head}{BEGIN}\n\n{table()}\n\n{END}{rest.split(END)[1]}", encoding="utf-8")


@cache
def meanings(kind: type[Any]) -> dict[str, str]:
    """The docstrings below the fields of a class and of those that it is made from; else its ``Attributes:``."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if not is_dataclass(base) or base.__module__ == "builtins":
            continue
        found |= _attributes(base.__doc__ or "")
        (body,) = ast.parse(inspect.cleandoc(inspect.getsource(base))).body
        assert isinstance(body, ast.ClassDef)
        for entry, after in zip(body.body, body.body[1:], strict=False):
            named = isinstance(entry, ast.AnnAssign) and isinstance(entry.target, ast.Name)
            if named and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                found[entry.target.id] = " ".join(str(after.value.value).replace("``", "`").split())  # type: ignore[attr-defined]
    return found


def _attributes(doc: str) -> dict[str, str]:
    """The entries of a docstring's ``Attributes:``."""
    _, _, text = inspect.cleandoc(doc).partition("Attributes:\n")
    section = re.split(r"\n\S", text, maxsplit=1)[0]
    entries = re.findall(r"^    ([\w, ]+): (.*(?:\n {8}.*)*)", section, re.MULTILINE)
    return {n.strip(): " ".join(t.replace("``", "`").split()) for names, t in entries for n in names.split(",")}


def _kind(hint: Any) -> str:
    """A type in words."""
    origin, options = get_origin(hint), get_args(hint)
    if origin is Annotated:
        marks = [mark for part in options[1:] for mark in (part, *getattr(part, "metadata", ()))]
        model = next((mark for mark in marks if isinstance(mark, ModelFields)), None)
        return f"fields of {model.config.__name__}" if model else _kind(options[0]) + _bounds(marks)
    if origin is Literal:
        return " | ".join(str(option) for option in options)
    if origin in (tuple, list):
        return f"list of {_kind(options[0])}" if Ellipsis in options else f"{len(options)} of {_kind(options[0])}"
    if origin is dict:
        return f"mapping to {_kind(options[1])}"
    if options:
        return " | ".join("null" if option is type(None) else _kind(option) for option in options)
    names = {int: "whole number", float: "number", str: "text", bool: "true | false", Path: "path"}
    return names.get(hint, getattr(hint, "__name__", str(hint)))


def _bounds(marks: list[Any]) -> str:
    signs = {Gt: (">", "gt"), Ge: (">=", "ge"), Lt: ("<", "lt"), Le: ("<=", "le")}
    found = [(signs[type(m)][0], getattr(m, signs[type(m)][1])) for m in marks if type(m) in signs]
    words = [f"{sign} {value:g}" for sign, value in found if value < 10**5]  # larger ones are there for safety
    return f" {', '.join(words)}" if words else ""


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_shown, value))}]"
    return "{}" if value == {} else f"{value:g}" if isinstance(value, float) else str(value)


def _wrap(text: str, width: int = 100) -> list[str]:
    return textwrap.wrap(text, width, initial_indent=" " * 6, subsequent_indent=" " * 6)


def _markdown(entries: list[FieldHelp]) -> str:
    rows = ["| field | is | default | meaning |", "|---|---|---|---|"]
    for entry in entries:
        kind = entry.kind.replace("|", "\\|").replace(">= ", "≥ ").replace("<= ", "≤ ")
        rows.append(f"| `{entry.name}` | {kind} | {entry.default} | {entry.meaning} |")
    return "\n".join(rows)
