"""YAML files that define a run: found, read within bounds, overridden, and checked so that each mistake is one line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from functools import reduce
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

import yaml
from pydantic import TypeAdapter, ValidationError

from vns_sam.errors import UsageError
from vns_sam.images.bounded import read_bounded

Checked = TypeVar("Checked")

MOST_BYTES = 2**20
"""Of a recipe; a thousand times what they have."""
MOST_BASES = 32
"""Recipes that stand on each other."""
_PACKAGED = Path(__file__).parents[1] / "recipes"
_CHECKOUT = Path(__file__).parents[3] / "recipes"
VERBS = {"recipe": "train", "study": "study", "pipeline": "make"}
"""Who takes each kind of file."""
HINT = "vns-sam train --list names those that come with vns-sam"


def recipe_folder() -> Path:
    """Where the recipes that come with vns-sam lie: in the package, or beside it in a checkout."""
    return _PACKAGED if _PACKAGED.is_dir() else _CHECKOUT


def shipped(folder: str = "") -> dict[str, Path]:
    """The recipes that come with vns-sam by name; those of a folder inside by ``studies/wavelets``."""
    place = recipe_folder() / folder
    prefix = f"{folder}/" if folder else ""
    return {prefix + path.stem: path for path in sorted(place.glob("*.yaml"))}


def find_recipe(name: str | Path) -> Path:
    """A recipe by its path, or one that comes with vns-sam by its name, from any folder.

    Args:
        name: A path; or ``vns_sam_tiny``, ``vns_sam_tiny.yaml``, ``recipes/vns_sam_tiny.yaml``, ``studies/wavelets``,
            ``wavelets``.
    """
    path = Path(name)
    if path.exists() or path.is_absolute():
        return path
    parts = path.parts[1:] if path.parts[:1] == ("recipes",) else path.parts
    name_of = "/".join(parts) if path.suffix in (".yaml", ".yml") else "/".join(parts) + ".yaml"
    places = [recipe_folder() / folder / name_of for folder in ("", "bundled", "studies")]
    return next((found for found in places if ".." not in parts and found.is_file()), path)


def read_values(path: str | Path, what: str = "recipe") -> dict[str, Any]:
    """Reads a file's fields without judging them.

    A file may name another one as ``base``, by its path from there or by the name of one that comes with vns-sam: it
    then has that one's fields, less those that it gives itself. Mappings are merged field by field; null takes a field
    of the base away, and a list replaces the base's.

    Args:
        path: As :func:`find_recipe` takes it.
        what: "recipe", "study" or "pipeline".

    Raises:
        UsageError: A file is missing, no YAML mapping of ordinary size, or its own base; or it is of another kind.
    """
    chain: list[dict[str, Any]] = []
    seen: list[Path] = []
    at: Path | None = find_recipe(path)
    while at is not None:
        if at.resolve() in seen:
            raise UsageError(f"{at} is its own base", hint="remove one 'base'")
        if len(seen) == MOST_BASES:
            raise UsageError(f"{path} stands on more than {MOST_BASES} bases", hint="merge some of them")
        seen.append(at.resolve())
        found = _read_mapping(at, what)
        base = found.pop("base", None)
        chain.insert(0, found)
        at = None if base is None else _base(at, base)
    values = reduce(merge, chain)
    kind = _kind_of(values)
    if kind not in (what, ""):
        raise UsageError(f"expected a {what} at {path}, found a {kind}", hint=f"vns-sam {VERBS[kind]} {path}")
    return values


def _kind_of(values: Mapping[str, Any]) -> str:
    """What a file is by its fields, "" where they do not say."""
    if isinstance(values.get("rows"), list):
        return "study"
    if isinstance(values.get("steps"), list):
        return "pipeline"
    return "recipe" if "task" in values else ""


def merge(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of ``base`` under those of ``own``: mappings field by field, all else as a whole.

    A null of ``own`` takes the base's value away; where there is none it stays, and is for the checks to judge.
    """
    merged = dict(base)
    for name, value in own.items():
        below = merged.get(name)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            merged[name] = merge(below, value)
        else:
            _put(merged, name, value)
    return merged


def _put(values: dict[str, Any], name: str, value: Any) -> None:
    """Sets a field; null takes away what is there."""
    if value is None and values.get(name) is not None:
        del values[name]
    else:
        values[name] = value


def _base(path: Path, base: Any) -> Path:
    if not isinstance(base, str):
        raise UsageError(f"{path}: 'base' must be a path, found a {type(base).__name__}")
    beside = path.parent / base
    return beside if beside.exists() else find_recipe(base)


def _read_mapping(path: Path, what: str) -> dict[str, Any]:
    try:
        values = yaml.safe_load(read_bounded(path, MOST_BYTES))
    except FileNotFoundError:
        raise UsageError(f"no {what} at {path}", hint=HINT) from None
    except RecursionError:
        raise UsageError(f"{path} is not readable YAML: it is nested too deeply") from None
    except (OSError, ValueError, yaml.YAMLError) as error:  # ValueError: no UTF-8, too large, too many digits
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UsageError(f"{path} is not readable YAML: {' '.join(reason.split())}") from None
    if not isinstance(values, dict):
        raise UsageError(f"{path} must hold a mapping of fields, found {type(values).__name__}")
    odd = next((key for key in values if not isinstance(key, str)), None)
    if odd is not None:
        raise UsageError(f"{path}: names of fields must be text, found {odd!r:.60}")
    return values


def set_field(values: dict[str, Any], name: str, value: Any) -> None:
    """Sets a field by its dotted name, ``optim.lr``; what lies above it is made where it is missing. Null takes away
    what is there.

    Raises:
        UsageError: It lies inside something that has no fields.
    """
    *path, last = name.split(".")
    at = values
    for part in path:
        if at.get(part) is None:
            at[part] = {}
        at = at[part]
        if not isinstance(at, dict):
            raise UsageError(f"{name}: '{part}' has no fields of its own")
    _put(at, last, value)


def check_fields(
    adapter: TypeAdapter[Checked],
    values: dict[str, Any],
    source: str,
    parts: Sequence[type],
    hint: str,
    of: str = "",
) -> Checked:
    """Makes the dataclass of ``adapter`` from its fields.

    Args:
        adapter: Of a frozen pydantic dataclass that refuses unknown fields, or of a union of them.
        values: Its fields.
        source: Where they come from.
        parts: The dataclass and those inside it: the names that an unknown one is compared with.
        hint: Where to read about the fields.
        of: What a message says about a field that does not exist, " of the task 'sam'".

    Raises:
        UsageError: A field is unknown, missing, of another type or out of bounds; each wrong one is named by its path.
    """
    try:
        return adapter.validate_python(values)
    except ValidationError as error:
        tag = values.get("task")
        problems = []
        for e in error.errors(include_url=False):
            place = e["loc"][1:] if e["loc"][:1] == (tag,) else e["loc"]
            text = _explain(e["type"], place, e["msg"], parts, of) + _found(e["type"], e.get("input"))
            problems.append(f"{'.'.join(map(str, place))}: {text}")
        count = f"{len(problems)} wrong field{'s' if len(problems) > 1 else ''}"
        raise UsageError(f"{source} has {count}: {'; '.join(problems[:8])}", hint=hint) from None
    except UsageError as error:  # of a part that checks itself
        raise UsageError(f"{source}: {error.message}", hint=error.hint or hint) from None
    except RecursionError:
        raise UsageError(f"{source} is nested too deeply", hint=hint) from None


def parts_of(kind: type) -> Iterator[type]:
    """A dataclass and all that lie inside it."""
    yield kind
    for hint in get_type_hints(kind).values():
        for inside in (hint, *get_args(hint)):
            if isinstance(inside, type) and is_dataclass(inside):
                yield from parts_of(inside)


def _explain(kind: str, place: tuple[str | int, ...], message: str, parts: Sequence[Any], of: str) -> str:
    """The problem of one field; an unknown one gets the nearest name there is."""
    if kind != "unexpected_keyword_argument":
        return message.removeprefix("Value error, ").replace("Input should", "should")
    known = [entry.name for part in parts for entry in fields(part) if entry.name != place[-1]]
    near = get_close_matches(str(place[-1]), known, 1)
    return f"no such field{of}, did you mean '{near[0]}'?" if near else f"no such field{of}"


def _found(kind: str, value: Any) -> str:
    """What was found, where it is short enough to help."""
    if kind in ("missing", "unexpected_keyword_argument", "value_error", "dataclass_type"):
        return ""
    if not isinstance(value, str | int | float | bool | None):
        return f", found a {type(value).__name__}"
    try:
        text = repr(value)
    except ValueError:  # a whole number of very many digits
        text = "a very long number"
    return f", found {text}" if len(text) <= 40 else ""
