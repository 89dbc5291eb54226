"""The field's sets as facts: how many pictures, which splits, whose, under which terms, in which folders.

The facts are in ``catalog.yaml``. What no source tells is ``"unknown"`` there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import lru_cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

import yaml

from vns_sam.errors import UsageError

UNKNOWN = "unknown"


@dataclass(frozen=True)
class SetFacts:
    """One set.

    Attributes:
        name: Its name here, and of its folder in a built benchmark.
        title: Its full name.
        domain: What it shows.
        counts: Official pictures in each split.
        role: What the paper uses it for.
        licence: Terms, in short; "unknown" where none were found.
        home: Address of its authors' page, or "unknown".
        get: How to get it.
        layouts: Folders as they come out of the authors' archives.
        notes: What else one should know.
        aliases: Names of folders and archives that tell the set: lower case letters and digits only.
        stems: Matches the names of its pictures where they tell the set, else None.
        leave_out: Matches pictures that lie beside it and are no part of it.
        enough: Where the official count cannot be reached: what counts as complete.
        annotations: Matches the names of COCO files that hold its masks.
        annotated: Matches the folder of the pictures that these files describe.
    """

    name: str
    title: str
    domain: str
    counts: Mapping[str, int]
    role: str
    licence: str
    home: str
    get: str
    layouts: tuple[str, ...]
    notes: str
    aliases: tuple[str, ...]
    stems: re.Pattern[str] | None = None
    leave_out: re.Pattern[str] | None = None
    enough: Mapping[str, int] = field(default_factory=dict)
    annotations: re.Pattern[str] | None = None
    annotated: re.Pattern[str] | None = None


@dataclass(frozen=True)
class Benchmark:
    """What a benchmark is made of.

    Attributes:
        name: As on the command line.
        title: What it is.
        parts: By set, the expected pictures of each split that belongs to it.
    """

    name: str
    title: str
    parts: Mapping[str, Mapping[str, int]]

    @property
    def expected(self) -> int:
        """Pictures of all parts together."""
        return sum(count for splits in self.parts.values() for count in splits.values())


def catalog() -> Mapping[str, SetFacts]:
    """All sets by name; those of VNS-SEG first."""
    return _load()[0]


def benchmarks() -> Mapping[str, Benchmark]:
    """What can be built, by name."""
    return _load()[1]


def find_set(name: str) -> SetFacts:
    """Facts of one set.

    Args:
        name: Its name or an alias; case, spaces, hyphens and the like do not matter.

    Raises:
        UsageError: No set has that name; the nearest name is told.
    """
    wanted = normalise(name)
    names = {alias: facts for facts in catalog().values() for alias in (*facts.aliases, normalise(facts.name))}
    if wanted in names:
        return names[wanted]
    near = get_close_matches(wanted, names, 1)
    hint = f"did you mean {names[near[0]].name}?" if near else "vns-sam data list tells the names"
    raise UsageError(f"expected the name of a set, found '{name}'", hint=hint)


def find_benchmark(name: str) -> Benchmark:
    """One benchmark by name.

    Raises:
        UsageError: There is none of that name.
    """
    if name not in benchmarks():
        known = ", ".join(benchmarks())
        raise UsageError(f"expected the name of a benchmark, found '{name}'", hint=f"known: {known}")
    return benchmarks()[name]


def names_set(folder: str) -> bool:
    """Whether a folder is called as a set is."""
    wanted = normalise(folder)
    return any(wanted in (normalise(facts.name), *facts.aliases) for facts in catalog().values())


def normalise(name: str) -> str:
    """Lower case letters and digits of a name: ``"CVC-ClinicDB"`` is ``"cvcclinicdb"``."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


@lru_cache(maxsize=1)
def _load() -> tuple[Mapping[str, SetFacts], Mapping[str, Benchmark]]:
    text = files("vns_sam.data.sets").joinpath("catalog.yaml").read_text(encoding="utf-8")
    raw = yaml.safe_load(text)
    sets = {name: _facts(name, fields) for name, fields in raw["sets"].items()}
    built = {
        name: Benchmark(
            name,
            fields["title"],
            {part: {split: sets[part].counts[split] for split in splits} for part, splits in fields["parts"].items()},
        )
        for name, fields in raw["benchmarks"].items()
    }
    return MappingProxyType(sets), MappingProxyType(built)


def _facts(name: str, fields: Mapping[str, Any]) -> SetFacts:
    values: dict[str, Any] = dict(fields)
    for key in ("stems", "leave_out", "annotations", "annotated"):
        if key in values:
            values[key] = re.compile(values[key], re.IGNORECASE)
    for key in ("layouts", "aliases"):
        values[key] = tuple(values[key])
    for key in ("counts", "enough"):
        values[key] = MappingProxyType(dict(values.get(key, {})))
    return SetFacts(name=name, **values)
