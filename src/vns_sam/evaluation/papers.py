"""Evaluations by name: which sets, prompts and metrics make a table of the papers, and where the sets lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType

from vns_sam.data.pairs import is_set
from vns_sam.data.sets.catalog import find_set, normalise
from vns_sam.data.splits import has_split
from vns_sam.errors import DataError, UsageError
from vns_sam.evaluation.measure import Measure
from vns_sam.images.find import folder_name

DEPTH = 2
"""How many folders below a root a set may lie: ``root/DIS5K/DIS-VD``."""


@dataclass(frozen=True)
class PaperTable:
    """One table of a paper.

    Attributes:
        title: What it is.
        sets: By the name in the table, where the set may lie: names of folders, each with ``@`` and a list of it where
            the set is a part of the folder, or with ``/`` and a folder in it. Case, hyphens and the like do not matter.
            The last one is the catalog's; its other names there are looked for as well.
        measure: How models are measured.
    """

    title: str
    sets: Mapping[str, Sequence[str]]
    measure: Measure


@dataclass(frozen=True)
class Located:
    """A suite as far as its sets were found.

    Attributes:
        folders: By the name in the table, the folder, with ``@`` and a list where one is followed.
        groups: Those whose sets are all there.
        missing: Names in the table of the sets that were not found, with how to get them.
    """

    folders: Mapping[str, str]
    groups: Mapping[str, Sequence[str]]
    missing: Mapping[str, str]


_DIS = ("max_f", "weighted_f", "mae", "s", "mean_e", "hce")
_TE = tuple(f"DIS-TE{i}" for i in range(1, 5))
_DIS5K = {
    "DIS-VD": ("DIS-VD", "DIS5K-VD", "dis5k@val"),
    **{name: (name, f"DIS5K-TE{i}", f"dis5k@te{i}") for i, name in enumerate(_TE, start=1)},
}
_ZERO_SHOT = {
    "COIFT": ("coift@test", "COIFT"),
    "HRSOD": ("hrsod@test", "HRSOD"),
    "ThinObject5K": ("ThinObject5K-TE", "thinobject5k@test", "thinobject5k"),
}
_CAMOUFLAGE = ("CHAMELEON", "CAMO", "COD10K", "NC4K")
_POLYPS = {
    "ColonDB": ("cvc_colondb@test", "cvc_colondb"),
    "ETIS": ("etis@test", "etis"),
}
_GLASS = ("GDD", "GSD")
_SEEN = ("camo", "cod10k", "kvasir_seg", "cvc_clinicdb", "dis_dark", "thin_dark")
_UNSEEN = ("nc4k", "cvc_colondb", "etis", "cds2k")
_BY_OBJECT = "lis"
"""Of VNS-SEG, the set that is measured object by object; the paper's means are without it."""

TABLES: Mapping[str, PaperTable] = MappingProxyType(
    {
        "dis5k": PaperTable(
            "DIS-SAM, Tables I and II: DIS5K, then the sets that it was not trained on",
            {**_DIS5K, **_ZERO_SHOT},
            Measure(
                metrics=_DIS,
                groups={"DIS-TE (all)": _TE, "DIS-VD and zero-shot": ("DIS-VD", *_ZERO_SHOT)},
                by_metric=True,
            ),
        ),
        "zero-shot": PaperTable(
            "DIS-SAM, Table II: COIFT, HRSOD and ThinObject-5K",
            _ZERO_SHOT,
            Measure(metrics=_DIS, groups={"mean": tuple(_ZERO_SHOT)}, by_metric=True),
        ),
        "vns-seg": PaperTable(
            "VNS-SAM: the seen and unseen tests of VNS-SEG; LIS by objects, with average precision",
            {name: (f"{name}@test", name) for name in (*_SEEN, *_UNSEEN, _BY_OBJECT)},
            Measure(
                metrics=("iou", "biou", "mean_e", "weighted_f", "ap"),
                prompts=("box", "noise-box", "points"),
                instances=(_BY_OBJECT,),
                groups={"seen": _SEEN, "unseen": _UNSEEN},
                resize="square",
            ),
        ),
        "ws-sam": PaperTable(
            "WS-SAM: camouflaged objects, polyps and glass, found without a prompt",
            {
                **{name: (f"{name}@test", name) for name in _CAMOUFLAGE},
                **_POLYPS,
                **{name: (f"{name}/test", f"{name}@test", name) for name in _GLASS},
            },
            Measure(
                metrics=("mae", "mean_f", "adaptive_f", "weighted_f", "mean_e", "s"),
                prompts=("image",),
                groups={"camouflage": _CAMOUFLAGE, "polyps": tuple(_POLYPS), "glass": _GLASS},
                by_metric=True,
            ),
        ),
    }
)
"""All suites by name."""


def find_table(name: str) -> PaperTable:
    """A suite by name.

    Raises:
        UsageError: There is none of that name.
    """
    if name not in TABLES:
        near = get_close_matches(name, TABLES, 1)
        hint = f"did you mean {near[0]}?" if near else f"one of {', '.join(TABLES)}"
        raise UsageError(f"unknown suite '{name}'", hint=hint)
    return TABLES[name]


def locate(suite: PaperTable, roots: Sequence[str | Path], *, strict: bool = False) -> Located:
    """Looks for the sets of a suite.

    Args:
        suite: The suite.
        roots: Folders that are one of the sets or hold some, at most two levels below.
        strict: Whether all sets must be there.

    Raises:
        DataError: A root is no folder, none of the sets is there, or one is missing and ``strict``.
    """
    below: dict[str, list[Path]] = {}
    for root in map(Path, roots):
        if not root.is_dir():
            raise DataError(f"expected a folder of sets at {root}, found no folder there", hint="--data DIR")
        for folder in _folders(root, DEPTH):
            below.setdefault(normalise(folder_name(folder)), []).append(folder)
    folders, missing = {}, {}
    for name, places in suite.sets.items():
        facts, (_, *part) = find_set(_catalog_name(places)), places[-1].partition("@")
        place = _find((*places, *("".join((alias, *part)) for alias in facts.aliases)), below)
        if place:
            folders[name] = place
        else:
            missing[name] = facts.get
    if not folders or (strict and missing):
        name, get = next(iter(missing.items()))
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        where = ", ".join(map(str, roots))
        raise DataError(f"expected the set {name}{more} below {where}, found none", hint=get)
    groups = {name: members for name, members in suite.measure.groups.items() if set(members) <= set(folders)}
    return Located(folders, groups, missing)


def _folders(root: Path, depth: int) -> list[Path]:
    """A folder and those below it, nearest first; what lies in a set is not looked at."""
    found = [root]
    if depth and not is_set(root):
        inside = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
        below = [_folders(path, depth - 1) for path in inside]
        found += [path for paths in below for path in paths[:1]] + [path for paths in below for path in paths[1:]]
    return found


def _find(places: Sequence[str], below: Mapping[str, Sequence[Path]]) -> str:
    """The first place that holds a set, or ""."""
    for place in places:
        path, _, split = place.partition("@")
        name, _, inside = path.partition("/")
        for folder in (found / inside for found in below.get(normalise(name), ())):
            if has_split(folder, split) if split else is_set(folder):
                return f"{folder}@{split}" if split else str(folder)
    return ""


def _catalog_name(places: Sequence[str]) -> str:
    """Name of the set in the catalog: that of the last place, whose folder is as ``vns-sam data`` names it."""
    return places[-1].partition("@")[0]
