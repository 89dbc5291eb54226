"""YAML files that define a run: read, overridden, and checked so that each mistake is one line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError

from vns_sam.errors import UsageError

Checked = TypeVar("Checked")


def read_values(path: str | Path, what: str = "recipe") -> dict[str, Any]:
    """Reads a file's fields without judging them.

    A file may name another one as ``base``, by its path from there: it then has that one's fields, less those that it
    gives itself.

    Raises:
        UsageError: A file is missing, no YAML mapping, or its own base.
    """
    values: dict[str, Any] = {}
    seen: list[Path] = []
    at: Path | None = Path(path)
    while at is not None:
        if at.resolve() in seen:
            raise UsageError(f"{at} is its own base", hint="remove one 'base'")
        seen.append(at.resolve())
        found = _read_mapping(at, what)
        base = found.pop("base", None)
        values = {**found, **values}
        at = None if base is None else at.parent / str(base)
    return values


def _read_mapping(path: Path, what: str) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"no {what} at {path}", hint="see recipes/ for the ones that come with vns-sam") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"{path} is not readable YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise UsageError(f"{path} must hold a mapping of fields, found {type(values).__name__}")
    return values


def set_field(values: dict[str, Any], name: str, value: Any) -> None:
    """Sets a field by its dotted name, ``optim.lr``; what lies above it is made where it is missing.

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
    at[last] = value


def check_fields(
    adapter: TypeAdapter[Checked], values: dict[str, Any], source: str, parts: Sequence[type], hint: str
) -> Checked:
    """Makes the dataclass of ``adapter`` from its fields.

    Args:
        adapter: Of a frozen pydantic dataclass that refuses unknown fields.
        values: Its fields.
        source: Where they come from.
        parts: The dataclass and those inside it: the names that an unknown one is compared with.
        hint: Where to read about the fields.

    Raises:
        UsageError: A field is unknown, missing or of another type; each wrong one is named by its path.
    """
    try:
        return adapter.validate_python(values)
    except ValidationError as error:
        problems = [
            f"{'.'.join(map(str, e['loc']))}: {_explain(e['type'], e['loc'], e['msg'], parts)}" for e in error.errors()
        ]
        count = f"{len(problems)} wrong field{'s' if len(problems) > 1 else ''}"
        raise UsageError(f"{source} has {count}: {'; '.join(problems)}", hint=hint) from None


def _explain(kind: str, place: tuple[str | int, ...], message: str, parts: Sequence[Any]) -> str:
    """The problem of one field; an unknown one gets the nearest name there is."""
    if kind != "unexpected_keyword_argument":
        return message
    known = [entry.name for part in parts for entry in fields(part)]
    near = get_close_matches(str(place[-1]), known, 1)
    return f"no such field, did you mean '{near[0]}'?" if near else "no such field"
