"""What every ``config.json`` has in common: a dataclass whose fields are typed and bounded, and its ``model_type``.

Read by the standard library alone: a first mask must not wait a quarter of a second for pydantic.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from difflib import get_close_matches
from functools import cache
from inspect import isabstract
from typing import Annotated, Any, ClassVar, Literal, Self, Union, get_args, get_origin, get_type_hints

from vns_sam.errors import CheckpointError, UsageError


@dataclass(frozen=True)
class Between:
    """The numbers that a field may have: ``Annotated[int, Between(1, 8)]``.

    Attributes:
        least, most: Both allowed.
        step: A whole number must be a multiple of this.
    """

    least: float
    most: float
    step: int = 1

    def __contains__(self, value: float) -> bool:
        return self.least <= value <= self.most and (self.step == 1 or value % self.step == 0)

    def __str__(self) -> str:
        multiple = f", a multiple of {self.step}" if self.step > 1 else ""
        return f" from {self.least:g} to {self.most:g}{multiple}"


Width = Annotated[int, Between(1, 65536)]
"""Channels of a layer."""
Count = Annotated[int, Between(1, 1024)]
"""Layers, heads, blocks."""


@dataclass(frozen=True)
class Checked:
    """Base of the dataclasses in a configuration: a value of another type or out of bounds is refused.

    Sequences become tuples and mappings the dataclass of their field, so that JSON's values may be given.

    Raises:
        UsageError: The field is named, with what it must be and what was found.
    """

    def __post_init__(self) -> None:
        for name, hint in hints_of(type(self)).items():
            object.__setattr__(self, name, fit(getattr(self, name), hint, name))


@dataclass(frozen=True)
class ModelConfig(Checked):
    """Base of the configurations that are stored beside weights.

    Attributes:
        model_type: What ``config.json`` calls this kind of model, see :mod:`vns_sam.sam.registry`.
        title: What a user calls it.
    """

    model_type: ClassVar[str]
    title: ClassVar[str]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form with its ``model_type``."""
        return {"model_type": self.model_type, **asdict(self)}

    @classmethod
    def prepare(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Short or older forms of fields as those that the dataclass has; a configuration overrides it."""
        return values

    @classmethod
    def make(cls, **values: Any) -> Self:
        """A configuration from fields that a user names.

        Raises:
            UsageError: A field does not exist, the nearest one is named; or it is missing, or has a value that is not
                allowed.
        """
        known = [entry.name for entry in fields(cls)]
        for name in values:
            if name not in known:
                raise UsageError(f"{cls.title}'s configuration has no field '{name}'", hint=nearest(name, known))
        missing = next((name for name in _required(cls) if name not in values), None)
        if missing is not None:
            raise UsageError(f"{cls.title}'s configuration must hold '{missing}'")
        return cls(**cls.prepare(values))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], origin: object = "config.json") -> Self:
        """Reads :meth:`to_dict`'s form.

        Args:
            values: The fields, and ``model_type``.
            origin: What an error calls the file.

        Raises:
            CheckpointError: A key is unknown or missing, or has a value that is not allowed; it is named.
        """
        given = {key: value for key, value in values.items() if key != "model_type"}
        check_keys(cls, given, str(origin))
        try:
            return cls.make(**given)
        except UsageError as error:
            raise CheckpointError(f"{origin}: {error.message}", hint=error.hint) from None


def check_keys(kind: type[Any], values: Mapping[str, Any], where: str) -> None:
    """Compares keys with the fields of a dataclass.

    Raises:
        CheckpointError: A key is unknown; ``where`` it was found and the nearest field are told.
    """
    known = [field.name for field in fields(kind)]
    for key in values:
        if key not in known:
            raise CheckpointError(f"{where} has the unknown key '{key!s:.60}'", hint=nearest(str(key), known))


def check_values(kind: type[ModelConfig], values: Mapping[str, Any]) -> None:
    """Judges some fields of a configuration without making one.

    Raises:
        UsageError: A field does not exist, or its value is of another type or out of bounds.
    """
    hints = hints_of(kind)
    for name in values:
        if name not in hints:
            raise UsageError(f"{kind.title}'s configuration has no field '{name}'", hint=nearest(name, [*hints]))
    for name, value in kind.prepare(dict(values)).items():
        fit(value, hints[name], name)


def nearest(found: str, known: list[str]) -> str:
    """A hint that names the known word nearest to the one found, or all of them."""
    near = get_close_matches(found, known, 1)
    return f"did you mean '{near[0]}'?" if near else f"one of {', '.join(known)}"


_resolved = cache(get_type_hints)
"""Every record of a store and every nested configuration asks again, and resolving takes a third of a millisecond."""


def hints_of(kind: Any) -> dict[str, Any]:
    """The types of a dataclass's fields, with their bounds."""
    hints = _resolved(kind, include_extras=True)
    return {entry.name: hints[entry.name] for entry in fields(kind)}


def fit(value: Any, hint: Any, place: str) -> Any:
    """A value as the field's type has it.

    Args:
        value: Of JSON, or of the type already.
        hint: A type: bool, int, float, str, None, a literal, a union, a tuple, a mapping or a dataclass; numbers may
            be annotated with :class:`Between`.
        place: What an error calls the field.

    Raises:
        UsageError: It is none.
    """
    origin, options = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _bounded(value, options[0], options[1], place)
    if origin in (Union, types.UnionType) or isabstract(hint):
        return _one_of(value, options or (hint,), place)
    if origin is Literal:
        if any(value == option and type(value) is type(option) for option in options):
            return value
        raise _wrong(place, " or ".join(f"'{o}'" if isinstance(o, str) else str(o) for o in options), value)
    if origin is tuple:
        return _sequence(value, options, place)
    if isinstance(hint, type) and is_dataclass(hint):
        return _nested(value, hint, place)
    kind: Any = origin or hint
    if hint is Any or (isinstance(value, kind) and (kind is bool or not isinstance(value, bool))):
        return value
    if hint is float and type(value) is int and abs(value) <= sys.float_info.max:
        return float(value)
    raise _wrong(place, _describe(hint), value)


def _bounded(value: Any, kind: Any, bounds: Between, place: str) -> Any:
    words = {int: "a whole number", float: "a number"}
    number = type(value) is int or (kind is float and type(value) is float)
    if not number or value not in bounds:
        raise _wrong(place, f"{words[kind]}{bounds}", value)
    return kind(value)


def _one_of(value: Any, options: tuple[Any, ...], place: str) -> Any:
    if value is None and type(None) in options:
        return None
    given = [variant for option in options if option is not type(None) for variant in _variants(option)]
    if isinstance(value, Mapping):
        kinds = [option for option in given if is_dataclass(option)]
        named = [k for k in kinds if value.get("kind") in get_args(hints_of(k).get("kind"))]
        given = named or kinds or given
    elif any(isinstance(value, option) for option in given if isinstance(option, type) and is_dataclass(option)):
        return value
    if len(given) == 1:
        try:
            return fit(value, given[0], place)
        except UsageError as error:
            if type(None) in options and not isinstance(value, Mapping):
                raise UsageError(error.message.replace(", found", " or null, found"), hint=error.hint) from None
            raise
    for option in given:
        try:
            return fit(value, option, place)
        except UsageError:
            continue
    raise _wrong(place, " or ".join(map(_describe, options)), value)


def _variants(option: Any) -> list[Any]:
    """An abstract dataclass stands for all that derive from it: looked up when asked, since more may come."""
    return option.__subclasses__() if isabstract(option) else [option]


def _sequence(value: Any, options: tuple[Any, ...], place: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise _wrong(place, "a list", value)
    many = len(options) == 2 and options[1] is Ellipsis
    if not many and len(value) != len(options):
        raise _wrong(place, f"{len(options)} values", list(value))
    kinds = [options[0]] * len(value) if many else options
    return tuple(fit(one, kind, f"{place}[{at}]") for at, (one, kind) in enumerate(zip(value, kinds, strict=True)))


def _nested(value: Any, kind: Any, place: str) -> Any:
    if isinstance(value, kind):
        return value
    if not isinstance(value, Mapping):
        raise _wrong(place, "a mapping of fields", value)
    hints = hints_of(kind)
    for name in value:
        if name not in hints:
            raise UsageError(f"'{place}' has the unknown key '{name!s:.60}'", hint=nearest(str(name), [*hints]))
    missing = next((name for name in _required(kind) if name not in value), None)
    if missing is not None:
        raise UsageError(f"'{place}' must hold '{missing}'")
    return kind(**{name: fit(one, hints[name], f"{place}.{name}") for name, one in value.items()})


def _required(kind: type[Any]) -> Iterator[str]:
    for entry in fields(kind):
        if entry.default is MISSING and entry.default_factory is MISSING:
            yield entry.name


def _wrong(place: str, expected: str, found: Any) -> UsageError:
    return UsageError(f"{place} must be {expected}, found {_shown(found)}")


def _shown(value: Any) -> str:
    """A value in a message: one line, not long."""
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else None
    if text is None:
        try:
            text = repr(value)
        except (RecursionError, ValueError):  # very deep, or a number of very many digits
            text = f"a {type(value).__name__} too long to show"
    return text if len(text) <= 60 else text[:57] + "..."


def _describe(hint: Any) -> str:
    names = {int: "a whole number", float: "a number", str: "text", bool: "true or false", type(None): "null"}
    if hint in names:
        return names[hint]
    if get_origin(hint) is Literal:
        return " or ".join(f"'{option}'" for option in get_args(hint))
    return "a mapping" if get_origin(hint) is not tuple else "a list"
